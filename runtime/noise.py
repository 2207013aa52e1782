"""The noise of rounding to few bits, taken out again.

In: audio, and the step that its samples were rounded to. Out: audio of the same length. Speech
at -30 dB in a 16-bit file has as much of it as a room has noise, once it is brought to its level.
Spectral subtraction (Boll 1979) of a noise whose power is known: white, step² / 12.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW_SAMPLES, HOP_SAMPLES = 512, 128
SMOOTHED_FRAMES = SMOOTHED_BINS = 5  # single bins of noise are far from its mean

Array = NDArray[np.float64]


def subtract_rounding(
    audio: NDArray[np.float32], step: float, rate_ratio: float = 1.0
) -> NDArray[np.float32]:
    """float32 [samples] -> the same length; `rate_ratio` is its rate by the one of rounding."""
    if not step:
        return audio
    window = np.sqrt(np.hanning(WINDOW_SAMPLES + 1)[:-1])
    spectra = _analyse(audio, window)
    noise = np.square(window).sum() * step**2 / 12 * rate_ratio  # power of each bin
    power = _smooth(_smooth(np.square(np.abs(spectra)), SMOOTHED_FRAMES).T, SMOOTHED_BINS).T
    gains = np.sqrt(np.clip(1 - noise / np.maximum(power, 1e-30), 0, 1))
    return _synthesise(spectra * gains, window, len(audio))


def _analyse(audio: NDArray[np.float32], window: Array) -> NDArray[np.complex128]:
    """Spectra [frames, bins] of the audio with a window of zeros around it."""
    padded = np.pad(audio, WINDOW_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP_SAMPLES]
    return np.fft.rfft(frames * window, axis=1)


def _synthesise(
    spectra: NDArray[np.complex128], window: Array, samples: int
) -> NDArray[np.float32]:
    """Overlap and add; the squared windows add up to `WINDOW_SAMPLES / 2 / HOP_SAMPLES`."""
    frames = np.fft.irfft(spectra, WINDOW_SAMPLES, axis=1) * window
    whole = np.zeros(samples + 2 * WINDOW_SAMPLES)
    for index, frame in enumerate(frames):
        whole[index * HOP_SAMPLES :][:WINDOW_SAMPLES] += frame
    overlap = WINDOW_SAMPLES / 2 / HOP_SAMPLES
    return (whole[WINDOW_SAMPLES : WINDOW_SAMPLES + samples] / overlap).astype(np.float32)


def _smooth(power: Array, width: int) -> Array:
    """Running mean over `width` rows."""
    padded = np.pad(power, ((width // 2 + 1, width // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0)
    return (sums[width:] - sums[:-width]) / width
