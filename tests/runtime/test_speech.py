"""What a speaker is heard from: the same, however much silence is around it and however loud."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.errors import SpeechWarning, UserError
from runtime.audio.conditioning import (
    PAUSE_SECONDS,
    REFERENCE_LEVEL,
    NoisySpeechError,
    NoSpeechError,
    condition_if_spoken,
    condition_speech,
    measure_loudness,
)
from runtime.audio.sound import convert_sound
from tests.speech_like import speak

RATE_HZ = 16_000
SPEECH = speak()
PAUSE = round(PAUSE_SECONDS * RATE_HZ)


def noise(seconds: float, level_db: float, seed: int = 0) -> np.ndarray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
    return (10 ** (level_db / 20) * samples).astype(np.float32)


def rounded(audio: np.ndarray) -> np.ndarray:
    """As a 16-bit file holds it."""
    return (np.clip(audio, -1, 1) * 32_767).round().astype(np.int16)


def condition(audio: np.ndarray, rate_hz: int = RATE_HZ) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpeechWarning)
        return condition_speech(convert_sound(audio, rate_hz), RATE_HZ)


PLAIN = condition(SPEECH)


def distance_db(audio: np.ndarray) -> float:
    """Power of what differs from plain speech, where both fit best."""
    size = 2 * max(len(audio), len(PLAIN))
    one, other = np.fft.rfft(PLAIN, size), np.fft.rfft(audio, size)
    likeness = float(np.fft.irfft(one * other.conj(), size).max())
    powers = [float(np.square(part, dtype=np.float64).sum()) for part in (PLAIN, audio)]
    return 10 * np.log10(max(sum(powers) - 2 * likeness, 1e-9) / powers[0])


def told(audio: np.ndarray, rate_hz: int = RATE_HZ) -> list[str]:
    """The warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        condition_speech(convert_sound(audio, rate_hz), RATE_HZ)
    assert all(issubclass(warning.category, SpeechWarning) for warning in caught)
    return [str(warning.message) for warning in caught]


def test_speech_stands_between_two_pauses_at_one_loudness() -> None:
    assert PLAIN.dtype == np.float32
    assert not PLAIN[:PAUSE].any()
    assert not PLAIN[-PAUSE:].any()
    assert abs(len(PLAIN) - len(SPEECH) - 2 * PAUSE) <= 0.05 * RATE_HZ, "no speech is lost"
    assert measure_loudness(PLAIN, RATE_HZ) == pytest.approx(REFERENCE_LEVEL, rel=0.02)
    assert told(SPEECH) == []


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 3), st.floats(0, 3), st.floats(-30, 6))
def test_silence_and_level_do_not_matter(before: float, after: float, gain_db: float) -> None:
    padded = np.pad(SPEECH, (round(before * RATE_HZ), round(after * RATE_HZ)))
    assert distance_db(condition(padded * np.float32(10 ** (gain_db / 20)))) < -30


@pytest.mark.parametrize("level_db", [-70, -60, -50, -40])
@pytest.mark.parametrize(("before", "after"), [(0.2, 0.2), (1, 1), (0, 3), (3, 3)])
def test_noise_around_speech_does_not_matter(level_db: float, before: float, after: float) -> None:
    parts = [noise(before, level_db), SPEECH, noise(after, level_db, seed=1)]
    assert distance_db(condition(np.concatenate(parts))) < -20


@pytest.mark.parametrize(("gain_db", "level_db"), [(-6, -40), (-12, -40), (-20, -50)])
@pytest.mark.parametrize("seconds", [0.2, 1, 3])
def test_noise_around_quiet_speech_is_dropped(
    gain_db: float, level_db: float, seconds: float
) -> None:
    """Nearer to it than vowels are to the loudest: it lasts, or is at the recording's ends."""
    quiet = 10 ** (gain_db / 20) * SPEECH
    before, after = noise(seconds, level_db), noise(seconds, level_db, seed=1)
    conditioned = condition(np.concatenate([before, quiet, after]))
    assert abs(len(conditioned) - len(PLAIN)) < 0.25 * RATE_HZ


@pytest.mark.parametrize("gain_db", [-30, -20, -10, 0])
def test_quiet_speech_in_sixteen_bits_is_as_loud_and_nearly_as_clean(gain_db: float) -> None:
    conditioned = condition(rounded(SPEECH * 10 ** (gain_db / 20)))
    assert distance_db(conditioned) < -35
    quiet = PLAIN == 0
    assert 20 * np.log10(np.abs(conditioned[: len(quiet)][quiet]).mean() + 1e-9) < -70


def test_a_click_is_no_speech_and_does_not_make_it_quiet() -> None:
    click = np.tile([1.0, -1.0], 8).astype(np.float32)
    before = np.concatenate([np.zeros(4_000), click, np.zeros(16_000), 0.1 * SPEECH])
    assert distance_db(condition(before)) < -30
    within = 0.1 * SPEECH
    within[20_000:20_016] = click
    assert measure_loudness(condition(within), RATE_HZ) == pytest.approx(REFERENCE_LEVEL, rel=0.05)
    assert np.median(np.abs(condition(within))) == pytest.approx(np.median(np.abs(PLAIN)), rel=0.1)


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_long_pauses_become_short_ones(seconds: float) -> None:
    silence = np.zeros(round(seconds * RATE_HZ), np.float32)
    joined = condition(np.concatenate([SPEECH, silence, SPEECH]))
    assert abs(len(joined) - 2 * len(SPEECH) - 3 * PAUSE) < 0.1 * RATE_HZ


def test_an_offset_and_hum_do_not_matter() -> None:
    time = np.arange(len(SPEECH) + 2 * RATE_HZ) / RATE_HZ
    hum = 0.002 * np.sin(2 * np.pi * 50 * time).astype(np.float32)
    conditioned = condition(np.pad(SPEECH, RATE_HZ) + 0.05 + hum)
    assert abs(len(conditioned) - len(PLAIN)) < 0.05 * RATE_HZ


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 48_000])
def test_other_rates_give_the_same(rate_hz: int) -> None:
    speech = soxr.resample(SPEECH, RATE_HZ, rate_hz)
    assert distance_db(condition(np.pad(speech, rate_hz), rate_hz)) < -20


TIME = np.arange(3 * RATE_HZ) / RATE_HZ
PINK = np.fft.irfft(np.fft.rfft(noise(3, 0)) / np.sqrt(np.arange(24_001) + 1))
NO_SPEECH = {
    "white noise": noise(3, -20),
    "quiet noise": noise(3, -60),
    "pink noise": 0.3 * PINK / np.abs(PINK).max(),
    "noise and digital silence": np.pad(noise(2, -30), RATE_HZ),
    "a tone": 0.5 * np.sin(2 * np.pi * 440 * TIME),
    "hum": 0.5 * np.sin(2 * np.pi * 50 * TIME),
    "a constant": np.full(RATE_HZ, 0.25),
    "silence": np.zeros(RATE_HZ),
}


@pytest.mark.parametrize("name", NO_SPEECH)
def test_what_is_no_speech_is_refused(name: str) -> None:
    with pytest.raises(NoSpeechError, match=r"^audio: (holds no speech|is silent or constant)"):
        condition(NO_SPEECH[name])


def test_without_speech_all_of_it_can_be_taken() -> None:
    sound = convert_sound(NO_SPEECH["white noise"], RATE_HZ)
    with pytest.warns(SpeechWarning, match="holds no speech.*says little"):
        np.testing.assert_array_equal(condition_if_spoken(sound, RATE_HZ), sound.mono)


def test_clipping_is_told_by_its_share() -> None:
    loud = rounded(2.2 * SPEECH)
    share = 100 * np.mean(np.abs(loud.astype(int)) == 32_767)
    assert 0.2 < share < 5
    (warning,) = told(loud)
    number = float(warning.split("audio: ")[1].split(" % of its samples are clipped")[0])
    assert number == pytest.approx(share, abs=0.15)


def test_much_clipping_is_refused() -> None:
    with pytest.raises(UserError, match=r"audio: \d+\.\d % of its samples are clipped; record"):
        condition(rounded(8 * SPEECH))


def test_clipping_is_found_after_the_level_was_lowered() -> None:
    assert any("are clipped" in line for line in told(0.3 * np.clip(SPEECH, -0.35, 0.35)))


def test_telephone_speech_is_told() -> None:
    narrow = soxr.resample(SPEECH, RATE_HZ, 8_000)
    (warning,) = told(narrow, 8_000)
    assert "ends near 4 kHz, as telephones do" in warning
    (again,) = told(rounded(soxr.resample(narrow, 8_000, RATE_HZ)))
    assert "ends near 4 kHz" in again


def test_noise_behind_the_speech_is_told_by_its_distance() -> None:
    (warning,) = told(np.pad(SPEECH, RATE_HZ) + noise(2 + len(SPEECH) / RATE_HZ, -44))
    assert "steady noise" in warning
    assert told(np.pad(SPEECH, RATE_HZ) + noise(2 + len(SPEECH) / RATE_HZ, -60)) == []


def under_noise(snr_db: float) -> np.ndarray:
    """Speech in white noise, at a ratio of their powers."""
    level_db = 10 * np.log10(np.mean(np.square(SPEECH, dtype=np.float64))) - snr_db
    return SPEECH + noise(len(SPEECH) / RATE_HZ, level_db)


def severity(audio: np.ndarray) -> tuple[int, float]:
    """How strongly noise is told: nothing, a warning, a refusal; and minus the distance."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            condition_speech(convert_sound(audio, RATE_HZ), RATE_HZ)
        except UserError as error:
            message, kind = str(error), 2
        else:
            message, kind = (str(caught[0].message), 1) if caught else ("0 dB", 0)
    return kind, -float(re.findall(r"(\d+) dB", message)[0])


def test_the_noisier_the_stronger_the_message() -> None:
    told_of = [severity(under_noise(snr_db)) for snr_db in range(44, -11, -2)]
    kinds = [kind for kind, _ in told_of]
    assert kinds == sorted(kinds)
    assert (kinds[0], kinds[-1]) == (0, 2)
    assert 1 in kinds
    distances = [distance for kind, distance in told_of if kind == 1]
    assert distances == sorted(distances)


@pytest.mark.parametrize("snr_db", [15, 12, 10, 8, 6, 4, 0])
def test_noise_that_makes_another_voice_is_refused(snr_db: float) -> None:
    with pytest.raises(UserError, match=r"makes another person's voice|holds no speech"):
        condition(under_noise(snr_db))


def test_what_is_refused_for_noise_can_still_be_taken() -> None:
    sound = convert_sound(under_noise(12), RATE_HZ)
    with pytest.raises(NoisySpeechError, match=r"noise goes on under its speech, \d\d dB below"):
        condition_speech(sound, RATE_HZ)
    with pytest.warns(SpeechWarning, match="makes another person's voice"):
        taken = condition_if_spoken(sound, RATE_HZ)
    assert measure_loudness(taken, RATE_HZ) == pytest.approx(REFERENCE_LEVEL, rel=0.02)


@pytest.mark.parametrize("hum_hz", [50, 60])
def test_loud_hum_and_drift_are_removed(hum_hz: float) -> None:
    time = np.arange(len(SPEECH)) / RATE_HZ
    hum = 0.3 * np.sin(2 * np.pi * hum_hz * time)
    drift = 0.2 * np.sin(2 * np.pi * 0.4 * time) + np.linspace(-0.2, 0.2, len(SPEECH))
    for added in (hum, drift):
        audio = (SPEECH + added).astype(np.float32)
        assert distance_db(condition(audio)) < -25
        assert told(audio) == []


@pytest.mark.parametrize(
    ("rate_hz", "edge"), [(4_000, "2"), (8_000, "4"), (11_025, "5.5"), (12_000, "6"), (14_000, "7")]
)
def test_what_a_low_rate_leaves_out_is_told(rate_hz: int, edge: str) -> None:
    (warning,) = told(soxr.resample(SPEECH, RATE_HZ, rate_hz), rate_hz)
    assert f"ends near {edge} kHz" in warning
    assert ("as telephones do" in warning) == (rate_hz == 8_000)


def test_a_low_rate_is_heard_after_it_was_raised() -> None:
    narrow = soxr.resample(SPEECH, RATE_HZ, 11_025)
    (warning,) = told(rounded(soxr.resample(narrow, 11_025, 44_100)), 44_100)
    assert re.search(r"ends near 5(\.5)? kHz", warning)


def long_vowel() -> np.ndarray:
    time = np.arange(round(0.6 * RATE_HZ)) / RATE_HZ
    orders = np.arange(1, 20)[:, None]
    return np.asarray((np.sin(2 * np.pi * 170 * orders * time) / orders).sum(axis=0))


def test_quiet_speech_is_not_called_noise() -> None:
    vowel = 0.3 * 10 ** (-25 / 20) * long_vowel()
    quiet = [np.zeros(RATE_HZ // 4), vowel, 10 ** (-25 / 20) * SPEECH]
    assert told(np.concatenate([SPEECH, *quiet]).astype(np.float32)) == []
    hiss = noise(0.6, 20 * np.log10(np.std(vowel)))
    (warning,) = told(np.concatenate([SPEECH, hiss, SPEECH]).astype(np.float32))
    assert "has a steady noise" in warning


@pytest.mark.parametrize("seconds", [0.1, 0.15, 0.2])
def test_one_sound_is_called_too_short_not_noise(seconds: float) -> None:
    vowel = (0.3 * long_vowel()[: round(seconds * RATE_HZ)]).astype(np.float32)
    with pytest.raises(NoSpeechError, match=rf"noise: its {seconds:.2f} s are too short; record 3"):
        condition(vowel)


def test_too_little_speech_is_told() -> None:
    (warning,) = told(np.pad(speak(2), RATE_HZ))
    assert re.search(r"holds 0\.\d s of speech; 3 s", warning)
