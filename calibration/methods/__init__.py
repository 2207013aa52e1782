"""Turns a weight and the statistics of its inputs into a quantized weight."""
