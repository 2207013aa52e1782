"""The aligner's loss against all label sequences, and a language of tones that it has to learn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig, MelConfig
from tests.tiny_codec import tiny_codec_config
from train.alignment.aligner import AlignmentFeatures, forward_sum_loss
from train.alignment.aligner import train_aligner as train
from train.alignment.paths import compare_durations, spread_evenly

TONES_HZ = (300, 550, 850, 1300, 1900, 2700, 3800, 5400)
FIRST_TONE = 2
CODEC = CodecConfig()


def spoken(tones: np.ndarray, durations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Audio of silence, tones, silence, each of a duration in frames; a little noise."""
    lengths = durations * CODEC.hop_samples
    parts = [np.zeros(lengths[0])]
    for tone, samples in zip(tones, lengths[1:-1], strict=True):
        parts.append(np.sin(2 * np.pi * TONES_HZ[tone] / CODEC.sample_rate_hz * np.arange(samples)))
    audio = np.concatenate([*parts, np.zeros(lengths[-1])]) * 0.3
    return (audio + 0.003 * rng.standard_normal(len(audio))).astype(np.float32)


def test_durations_of_tones_are_learned() -> None:
    """Six tones of eight in each utterance; no duration is shown."""
    rng = np.random.default_rng(0)
    features, utterances, known = AlignmentFeatures(CODEC), [], []
    for _ in range(200):
        tones = rng.permutation(len(TONES_HZ))[:6]
        durations = rng.integers(3, 9, len(tones) + 2)
        symbols = np.array([1, *(tones + FIRST_TONE), 1])
        utterances.append(features(spoken(tones, durations, rng), symbols, "tones"))
        known.append(durations.tolist())
    model = train(utterances, FIRST_TONE + len(TONES_HZ), steps=300)
    found = model.align(utterances)
    for utterance, counts in zip(utterances, found, strict=True):
        assert counts.sum() == len(utterance.log_mel)
        assert (counts >= 1).all()
    learned = compare_durations(found, known, 12.5)
    diagonal = compare_durations(
        [spread_evenly(len(u.log_mel), len(u.symbols), u.speech) for u in utterances], known, 12.5
    )
    assert learned.mean_ms < diagonal.mean_ms / 3
    assert learned.within_25 > 0.8


def test_alignment_does_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(1)
    features, utterances = AlignmentFeatures(CODEC), []
    for frames in (31, 47, 59):
        audio = 0.1 * rng.standard_normal(frames * CODEC.hop_samples).astype(np.float32)
        utterances.append(features(audio, rng.integers(1, 6, frames // 6), "noise"))
    model = train(utterances, 6, steps=2)
    together = model.align(utterances)
    for utterance, expected in zip(utterances, together, strict=True):
        np.testing.assert_array_equal(model.align([utterance])[0], expected)


def test_a_seed_repeats_training() -> None:
    rng = np.random.default_rng(2)
    audio = 0.1 * rng.standard_normal(40 * CODEC.hop_samples).astype(np.float32)
    utterance = AlignmentFeatures(CODEC)(audio, np.array([1, 2, 3, 1]), "noise")
    first, again, other = (
        train([utterance], 4, steps=2, seed=seed).embedding.weight for seed in (5, 5, 6)
    )
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first, other)


def test_the_loss_sums_over_all_monotonic_paths() -> None:
    """Every sequence of blanks and symbols that reads 1, 2, …, N after repeats and blanks."""
    frames, symbols = [5, 3], [3, 2]
    log_probs = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    log_probs[1, :, 2] = -1e30  # padding
    expected = []
    for row, (steps, count) in enumerate(zip(frames, symbols, strict=True)):
        scores = torch.cat([torch.full((steps, 1), -1.0), log_probs[row, :steps, :count]], dim=1)
        scores = scores.log_softmax(-1)
        total = torch.stack(
            [
                scores[range(steps), path].sum()
                for path in itertools.product(range(count + 1), repeat=steps)
                if [p for p, _ in itertools.groupby(path) if p] == list(range(1, count + 1))
            ]
        ).logsumexp(0)
        expected.append(-total / steps)
    loss = forward_sum_loss(log_probs, torch.tensor(frames), torch.tensor(symbols))
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_too_many_symbols_for_the_audio() -> None:
    audio = np.zeros(7 * CODEC.hop_samples + 199, np.float32)
    with pytest.raises(UserError, match=r"one\.wav: 7 frames are too few for 8 symbols"):
        AlignmentFeatures(CODEC)(audio, np.ones(8, np.int64), "one.wav")


@pytest.mark.parametrize(("rate_hz", "ratios"), [(12_000, (4, 4, 4, 3)), (11_025, (7, 7, 3))])
def test_features_have_the_frames_of_any_codec(rate_hz: int, ratios: tuple[int, ...]) -> None:
    n_fft = 512 + math.prod(ratios) % 2
    codec = tiny_codec_config(
        sample_rate_hz=rate_hz,
        decoder_ratios=ratios,
        encoder_ratios=ratios,
        decoder_channels=16,
        mel=MelConfig(n_fft=n_fft, window_samples=400, bins=11, highest_hz=5000.0),
    )
    rng = np.random.default_rng(0)
    audio = 0.1 * rng.standard_normal(31 * codec.hop_samples + 5).astype(np.float32)
    utterance = AlignmentFeatures(codec)(audio, np.array([1, 2, 3, 1]), "noise")
    assert utterance.log_mel.shape == (31, 80)
    assert np.isfinite(utterance.log_mel).all()
