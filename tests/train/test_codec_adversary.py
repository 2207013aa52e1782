"""The decoder's adversary tells decoded audio from recordings, and says what is missing."""

from __future__ import annotations

import pytest
import torch

from train.codec_training.adversary import (
    PERIODS,
    RESOLUTIONS,
    WAVEFORM_GAIN,
    Adversary,
    PeriodDiscriminator,
    SpectrogramDiscriminator,
)

SAMPLES = 4000


def tones(seed: int) -> torch.Tensor:
    """Two tones with a few harmonics each, [2, SAMPLES]."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SAMPLES) / 16_000
    pitch_hz = 100 + 200 * torch.rand(2, 1, generator=generator)
    harmonic = torch.arange(1, 4)[:, None, None]
    return (0.1 * torch.sin(2 * torch.pi * harmonic * pitch_hz * time)).sum(0)


def hiss(seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, SAMPLES, generator=torch.Generator().manual_seed(seed))


def test_every_discriminator_learns_to_tell_them_apart() -> None:
    torch.manual_seed(0)
    adversary = Adversary(torch.device("cpu"))
    assert len(adversary.discriminators) == len(RESOLUTIONS) + len(PERIODS)
    for step in range(60):
        adversary.oppose(hiss(step), tones(step))
    with torch.no_grad():
        for judge in adversary.discriminators:
            assert judge(tones(100))[0].mean() > judge(hiss(100))[0].mean() + 0.1


def test_noise_of_a_hundredth_is_heard() -> None:
    torch.manual_seed(0)
    adversary = Adversary(torch.device("cpu"))
    for step in range(60):
        adversary.oppose(tones(step) + 0.01 * hiss(step), tones(step))
    with torch.no_grad():
        for judge in adversary.discriminators[: len(RESOLUTIONS)]:
            clean, noisy = (
                judge(audio)[0].mean() for audio in (tones(9), tones(9) + 0.01 * hiss(9))
            )
            assert clean > noisy + 0.1


def test_the_recording_itself_is_the_best_that_a_decoder_can_make() -> None:
    torch.manual_seed(0)
    adversary = Adversary(torch.device("cpu"))
    for step in range(60):
        adversary.oppose(hiss(step), tones(step))
    recorded = tones(7)
    decoded = {"recording": recorded, "noisy": recorded + 0.1 * hiss(7), "noise": hiss(7)}
    losses = {name: float(adversary.oppose(audio, recorded)) for name, audio in decoded.items()}
    assert losses["recording"] < losses["noisy"] < losses["noise"]


def test_decoders_learn_from_it_and_it_learns_nothing_from_their_step() -> None:
    adversary = Adversary(torch.device("cpu"))
    decoded = hiss(0).requires_grad_()
    loss = adversary.oppose(decoded, tones(0))
    before = [p.grad.clone() for p in adversary.discriminators.parameters() if p.grad is not None]
    loss.backward()
    after = [p.grad for p in adversary.discriminators.parameters()]
    assert decoded.grad is not None
    assert decoded.grad.abs().sum() > 0
    for mine, still in zip(before, after, strict=True):
        assert still is not None
        assert torch.equal(mine, still)


def test_silence_is_no_division_by_nothing() -> None:
    silence = torch.zeros(2, SAMPLES)
    assert Adversary(torch.device("cpu")).oppose(hiss(0), silence).isfinite()


@pytest.mark.parametrize("period", PERIODS)
def test_columns_are_every_nth_sample(period: int) -> None:
    audio = torch.arange(23.0)[None]
    plane = PeriodDiscriminator(period).lay_out(audio) / WAVEFORM_GAIN
    rows = -(-23 // period)
    assert plane.shape == (1, 1, rows, period)
    column = plane[0, 0, :, 1]
    assert column[: len(audio[0, 1::period])].tolist() == audio[0, 1::period].tolist()


def test_spectrograms_keep_their_phase() -> None:
    lay_out = SpectrogramDiscriminator(256, 64).lay_out
    audio = tones(0)
    assert lay_out(audio).shape == (2, 2, 129, SAMPLES // 64 + 1)
    torch.testing.assert_close(lay_out(-audio), -lay_out(audio))
