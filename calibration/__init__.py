"""Calibration: scales for weights of fewer bits, measured while a model speaks.

`python -m calibration.run` leaves a directory that `python -m export.build --calibration` takes,
`python -m calibration.codec` one for `--codec-calibration`; `python -m calibration.compare` says
what fewer bits cost and gain. `pipeline` is the way through the other files.
"""
