"""Prepares the speech of a recording for a speaker embedding: without silence, at one loudness.

In: a `Sound`. Out: float32 [samples] at a codec's rate, for the codec's encoder. A speaker
embedding is a mean over all frames, so silence or a low level would change the voice. Stretches of
speech are found by their level, brought to one loudness, and joined with equal pauses of digital
silence; everything between and around them is dropped. It does not know codecs. Frames are never
made from this audio: they come from the recording as it is.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commands.errors import SpeechWarning, UserError
from runtime.audio.noise import measure_noise_distance, remove_rumble, subtract_rounding
from runtime.audio.sound import Sound
from runtime.audio.steady_noise import DIGITAL_SILENCE_DB, FRAME_SECONDS, find_steady_level

PAUSE_SECONDS = 0.2  # before, after and between stretches: as in the demo voices
FADE_SECONDS = 0.02  # kept around each stretch, fading
LEAST_STRETCH_FRAMES = 10  # shorter ones are clicks, if there is a longer one
LEAST_FRAMES_ABOVE = 3
LONGEST_PAUSE_FRAMES = 30  # longer pauses separate two stretches

LOWEST_HZ = 150  # hum lies below
LOUD_FRAMES = 10  # the loudest speech is the level that a tenth of a second exceeds
SPEECH_DB = 35.0  # frames so far below the loudest speech are silence
LEAST_SPEECH_DB = 12.0  # frames nearer than this to the loudest speech are never silence
BACKGROUND_PERCENTILE = 10
ABOVE_BACKGROUND_DB = 5.0
LEAST_UNSTEADY_DB = 25.0  # frames nearer than this stay: the quietest tenth may be speech

LEVEL_NORM = 12  # the level lies near the peak, but clipping does not lower it much
CLICKS_PERCENTILE = 99  # louder frames do not count
REFERENCE_LEVEL = 10 ** (-9.5 / 20)  # that of the demo's teachers, with peaks of 0.7

LEAST_CHANGE = 1e-4
LEAST_RANGE_DB = 12.0  # speech has over 20 without any pause, noise and tones under 10
NOISY_DB, NOISY_UNDER_DB = 30.0, 33.0  # noise around and under speech; clean speech has over 37
# With noise nearer than this, five of the demo's six voices become someone else's.
ANOTHER_VOICE_DB = 27.0
LEAST_SPEECH_SECONDS = 1.0
LEAST_JUDGED_SECONDS = 0.5  # shorter recordings hold one sound, which is neither speech nor noise
CLIPPED_SHARE, UNUSABLE_CLIPPED_SHARE = 0.001, 0.05
FULL_RATE_HZ, WIDE_BAND_HZ = 15_000, 6_500  # of recordings with full bandwidth
TELEPHONE_BAND_HZ, NARROW_BAND_DB = (200, 3_400), -50.0  # against what telephones carry
FILLED_SHARE = 0.85  # of what a rate can carry
HIGHEST_HZ, TELEPHONE_EDGE_HZ = 7_500, (3_000, 4_250)

Audio = NDArray[np.float32]


class NoSpeechError(UserError):
    """A recording holds no speech from which a speaker could be recognised."""


class NoisySpeechError(UserError):
    """A recording holds speech in so much noise that it would sound like somebody else."""


@dataclass(frozen=True)
class Levels:
    """Levels in dB: of each frame, of the loudest speech and of the background."""

    frames_db: NDArray[np.float64]
    loud_db: float
    quiet_db: float  # the quietest tenth, without digital silence
    steady_db: float | None  # what stays the same for a while, far below speech

    @property
    def threshold_db(self) -> float:
        lowest_db = self.loud_db - SPEECH_DB
        unsteady_db = min(self.quiet_db + ABOVE_BACKGROUND_DB, self.loud_db - LEAST_UNSTEADY_DB)
        steady_db = lowest_db if self.steady_db is None else self.steady_db + ABOVE_BACKGROUND_DB
        return min(max(lowest_db, unsteady_db, steady_db), self.loud_db - LEAST_SPEECH_DB)


def condition_speech(sound: Sound, rate_hz: int) -> Audio:
    """The speech from which a speaker is recognised, float32 [samples] at `rate_hz`.

    It is the same for a recording that is louder, or has silence at its ends, or longer pauses.
    A `SpeechWarning` names whatever makes the voice worse.

    Raises:
        NoSpeechError: silence, a constant, a tone, noise without speech, too short to tell.
        UserError: so much of it is clipped or noise that it would sound like somebody else.
    """
    speech, too_noisy = _condition(sound, rate_hz)
    if too_noisy:
        raise NoisySpeechError(too_noisy)
    return speech


def condition_if_spoken(sound: Sound, rate_hz: int) -> Audio:
    """The same, but nothing is refused: a recording without speech stays as it is.

    A `SpeechWarning` names missing speech or too much noise.
    """
    try:
        speech, too_noisy = _condition(sound, rate_hz)
    except NoSpeechError as reason:
        _warn(f"{reason}; its speaker embedding says little")
        return sound.at_rate(rate_hz)
    if too_noisy:
        _warn(too_noisy)
    return speech


def _condition(sound: Sound, rate_hz: int) -> tuple[Audio, str]:
    """The prepared speech, and a message if so much noise is in it that the voice changes."""
    if not np.ptp(sound.mono) > LEAST_CHANGE:
        raise NoSpeechError(f"{sound.where}: is silent or constant; use a recording with speech")
    _check_clipping(sound)
    audio = sound.at_rate(rate_hz)
    audio = audio - audio.mean(dtype=np.float64).astype(np.float32)
    # If there is only hum, too little is left after its removal.
    _check_levels(sound, measure_levels(audio, rate_hz))
    audio = remove_rumble(audio, rate_hz)
    levels = measure_levels(audio, rate_hz)
    _check_levels(sound, levels)
    too_noisy = _check_noise(sound, levels, audio, rate_hz)
    audio = subtract_rounding(audio, sound.rounding_step, rate_hz / sound.rate_hz)
    stretches = cut_stretches(audio, find_stretches(levels), rate_hz)
    _check_speech(sound, np.concatenate(stretches), rate_hz)
    gain = REFERENCE_LEVEL / measure_loudness(np.concatenate(stretches), rate_hz)
    pause = np.zeros(round(PAUSE_SECONDS * rate_hz), np.float32)
    parts = [part for stretch in stretches for part in (pause, stretch * gain)]
    return np.concatenate([*parts, pause]).astype(np.float32), too_noisy


def measure_levels(audio: Audio, rate_hz: int) -> Levels:
    """Power above `LOWEST_HZ`, frame by frame."""
    hop = round(FRAME_SECONDS * rate_hz)
    padded = np.pad(audio, (hop // 2, 2 * hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    frames = frames[: max(1, len(audio) // hop)]
    window = np.hanning(2 * hop + 1)[:-1]
    heard = np.fft.rfftfreq(2 * hop, 1 / rate_hz) >= LOWEST_HZ
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1)))[:, heard].sum(axis=1)
    scale = len(window) * np.square(window).sum() / 2  # of a sine of power 1
    levels = 10 * np.log10(power / scale + 1e-12)
    loud = float(np.sort(levels)[-min(LOUD_FRAMES, len(levels))])
    heard = levels[levels > loud - DIGITAL_SILENCE_DB]
    quiet = float(np.percentile(heard, BACKGROUND_PERCENTILE))
    steady = find_steady_level(levels, loud, quiet, audio, rate_hz)
    return Levels(levels, loud, quiet, steady)


def find_stretches(levels: Levels) -> list[tuple[int, int]]:
    """Where somebody speaks: first frame and the one after the last of each stretch."""
    stretches: list[tuple[int, int]] = []
    for first, end in _find_runs(levels.frames_db > levels.threshold_db):
        if end - first < LEAST_FRAMES_ABOVE:
            continue
        if stretches and first - stretches[-1][1] < LONGEST_PAUSE_FRAMES:
            first = stretches.pop()[0]
        stretches.append((first, end))
    long = [(first, end) for first, end in stretches if end - first >= LEAST_STRETCH_FRAMES]
    return long or stretches


def _find_runs(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8))
    pairs = zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)
    return [(int(first), int(end)) for first, end in pairs]


def cut_stretches(audio: Audio, stretches: list[tuple[int, int]], rate_hz: int) -> list[Audio]:
    """The audio of each stretch, faded in and out around it."""
    hop, fade = round(FRAME_SECONDS * rate_hz), round(FADE_SECONDS * rate_hz)
    cut = []
    for first, end in stretches:
        piece = audio[max(0, first * hop - fade) : end * hop + fade].copy()
        slope = np.sin(np.pi / 2 * (np.arange(fade) + 0.5) / fade)[: len(piece) // 2] ** 2
        piece[: len(slope)] *= slope
        piece[len(piece) - len(slope) :] *= slope[::-1]
        cut.append(piece)
    return cut


def measure_loudness(speech: Audio, rate_hz: int) -> float:
    """A level near the peak that no single click decides and that clipping hardly lowers."""
    hop = round(FRAME_SECONDS * rate_hz)
    frames = np.abs(speech[: len(speech) // hop * hop].reshape(-1, hop)).astype(np.float64)
    peaks = frames.max(axis=1)
    frames = frames[peaks <= np.percentile(peaks, CLICKS_PERCENTILE)]
    peak = float(frames.max())
    spoken = frames[frames.max(axis=1) > peak * 10 ** (-SPEECH_DB / 20)]
    return peak * float(np.mean((spoken / peak) ** LEVEL_NORM) ** (1 / LEVEL_NORM))


def _check_clipping(sound: Sound) -> None:
    if sound.clipped_share < CLIPPED_SHARE:
        return
    told = f"{sound.where}: {100 * sound.clipped_share:.1f} % of its samples are clipped"
    if sound.clipped_share > UNUSABLE_CLIPPED_SHARE:
        raise UserError(f"{told}; record it again with less gain")
    _warn(f"{told}, which changes the voice; record it again with less gain")


def _check_levels(sound: Sound, levels: Levels) -> None:
    """Raises `NoSpeechError` if nothing rises above the rest."""
    range_db = levels.loud_db - levels.quiet_db
    if range_db >= LEAST_RANGE_DB and find_stretches(levels):
        return
    seconds = len(sound.mono) / sound.rate_hz
    if seconds < LEAST_JUDGED_SECONDS:
        raise NoSpeechError(
            f"{sound.where}: holds no speech that could be told from noise: its {seconds:.2f} s "
            "are too short; record 3 s or more"
        )
    raise NoSpeechError(
        f"{sound.where}: holds no speech: its loudest part is only {range_db:.0f} dB above its "
        "quietest, as in noise or a tone"
    )


def _check_noise(sound: Sound, levels: Levels, audio: Audio, rate_hz: int) -> str:
    """Warn of noise around or under speech. Returns a message if too much is under it."""
    hop = round(FRAME_SECONDS * rate_hz)
    stretches = find_stretches(levels)
    spoken = audio[stretches[0][0] * hop : stretches[-1][1] * hop]
    long_enough = len(spoken) >= LEAST_SPEECH_SECONDS * rate_hz
    under_db = measure_noise_distance(spoken, rate_hz) if long_enough else np.inf
    if under_db < ANOTHER_VOICE_DB:
        return (
            f"{sound.where}: noise goes on under its speech, {under_db:.0f} dB below the loudest, "
            "which makes another person's voice of it; record it where it is quiet"
        )
    around_db = np.inf if levels.steady_db is None else levels.loud_db - levels.steady_db
    if around_db < NOISY_DB or under_db < NOISY_UNDER_DB:
        _warn(
            f"{sound.where}: has a steady noise {min(under_db, around_db):.0f} dB below its "
            "loudest speech, which changes the voice; record it where it is quiet"
        )
    return ""


def _check_speech(sound: Sound, speech: Audio, rate_hz: int) -> None:
    seconds = len(speech) / rate_hz
    if seconds < LEAST_SPEECH_SECONDS:
        _warn(f"{sound.where}: holds {seconds:.1f} s of speech; 3 s or more make a better voice")
    if rate_hz < FULL_RATE_HZ:
        return
    band_hz, highest_hz = measure_band(speech, rate_hz), sound.rate_hz / 2
    if band_hz > FILLED_SHARE * highest_hz:
        band_hz = highest_hz
    if band_hz < WIDE_BAND_HZ or sound.rate_hz < FULL_RATE_HZ:
        first, last = TELEPHONE_EDGE_HZ
        likened = ", as telephones do," if first < band_hz < last else ","
        _warn(
            f"{sound.where}: ends near {round(band_hz / 500) / 2:g} kHz{likened} which makes "
            "another voice of it; record it at 16 kHz or more"
        )


def measure_band(speech: Audio, rate_hz: int) -> float:
    """The frequency in Hz above which there is next to nothing.

    Power is compared with that in the band of telephones. Returns at most `HIGHEST_HZ`.
    """
    frequencies = np.fft.rfftfreq(len(speech), 1 / rate_hz)
    power = np.square(np.abs(np.fft.rfft(speech * np.hanning(len(speech)))))
    first, last = TELEPHONE_BAND_HZ
    carried = power[(frequencies > first) & (frequencies < last)].sum()
    looked_at = frequencies < HIGHEST_HZ
    above = np.cumsum(power[looked_at][::-1])[::-1]
    filled = np.flatnonzero(above > carried * 10 ** (NARROW_BAND_DB / 10))
    if not len(filled) or frequencies[looked_at][filled[-1]] > HIGHEST_HZ - 500:
        return HIGHEST_HZ
    return float(frequencies[filled[-1]])


def _warn(message: str) -> None:
    warnings.warn(message, SpeechWarning, stacklevel=4)
