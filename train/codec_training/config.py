"""How to train a codec: the YAML file of `python -m train.codec`, read strictly.

Out: a frozen `CodecTrainingConfig`. Needs no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig
from formats.files.config_paths import InputFile, InputFolder, OutputPath, locate_paths
from formats.files.strict_fields import build_dataclass, read_yaml


@dataclass(frozen=True)
class PhaseConfig:
    """One phase. The learning rate warms up, then falls along a cosine to its final value."""

    steps: int
    batch: int
    crop_frames: int
    learning_rate: float
    final_learning_rate: float
    warmup_steps: int = 50

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.crop_frames, self.warmup_steps) < 1:
            raise UserError("'steps', 'batch', 'crop_frames', 'warmup_steps' must be at least 1")
        if self.batch % 2:
            raise UserError(f"'batch' must be even (crops come in pairs), not {self.batch}")
        if not 0 < self.final_learning_rate <= self.learning_rate:
            raise UserError("needs 0 < 'final_learning_rate' <= 'learning_rate'")


@dataclass(frozen=True)
class PredictedTokens:
    """A file of train.predict and the number of heads that it was predicted with."""

    file: InputFile
    heads: int


@dataclass(frozen=True)
class DecoderPhaseConfig(PhaseConfig):
    """The adversary joins at step `adversary_from`; by default it never does.

    For recordings in `predicted`, a `predicted_share` of the crops is decoded from the tokens that
    a model predicted; the other crops are decoded from the codec's own tokens.
    """

    adversary_from: int | None = None
    predicted: tuple[PredictedTokens, ...] = ()
    predicted_share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.predicted_share <= 1:
            raise UserError("'predicted_share' must be above 0 and at most 1")


@dataclass(frozen=True)
class CodecTrainingConfig:
    """`recordings` and `output` are folders; `hours` of audio are held in memory; `device` is a
    torch device. With `compile` PyTorch writes fused kernels: this needs a C++ compiler and a
    minute or two at the start, and halves the time of the decoder's steps on a CPU."""

    recordings: InputFolder
    output: OutputPath
    tokenizer: PhaseConfig
    decoder: DecoderPhaseConfig
    codec: CodecConfig = field(default_factory=CodecConfig)
    hours: float = 2.0
    seed: int = 0
    save_minutes: float = 2.0
    device: str = "cpu"
    threads: int | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        if not (self.hours > 0 and self.save_minutes > 0 and self.seed >= 0):
            raise UserError("'hours' and 'save_minutes' must be above 0, 'seed' at least 0")
        if self.threads is not None and self.threads < 1:
            raise UserError("'threads' must be at least 1")


def describe_phase(config: CodecTrainingConfig, name: str) -> dict[str, Any]:
    """The settings that decide the result of a phase; a continued run needs the same ones. Paths
    are as the file gives them."""
    kept = ("recordings", "hours", "seed", "codec")
    described = asdict(config)
    return {key: described[key] for key in kept} | described[name]


def read_training_config(path: Path) -> CodecTrainingConfig:
    """Read the YAML file. Raises `UserError` naming the file and the key."""
    return build_dataclass(CodecTrainingConfig, read_yaml(path), str(path))


def read_located_config(path: Path) -> CodecTrainingConfig:
    """The same with resolved paths. Raises `UserError` for a path that does not exist."""
    return locate_paths(read_training_config(path), path)
