"""What runs the graphs of a bundle: one interface, and an engine behind it in each folder."""
