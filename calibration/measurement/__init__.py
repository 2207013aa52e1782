"""Speech to calibrate on, the values inside graphs that speak it, and distances of models."""
