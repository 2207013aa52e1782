"""The YAML file of `python -m train.lm`: every choice of a training run, checked once.

In: a YAML file, which may extend another one. Out: a frozen `LmSettings`.
`formats.files.config_paths` finds the files that it names. Unknown keys are refused with the
nearest right one. The command line adds only `--output`, `--resume` and `--max-minutes`. The
codec's streams come from the token files. It needs no torch.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from commands.errors import UserError
from formats.checkpoint.language_model_config import (
    MAX_HEADS,
    LanguageModelConfig,
    SamplingSettings,
    TextFrontend,
    parse_lm_config,
)
from formats.checkpoint.prompts import PromptTemplates
from formats.files.config_paths import BaseModel, InputFile, InputFolder, locate_paths
from formats.files.strict_fields import build_dataclass, read_yaml
from formats.streams import FACODEC, Streams

# Settings that do not change the result. A run continues if they differ, without --resume.
_NO_RESULT = (
    *("threads", "log_every", "evaluate_every", "save_every", "checkpoints_kept"),
    *("loader_workers", "speech_preview"),
)


@dataclass(frozen=True)
class ModelSettings:
    """The model: from a base model's directory, or from scratch with the given sizes.

    `heads: 1` is next-token prediction. `tokenizer` is `phonemes` (one token per symbol of the
    training texts) or the directory of a Qwen2 tokenizer; a base model brings its own.
    """

    heads: int
    base_model: BaseModel | None = None
    tokenizer: BaseModel = "phonemes"
    head_kind: Literal["linear", "mlp", "transformer"] = "linear"
    head_layers: int = 2
    speaker_aware: bool = False
    speaker_channels: int = 256
    hidden_size: int = 896
    intermediate_size: int = 4864
    layers: int = 24
    attention_heads: int = 14
    key_value_heads: int = 2
    rope_theta: float = 1_000_000.0
    max_length: int = 8192
    text_frontend: TextFrontend = field(default_factory=TextFrontend)
    prompts: PromptTemplates = field(default_factory=PromptTemplates)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    init_from_codec: InputFolder | None = None


@dataclass(frozen=True)
class SourceSettings:
    """A file of examples: `tts`, `asr` and `chat` read tokens JSONL, `text` instruction/response.

    `chat` needs the key `question` in every line. The model learns to answer the question with the
    line's text, first written and then spoken.

    Only utterances of at least `min_seconds` and less than `max_seconds` of speech are used. Each
    epoch takes a new random `share` of them.
    """

    file: InputFile
    task: Literal["tts", "asr", "text", "chat"] = "tts"
    share: float = 1.0
    min_seconds: float = 0.0
    max_seconds: float = math.inf

    @property
    def any_length(self) -> bool:
        """Whether no utterance is too short or too long."""
        return self.min_seconds == 0 and self.max_seconds == math.inf


@dataclass(frozen=True)
class DataSettings:
    """Where examples come from.

    Without `validation`, the first `validation_examples` are used for it. `spk_emb_path` in a file
    is relative to `speaker_folder` or, if that is not given, to the file's own folder.
    """

    train: tuple[SourceSettings, ...]
    validation: tuple[SourceSettings, ...] = ()
    validation_examples: int = 0
    speaker_folder: InputFolder | None = None


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW for everything, or Muon for matrices inside the layers and AdamW for the rest."""

    kind: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 0.0005
    embedding_learning_rate: float | None = None  # default: learning_rate
    muon_learning_rate: float = 0.003
    beta1: float = 0.9
    beta2: float = 0.98
    momentum: float = 0.95
    weight_decay: float = 0.0  # of AdamW's matrices
    muon_weight_decay: float = 0.05
    max_grad_norm: float = 1.0
    warmup_steps: int = 100
    decay_share: float = 0.5  # the last part of the run, over which rates fall linearly
    final_share: float = 0.03  # of the rate, at the end


@dataclass(frozen=True)
class GuidedAttentionSettings:
    """A loss that ties attention heads of some layers to the symbol being spoken.

    Head k follows the symbol that is k symbols after the current one. Needs `symbol_frames`.
    """

    layers: tuple[int, ...] = (2,)
    heads: int = 2
    weight: float = 1.0


@dataclass(frozen=True)
class SpeechPreview:
    """Speech for TensorBoard: at each evaluation the model speaks the first validation texts
    through `codec`, each for at most `seconds`. `voice` is a stored speaker embedding. Without it,
    a speaker-aware model uses the speakers of the examples."""

    codec: InputFolder
    voice: InputFile | None = None
    utterances: int = 1
    seconds: float = 8.0


@dataclass(frozen=True)
class LmSettings:
    """Everything about a run."""

    model: ModelSettings
    data: DataSettings
    max_steps: int
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    positions_per_batch: int = 8192
    gradient_accumulation: int = 1
    text_weight: float = 0.2
    speech_weight: float = 0.8
    history_corruption: float = 0.0  # largest share of an utterance's steps that is replaced
    history_noise: Literal["random", "predicted"] = "random"  # the codes that replace them
    average_decay: float = 0.0  # of the weights' moving average, per step; 0: none
    guided_attention: GuidedAttentionSettings | None = None
    speech_preview: SpeechPreview | None = None
    minutes: float | None = None  # of training: the run and its schedule end then, finished
    threads: int | None = None  # of PyTorch on the CPU; None: its own choice
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    fsdp: bool = False
    seed: int = 0
    log_every: int = 50
    evaluate_every: int = 500
    save_every: int = 1000
    checkpoints_kept: int = 2
    loader_workers: int = 0


def read_settings(path: Path) -> LmSettings:
    """Read a settings file. Raises `UserError` naming the file and the key."""
    settings = build_dataclass(LmSettings, read_yaml(path), str(path))
    for message in _faults(settings):
        raise UserError(f"{path}: {message}")
    return settings


def read_located_settings(path: Path) -> LmSettings:
    """The same with resolved paths. Raises `UserError` for a path that does not exist."""
    return locate_paths(read_settings(path), path)


def describe_settings(path: Path) -> dict[str, Any]:
    """The settings that decide the result of a run; a continued run needs the same ones.

    Paths are as the file gives them.
    """
    described = dataclasses.asdict(read_settings(path))
    return {name: value for name, value in described.items() if name not in _NO_RESULT}


def _faults(settings: LmSettings) -> list[str]:
    heads, optimizer = settings.model.heads, settings.optimizer
    sources = (*settings.data.train, *settings.data.validation)
    checks = (
        (0 < heads <= MAX_HEADS, f"model: 'heads' must be from 1 to {MAX_HEADS}, not {heads}"),
        (bool(settings.data.train), "data: 'train' names no file"),
        (
            all(0 < source.share <= 1 for source in sources),
            "data: 'share' must be above 0 and at most 1",
        ),
        (
            all(0 <= source.min_seconds < source.max_seconds for source in sources),
            "data: 'min_seconds' must be at least 0 and below 'max_seconds'",
        ),
        (
            all(source.task != "text" or source.any_length for source in sources),
            "data: 'min_seconds' and 'max_seconds' measure speech; the task 'text' has none",
        ),
        (settings.max_steps > 0, "'max_steps' must be at least 1"),
        (settings.minutes is None or settings.minutes > 0, "'minutes' must be above 0"),
        (settings.positions_per_batch > 0, "'positions_per_batch' must be at least 1"),
        (settings.threads is None or settings.threads > 0, "'threads' must be at least 1"),
        (settings.gradient_accumulation > 0, "'gradient_accumulation' must be at least 1"),
        (0 <= settings.history_corruption <= 1, "'history_corruption' must be between 0 and 1"),
        (
            settings.history_noise == "random" or settings.history_corruption > 0,
            "'history_noise' does nothing without 'history_corruption'",
        ),
        (
            settings.history_noise == "random" or heads > 1,
            "'history_noise: predicted' needs a model of several heads",
        ),
        (0 <= settings.average_decay < 1, "'average_decay' must be at least 0 and below 1"),
        (0 <= optimizer.decay_share <= 1, "optimizer: 'decay_share' must be between 0 and 1"),
        (optimizer.learning_rate > 0, "optimizer: 'learning_rate' must be above 0"),
        (settings.text_weight >= 0, "'text_weight' must not be negative"),
        (settings.speech_weight > 0, "'speech_weight' must be above 0"),
        (
            min(settings.log_every, settings.evaluate_every, settings.save_every) > 0,
            "'log_every', 'evaluate_every' and 'save_every' must be at least 1",
        ),
        (
            not (settings.fsdp and (settings.average_decay or optimizer.kind == "muon")),
            "'fsdp' splits matrices over processes: use 'adamw' and no 'average_decay' with it",
        ),
        *_preview_checks(settings),
    )
    return [message for right, message in checks if not right]


def _preview_checks(settings: LmSettings) -> tuple[tuple[bool, str], ...]:
    preview = settings.speech_preview
    if preview is None:
        return ()
    return (
        (not settings.fsdp, "'speech_preview' needs the whole model in one process: no 'fsdp'"),
        (
            preview.voice is not None or settings.model.speaker_aware,
            "speech_preview: 'voice' is missing, and the model has no speakers of its own",
        ),
        (
            preview.utterances > 0 and preview.seconds > 0,
            "speech_preview: 'utterances' and 'seconds' must be above 0",
        ),
    )


def scratch_config(
    settings: ModelSettings, vocab_size: int, where: str, streams: Streams = FACODEC
) -> LanguageModelConfig:
    """The configuration of a model with the given sizes, for a tokenizer of `vocab_size`."""
    sizes = LanguageModelConfig(
        vocab_size=vocab_size,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.attention_heads,
        num_key_value_heads=settings.key_value_heads,
        rope_theta=settings.rope_theta,
        max_position_embeddings=settings.max_length,
        streams=streams,
    )
    return with_speech(sizes, settings, where)


def with_speech(
    backbone: LanguageModelConfig, settings: ModelSettings, where: str
) -> LanguageModelConfig:
    """A backbone's configuration with the settings' heads, speaker and prompts, checked."""
    values = backbone.to_json() | {
        "medusa_num_heads": settings.heads,
        "head_implement": settings.head_kind,
        "head_transformers_layer": settings.head_layers,
        "spk_aware": settings.speaker_aware,
        "spk_emb_dim": settings.speaker_channels,
        "model_max_length": settings.max_length,
        "max_position_embeddings": max(backbone.max_position_embeddings, settings.max_length),
        "text_frontend": vars(settings.text_frontend),
        "prompts": vars(settings.prompts),
        "sampling": vars(settings.sampling),
    }
    return parse_lm_config(values, where)
