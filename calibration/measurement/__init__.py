"""What a model says, what flows through its graphs, and how far two models are apart."""
