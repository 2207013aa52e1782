"""Training a codec: it learns, it resumes exactly, and the decoder phase leaves tokens alone."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from commands.errors import EXIT_TIME_IS_UP, UserError
from commands.interruption import Interruption
from formats.checkpoint.codec_config import CodecConfig, MelConfig
from formats.tokens import TokenizedUtterance, write_utterances
from train.codec import main, make_phase, train_codec
from train.codec_model.checkpoint import load_codec
from train.codec_model.facodec import FACodec
from train.codec_model.vector_quantizer import VectorQuantizer
from train.codec_training.audio_pool import AudioPool
from train.codec_training.codebook_learning import CodebookLearner, quantize_straight_through
from train.codec_training.config import (
    CodecTrainingConfig,
    DecoderPhaseConfig,
    PhaseConfig,
    PredictedTokens,
)
from train.codec_training.decoder_phase import DecoderPhase
from train.codec_training.losses import SpectralLoss
from train.codec_training.phase import Computing, swap_partners
from train.codec_training.phase_run import set_learning_rate
from train.codec_training.tokenizer_phase import TokenizerPhase

PHASE = PhaseConfig(
    steps=4, batch=2, crop_frames=12, learning_rate=2e-3, final_learning_rate=1e-3, warmup_steps=2
)
SIZES = CodecConfig(
    latent_channels=24,
    activation="snake",
    decoder_channels=16,
    content_encoder="mel",
    encoder_channels=10,
    residual_codebooks=0,
    prosody_bins=7,
    mel=MelConfig(bins=20),
    transformer_layers=1,
    transformer_heads=2,
    transformer_ffn_channels=18,
)


class StopAfter(Interruption):
    """Stops after some rounds of the loop."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds

    @property
    def requested(self) -> bool:
        self._rounds -= 1
        return self._rounds < 0


@pytest.fixture
def config(recordings: Path, tmp_path: Path) -> CodecTrainingConfig:
    return CodecTrainingConfig(
        recordings=str(recordings),
        output=str(tmp_path / "whole"),
        tokenizer=PHASE,
        decoder=DecoderPhaseConfig(**vars(PHASE), adversary_from=2),
        codec=SIZES,
        hours=0.01,
    )


def sine_pool() -> AudioPool:
    """Three noisy tones of two speakers, half a second each."""
    rng = np.random.default_rng(0)
    time = np.arange(8000) / 16_000
    audio = [
        (8000 * np.sin(2 * np.pi * hz * time) + 500 * rng.standard_normal(8000)).astype(np.int16)
        for hz in (200, 300, 450)
    ]
    return AudioPool(audio, ["one", "one", "two"], SIZES.hop_samples)


def weights(folder: Path | str) -> dict[str, torch.Tensor]:
    return dict(load_codec(Path(folder)).state_dict())


@pytest.fixture
def predicted(tmp_path: Path) -> PredictedTokens:
    """Some codes for all frames of the recordings, which are loud throughout."""
    random = np.random.default_rng(2)
    utterances = [
        TokenizedUtterance(str(index), "Hi.", random.integers(0, 1024, (length, 3)))
        for index, length in enumerate((48, 64, 80))
    ]
    write_utterances(tmp_path / "predicted.jsonl", utterances, heads=6)
    return PredictedTokens(str(tmp_path / "predicted.jsonl"), heads=6)


@pytest.mark.parametrize("share", [None, 0.5], ids=["own tokens", "predicted tokens"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    config: CodecTrainingConfig, predicted: PredictedTokens, tmp_path: Path, share: float | None
) -> None:
    if share is not None:
        learned = replace(config.decoder, predicted=(predicted,), predicted_share=share)
        config = replace(config, decoder=learned)
    train_codec(config, ("tokenizer", "decoder"))
    pieces = replace(config, output=str(tmp_path / "pieces"), save_minutes=1e-9)  # every step
    for rounds in (3, 1, 2, 1, 9):
        train_codec(pieces, ("tokenizer", "decoder"), StopAfter(rounds))
    expected, found = weights(config.output), weights(pieces.output)
    for key, tensor in expected.items():
        assert torch.equal(tensor, found[key]), key


def test_the_decoder_phase_changes_only_the_decoder(config: CodecTrainingConfig) -> None:
    train_codec(config, ("tokenizer",))
    before = weights(config.output)
    train_codec(config, ("decoder",))
    after = weights(config.output)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith(("decoder.model.", "decoder.timbre_linear.")) for key in changed)


def test_a_decoder_goes_on_with_predicted_tokens(
    config: CodecTrainingConfig, predicted: PredictedTokens
) -> None:
    """More steps in the same folder; what it has learned before stays."""
    train_codec(config, ("tokenizer", "decoder"))
    before = weights(config.output)
    decoder = replace(config.decoder, predicted=(predicted,), steps=5)
    train_codec(replace(config, decoder=decoder), ("tokenizer", "decoder"), resume=True)
    after = weights(config.output)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.startswith(("decoder.model.", "decoder.timbre_linear.")) for key in changed)
    for key in changed:  # one step of a warm optimizer, not a fresh start
        torch.testing.assert_close(after[key], before[key], rtol=0, atol=0.05)


def test_a_finished_tokenizer_is_not_trained_on_under_a_decoder(
    config: CodecTrainingConfig,
) -> None:
    train_codec(config, ("tokenizer", "decoder"))
    with pytest.raises(UserError, match=r"decoder\.pt was trained on a finished tokenizer"):
        train_codec(replace(config, tokenizer=replace(PHASE, steps=9)), ("tokenizer",), resume=True)


def test_a_decoder_of_other_sizes_is_not_gone_on_with(config: CodecTrainingConfig) -> None:
    train_codec(config, ("tokenizer", "decoder"))
    state = Path(config.output) / "decoder.pt"
    larger = replace(config, codec=replace(SIZES, decoder_channels=32))
    train_codec(replace(larger, output=config.output + "-larger"), ("tokenizer",))
    (Path(config.output + "-larger") / "decoder.pt").write_bytes(state.read_bytes())
    with pytest.raises(UserError, match=r"decoder\.pt: has other sizes or is of an earlier"):
        train_codec(replace(larger, output=config.output + "-larger"), ("decoder",), resume=True)


@pytest.mark.parametrize(
    ("computing", "tolerance"),
    [(Computing("bfloat16"), 3e-2), (Computing("float32", compile=True), 1e-5)],
    ids=["bfloat16", "fused"],
)
def test_other_ways_to_compute_give_the_same_losses(
    config: CodecTrainingConfig, computing: Computing, tolerance: float
) -> None:
    config = replace(config, precision="float32")
    train_codec(config, ("tokenizer",))
    ways = (config, replace(config, precision=computing.precision, compile=computing.compile))
    pool = sine_pool()
    losses = []
    for way in ways:
        phase = make_phase("decoder", way, pool, Path(config.output))
        set_learning_rate(phase.optimizer, PHASE, 0)
        losses.append([phase.train_step(step)["spectral"] for step in range(2)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)


def test_losses_fall(config: CodecTrainingConfig) -> None:
    """Forty steps on three sounds are enough to see it."""
    phase = make_phase("tokenizer", config, sine_pool(), Path(config.output))
    losses = []
    for step in range(40):
        set_learning_rate(phase.optimizer, replace(PHASE, steps=40), step)
        losses.append(phase.train_step(step)["mel_l1"])
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_each_codebook_quantizes_what_the_others_of_its_group_left() -> None:
    sizes = replace(
        SIZES, content_codebooks=3, prosody_codebooks=2, stream_sizes=(48, 20, 33, 17, 5)
    )
    phase = TokenizerPhase(FACodec(sizes), sine_pool(), PHASE, 0)
    phase.train_step(0)  # codebook entries are of unit length from here on
    decoder = phase.codec.decoder
    audio = 0.1 * torch.randn(2, 20 * sizes.hop_samples)
    with torch.no_grad():
        log_mel = phase.codec.encoder.mel_transform(audio)
        latents = phase.codec.encoder(audio, log_mel)
        prosody = decoder.encode_prosody(log_mel, latents.shape[1])
        expected = decoder.embed_frames(decoder.quantize(latents, prosody))
        generator = torch.Generator().manual_seed(0)
        found, _ = phase._quantize(latents, log_mel, False, generator)
    torch.testing.assert_close(found, expected)


def test_partners_are_of_one_speaker_and_draws_depend_on_the_step_only() -> None:
    audio = [np.full(2000 + 200 * i, i, np.int16) for i in range(6)]
    pool = AudioPool(audio, ["x", "y", "x", "y", "x", "z"], 200)
    for step in range(20):
        crops = pool.draw(3, step, 8, 9)
        for first, second in crops.recordings.reshape(-1, 2):
            assert "xyxyxz"[first] == "xyxyxz"[second]
        again = pool.draw(3, step, 8, 9)
        np.testing.assert_array_equal(crops.first_frames, again.first_frames)
        cut = pool.cut(crops, 9)
        assert cut.shape == (8, 1800)
        np.testing.assert_allclose(cut[:, 0] * 32767, crops.recordings, atol=1e-3)


def test_partners_swap() -> None:
    rows = torch.arange(4)[:, None] * torch.ones(1, 3)
    assert swap_partners(rows)[:, 0].tolist() == [1, 0, 3, 2]


def test_codebooks_follow_their_inputs_and_revive() -> None:
    torch.manual_seed(0)
    layer = VectorQuantizer(channels=6, codebook_size=8, codebook_channels=3)
    learner = CodebookLearner(layer)
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(8, 3), dim=-1)
    inputs = centres.repeat(50, 1)
    learner.start(layer, inputs, generator)
    assert cosines(layer, centres).min() > 0.8
    moved = torch.eye(3)
    inputs = moved.repeat(50, 1)
    for _ in range(300):
        learner.update(layer, inputs, layer.nearest(inputs), generator)
    assert cosines(layer, moved).min() > 0.999
    torch.testing.assert_close(layer.codebook.norm(dim=1), torch.ones(8))


def cosines(layer: VectorQuantizer, directions: torch.Tensor) -> torch.Tensor:
    """How near the nearest codebook entry is to each direction."""
    return (layer.codebook @ directions.t()).max(0).values


def test_gradients_pass_the_codebook() -> None:
    layer = VectorQuantizer(channels=6, codebook_size=8, codebook_channels=3)
    latents = torch.randn(2, 5, 6, requires_grad=True)
    vectors, commitment, directions, codes = quantize_straight_through(layer, latents)
    vectors.sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    assert (directions.shape, codes.shape) == ((10, 3), (10,))
    assert commitment > 0


def test_spectral_loss_is_zero_for_equal_audio_only() -> None:
    loss = SpectralLoss(16_000)
    audio = 0.1 * torch.randn(2, 3000)
    assert loss(audio, audio) == 0
    assert loss(audio, 0.5 * audio) > 0.1


def write_config(config: CodecTrainingConfig, path: Path, **changes: object) -> Path:
    values = {
        "recordings": config.recordings,
        "output": config.output,
        "hours": 0.01,
        "codec": json.loads(SIZES.to_json()),
        "tokenizer": vars(PHASE),
        "decoder": vars(PHASE),
    }
    path.write_text(yaml.safe_dump(values | changes))
    return path


@pytest.mark.parametrize("phase", [TokenizerPhase, DecoderPhase])
def test_an_interrupted_run_is_saved_and_goes_on(
    config: CodecTrainingConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    phase: type[TokenizerPhase] | type[DecoderPhase],
) -> None:
    train_step, steps = phase.train_step, []

    def interrupted(self: Any, step: int) -> dict[str, float]:
        steps.append(step)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return train_step(self, step)

    monkeypatch.setattr(phase, "train_step", interrupted)
    command = ["--config", str(write_config(config, tmp_path / "codec.yaml"))]
    assert main(command) == 130
    said = capsys.readouterr()
    assert "2 of 4 steps, saved in" in said.out
    assert f"go on with: python -m train.codec --config {tmp_path / 'codec.yaml'}" in said.err
    assert main(command) == 0
    assert steps == [0, 1, 2, 3]
    assert f"next: python -m train.prepare {config.recordings} --codec {config.output}" in (
        capsys.readouterr().out
    )
    plain = replace(
        config, output=str(tmp_path / "plain"), decoder=DecoderPhaseConfig(**vars(PHASE))
    )
    train_codec(plain, ("tokenizer", "decoder"))
    expected, found = weights(plain.output), weights(config.output)
    assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items())


def test_time_is_up_as_after_ctrl_c(
    config: CodecTrainingConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", str(write_config(config, tmp_path / "codec.yaml"))]
    assert main([*command, "--max-minutes", "1e-9"]) == EXIT_TIME_IS_UP
    said = capsys.readouterr()
    assert "tokenizer: 0 of 4 steps, saved in" in said.out
    assert "go on with: python -m train.codec --config" in said.err
    assert main(command) == 0


def test_other_settings_need_resume(
    config: CodecTrainingConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(config, tmp_path / "codec.yaml")
    assert main(["--config", str(path)]) == 0
    longer = vars(PHASE) | {"steps": 5, "warmup_steps": 3}
    path = write_config(config, tmp_path / "codec.yaml", decoder=longer)
    assert main(["--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "decoder.pt: was begun with other settings for steps, warmup_steps; add" in said
    assert main(["--config", str(path), "--phase", "decoder", "--resume"]) == 0
    assert "decoder: 5 of 5 steps" in capsys.readouterr().out
    assert main(["--config", str(path)]) == 0  # they are its settings now


def test_the_former_name_of_an_option_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--config", "codec.yaml", "--minutes", "5"])
    assert "--minutes is now called --max-minutes" in capsys.readouterr().err


def test_what_is_missing_is_missed_before_the_work(
    config: CodecTrainingConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("train.codec_training.audio_pool.load_pool", None)  # is not come to
    predicted = [{"file": "gone.jsonl", "heads": 3}]
    path = write_config(
        config, tmp_path / "codec.yaml", decoder=vars(PHASE) | {"predicted": predicted}
    )
    assert main(["--config", str(path)]) == 2
    assert "gone.jsonl: no such file" in capsys.readouterr().err
    path = write_config(config, tmp_path / "codec.yaml")
    assert main(["--config", str(path), "--phase", "decoder"]) == 2
    assert "holds no codec" in capsys.readouterr().err
    assert not Path(config.output).exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("tokenizer: {crop_frames: 2}", "tokenizer: 'crop_frames' must be more than 2"),
        ("decoder: {crop_frames: 5}", "decoder: 'crop_frames' must be more than 5"),
        ("decoder: {predicted_share: 0.0}", "'predicted_share' must be above 0 and at most 1"),
        ("decoder: {predicted: [{file: h3.jsonl}]}", "'predicted': key 'heads' is missing"),
        ("decoder: {crop_frames: 900}", "no readable recording is as long"),
        ("codec: {stream_sizes: [48, 20]}", "'stream_sizes' must hold one size for each"),
        ("device: abacus", "'device' 'abacus' cannot be used here"),
        ("recordings: nowhere", "nowhere: no such folder"),
    ],
)
def test_mistakes_are_one_line(
    config: CodecTrainingConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: str,
    message: str,
) -> None:
    path = write_config(config, tmp_path / "codec.yaml")
    values = yaml.safe_load(path.read_text())
    for key, change in yaml.safe_load(changes).items():
        values[key] = {**values[key], **change} if isinstance(change, dict) else change
    path.write_text(yaml.safe_dump(values))
    assert main(["--config", str(path)]) == 2
    assert message in capsys.readouterr().err
