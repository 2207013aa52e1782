"""Calibration: scales for reduced precision, measured on real text and frames.

Empty so far: bundles are exported in fp32. `export.dialects` has the one place where a linear
layer chooses its precision; calibration will feed it.
"""
