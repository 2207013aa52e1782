"""The manifest of a bundle.

In: the checkpoint, the codec and a description of what was written. Out: a `Manifest` without the
hashes of its files, which `export.bundle.writer` adds when all files are there.
"""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import cast

from export.bundle.tables import EMBEDDINGS_FILE, TOKENIZER_FILE
from export.readers.checkpoint import Checkpoint
from formats.calibration.record import hash_model
from formats.checkpoint.codec_config import CodecConfig
from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.checkpoint.prompts import SPEECH_START
from runtime.bundle.manifest import (
    ChatSpec,
    Check,
    CodecSpec,
    EngineSpec,
    GraphSpec,
    HeadKind,
    LanguageModelSpec,
    LengthBound,
    Manifest,
    PromptSpec,
    SamplingDefaults,
)
from runtime.bundle.names import NATIVE, ONNXRUNTIME, SCHEMA_VERSION, TEXT_HEAD

NTP_HEAD_KIND: HeadKind = "lm_head"
MODEL_HASH = "model_sha256"  # in built_with: of the checkpoint
BUILT_WITH = ("slm-deploy", "numpy", "onnx-ir", "onnxscript", "onnxruntime")


def describe_bundle(
    checkpoint: Checkpoint,
    codec: CodecConfig,
    dialect: str,
    graphs: dict[str, GraphSpec],
    voices: dict[str, str],
    checks: tuple[Check, ...],
    rows: int = 1,
) -> Manifest:
    """The manifest of a bundle with these parts. Its first voice is the default one.

    dialect: of its graphs; NATIVE if it has packed weights instead. rows: the most that a call of a
    graph takes, as in the profiles of the graphs.
    """
    return Manifest(
        schema_version=SCHEMA_VERSION,
        engine=EngineSpec(
            kind=NATIVE if dialect == NATIVE else ONNXRUNTIME, dialect=dialect, rows=rows
        ),
        language_model=describe_language_model(checkpoint.config),
        prompt=describe_prompt(checkpoint),
        sampling=SamplingDefaults(**asdict(checkpoint.config.sampling)),
        length=LengthBound(**asdict(checkpoint.length)),
        codec=_codec(codec),
        graphs=graphs,
        tokenizer=TOKENIZER_FILE,
        embeddings=EMBEDDINGS_FILE,
        voices=voices,
        default_voice=next(iter(voices), None),
        files={},
        built_with=_versions() | {MODEL_HASH: hash_model(checkpoint.folder)},
        checks=checks,
        chat=describe_chat(checkpoint) if TEXT_HEAD in graphs else None,
    )


def describe_language_model(config: LanguageModelConfig) -> LanguageModelSpec:
    """Sizes of the language model."""
    return LanguageModelSpec(
        kind="mtp" if config.kind == "mtp" else "ntp",
        heads=config.heads,
        head_kind=cast(HeadKind, config.head_implement) if config.kind == "mtp" else NTP_HEAD_KIND,
        hidden_size=config.hidden_size,
        layers=config.num_hidden_layers,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        max_positions=config.max_position_embeddings,
        speaker_aware=config.spk_aware,
    )


def describe_prompt(checkpoint: Checkpoint) -> PromptSpec:
    """How a sentence becomes a prompt."""
    config, tokens = checkpoint.config, checkpoint.tokens
    frontend = asdict(config.text_frontend)
    if frontend["kind"] == "none":
        del frontend["language"]
    return PromptSpec(
        template=config.prompts.tts_speaker if config.spk_aware else config.prompts.tts,
        bos_id=tokens.bos,
        placeholder_id=tokens.placeholder if config.spk_aware else None,
        text_frontend=frontend,
    )


def describe_chat(checkpoint: Checkpoint) -> ChatSpec:
    """The chat templates of a bundle with a text head."""
    config, tokens = checkpoint.config, checkpoint.tokens
    parts = config.prompts.chat_parts(with_speaker=config.spk_aware)
    return ChatSpec(
        template=parts.question,
        before_answer=parts.before_answer,
        after_answer=parts.after_answer.removesuffix(SPEECH_START),
        speech_start_id=tokens.start,
        text_end_id=tokens.eos,
    )


def _codec(config: CodecConfig) -> CodecSpec:
    return CodecSpec(
        streams=config.streams.sizes,
        sample_rate_hz=config.sample_rate_hz,
        hop_samples=config.hop_samples,
        speaker_channels=config.speaker_channels,
        delay_frames=config.delay_frames,
    )


def _versions() -> dict[str, str]:
    """Versions of the packages that built the bundle; "source" for one that is not installed."""
    versions = {"python": platform.python_version()}
    for package in BUILT_WITH:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "source"
    return versions
