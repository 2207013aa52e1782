"""Products and convolutions with weights of fewer bits."""
