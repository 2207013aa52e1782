"""What goes into a bundle beside its graphs, and writing it."""
