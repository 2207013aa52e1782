"""Noise in recordings: removes rounding noise and rumble, and measures other noise.

In: audio. Out: audio of the same length, or how far below the loudest speech its noise is. Quiet
speech at -30 dB in a 16-bit file has as much rounding noise as a room, once it is amplified. It is
removed by spectral subtraction (Boll 1979): the noise is white, of the known power step² / 12.
The noise under speech is the level that each band never falls below (Martin 2001, minimum
statistics): speech leaves each band now and then, noise does not.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

WINDOW_SAMPLES, HOP_SAMPLES = 512, 128
SMOOTHED_FRAMES = SMOOTHED_BINS = 5  # single bins of noise are far from its mean

RUMBLE_HZ, VOICES_HZ = 62.0, 75.0  # hum of 50 and 60 Hz and drift below, voices above
RUMBLE_PAD_SECONDS = 0.1

BAND_EDGES_HZ = (150, 300, 600, 1000, 1500, 2000, 2700, 3500, 4500, 5500, 6500, 7800)
BAND_FRAME_SECONDS, BAND_HOP_SECONDS = 0.02, 0.01
FLOOR_PERCENTILE = 5  # of the frames of a band
LOUD_FRAMES = 10  # the loudest speech is the level that a tenth of a second exceeds
DIGITAL_SILENCE_DB = 80.0  # below the loudest speech: gated pauses say nothing about the noise

PITCH_HZ = (80, 400)
# A voice correlates with itself one period later by over 0.75, noise by under 0.1.
VOICED_LIKENESS = 0.6

Array = NDArray[np.float64]


def subtract_rounding(
    audio: NDArray[np.float32], step: float, rate_ratio: float = 1.0
) -> NDArray[np.float32]:
    """float32 [samples] -> the same length. rate_ratio: its rate / that of the rounding."""
    if not step:
        return audio
    window = np.sqrt(np.hanning(WINDOW_SAMPLES + 1)[:-1])
    spectra = _analyse(audio, window)
    noise = np.square(window).sum() * step**2 / 12 * rate_ratio  # power of each bin
    power = _smooth(_smooth(np.square(np.abs(spectra)), SMOOTHED_FRAMES).T, SMOOTHED_BINS).T
    gains = np.sqrt(np.clip(1 - noise / np.maximum(power, 1e-30), 0, 1))
    return _synthesise(spectra * gains, window, len(audio))


def remove_rumble(audio: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Remove drift and mains hum: float32 [samples] -> the same length, in phase."""
    pad = round(RUMBLE_PAD_SECONDS * rate_hz)
    spectrum = np.fft.rfft(np.pad(audio.astype(np.float64), pad, mode="edge"))
    frequencies = np.fft.rfftfreq(len(audio) + 2 * pad, 1 / rate_hz)
    share = np.clip((frequencies - RUMBLE_HZ) / (VOICES_HZ - RUMBLE_HZ), 0, 1)
    filtered = np.fft.irfft(spectrum * np.sin(np.pi / 2 * share) ** 2, len(audio) + 2 * pad)
    return filtered[pad : pad + len(audio)].astype(np.float32)


def measure_noise_distance(audio: NDArray[np.float32], rate_hz: int) -> float:
    """Distance in dB from the loudest speech to the noise under it."""
    size, hop = round(BAND_FRAME_SECONDS * rate_hz), round(BAND_HOP_SECONDS * rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[::hop]
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(size + 1)[:-1], axis=1)))
    frequencies = np.fft.rfftfreq(size, 1 / rate_hz)
    pairs = itertools.pairwise(BAND_EDGES_HZ)
    inside = [(frequencies >= low) & (frequencies < high) for low, high in pairs]
    bands = np.stack([power[:, bins].sum(axis=1) for bins in inside], axis=1)
    total = bands.sum(axis=1)
    loud = np.sort(total)[-min(LOUD_FRAMES, len(total))]
    heard = bands[total > loud * 10 ** (-DIGITAL_SILENCE_DB / 10)]
    floor = np.percentile(heard, FLOOR_PERCENTILE, axis=0).sum() if len(heard) else 0.0
    return float(10 * np.log10((loud + 1e-12) / (floor + 1e-12)))


def is_voiced(audio: NDArray[np.float32], rate_hz: int) -> bool:
    """Whether the audio repeats as vowels do. Noise does not."""
    wave = audio.astype(np.float64) - audio.mean(dtype=np.float64)
    likeness = np.fft.irfft(np.square(np.abs(np.fft.rfft(wave, 2 * len(wave)))))[: len(wave)]
    likeness *= len(wave) / (len(wave) - np.arange(len(wave))) / (likeness[0] + 1e-20)
    shortest, longest = (round(rate_hz / pitch_hz) for pitch_hz in reversed(PITCH_HZ))
    return bool(likeness[shortest : longest + 1].max(initial=0.0) > VOICED_LIKENESS)


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
