"""Calibration: scales for weights of fewer bits, measured while a model speaks.

`python -m calibration.run` leaves a directory that `python -m export.build --calibration` takes,
and `python -m calibration.codec` one for `--codec-calibration`. `python -m calibration.compare`
measures what fewer bits cost and gain. `pipeline` calls the other files in order: `measurement`
runs the float32 model, `methods` turns weights into few bits, `sensitivity` chooses the weights
that stay floats.
"""
