"""Sound that has what speech has: syllables of a voice with formants, hisses, short pauses."""

from __future__ import annotations

import numpy as np

SYLLABLES = ((700, 1_200), (300, 2_300), (500, 1_000), (400, 1_900), (650, 1_700))  # formants, Hz
THIRD_FORMANT = 0.04
LEAST_HISS_HZ = 2_000
SYLLABLE_SECONDS, CLOSURE_SECONDS, HISS_SECONDS = 0.22, 0.05, 0.08


def speak(syllables: int = 8, rate_hz: int = 16_000, pitch_hz: float = 120.0) -> np.ndarray:
    """float32 [samples], peak 0.7, no silence at the ends."""
    parts = []
    for index in range(syllables):
        parts += [
            _hiss(rate_hz, index),
            _vowel(SYLLABLES[index % len(SYLLABLES)], rate_hz, pitch_hz * (1 + 0.05 * (index % 3))),
            np.zeros(round(CLOSURE_SECONDS * rate_hz)),
        ]
    audio = np.concatenate(parts[:-1])
    return (0.7 * audio / np.abs(audio).max()).astype(np.float32)


def _vowel(formants: tuple[int, int], rate_hz: int, pitch_hz: float) -> np.ndarray:
    time = np.arange(round(SYLLABLE_SECONDS * rate_hz)) / rate_hz
    harmonics = np.arange(1, int(min(rate_hz, 16_000) / 2 / pitch_hz)) * pitch_hz
    peaks = {**dict.fromkeys(formants, 1.0), 3_200: THIRD_FORMANT}
    loudness = sum(peak / (1 + ((harmonics - hz) / 120) ** 2) for hz, peak in peaks.items())
    envelope = np.sin(np.pi * time / SYLLABLE_SECONDS) ** 0.5
    waves = np.sin(2 * np.pi * harmonics[:, None] * time + 0.7 * harmonics[:, None] ** 0.5)
    return envelope * (np.asarray(loudness)[:, None] * waves).sum(axis=0)


def _hiss(rate_hz: int, seed: int) -> np.ndarray:
    samples = round(HISS_SECONDS * rate_hz)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    high = np.fft.rfftfreq(samples, 1 / rate_hz) > LEAST_HISS_HZ
    noise = np.fft.irfft(spectrum * high, samples)
    return 0.5 * noise * np.sin(np.pi * np.arange(samples) / samples) ** 0.5
