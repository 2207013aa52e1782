"""Calibration: scales for weights of fewer bits, measured while a model speaks.

`python -m calibration.run` leaves a directory that `python -m export.build --calibration` takes;
`python -m calibration.compare` tells what fewer bits cost and bring.
"""
