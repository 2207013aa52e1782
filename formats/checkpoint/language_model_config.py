"""What a language-model checkpoint's `config.json` says, checked once.

In: the JSON that `transformers` and the published training code write (Qwen2 fields at top
level, `medusa_num_heads` and its companions beside them), a plain `Qwen2ForCausalLM` one, or
one of this project, which adds `text_frontend`, `prompts`, `sampling`, `streams` and `length`.
Out: a frozen `LanguageModelConfig`. Other keys are ignored, whatever they hold. This module knows
neither tensors nor the tokenizer, and needs neither torch nor numpy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.checkpoint.prompts import SPEECH_START, PromptTemplates
from formats.checkpoint.rope import FULL_ATTENTION, read_rope_theta
from formats.checkpoint.state_dicts import MERGE
from formats.files.json_reader import JsonReader
from formats.files.strict_fields import read_json
from formats.streams import FACODEC, Streams, parse_streams

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter_config.json"
HEAD_KINDS = ("linear", "mlp", "transformer")
FRONTEND_KINDS = ("none", "hibari")
MAX_HEADS = 48
MAX_FRAMES_PER_TOKEN = 10_000.0
_TEMPLATE_PLACES = {
    "tts": ("{text}",),
    "tts_speaker": ("{text}",),
    "chat": ("{question}", "{answer}"),
    "chat_speaker": ("{question}", "{answer}"),
}


@dataclass(frozen=True)
class TextFrontend:
    """How the user's text becomes the text of the prompt: unchanged ("none"), or as phonemes."""

    kind: str = "none"
    language: str = "en-us"


@dataclass(frozen=True)
class SamplingSettings:
    """The model's default sampling (runtime/speech/sampling.py)."""

    do_sample: bool = True
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.8
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class LengthSettings:
    """The most frames of a speech: `extra_frames + frames_per_token * text tokens`.

    Models can fail to stop. `frames_per_token` is four times the average of the training data.
    """

    frames_per_token: float
    extra_frames: int


@dataclass(frozen=True)
class LanguageModelConfig:
    """Geometry of the model; field names are the keys of `config.json`.

    `vocab_size` is the number in the file. Published NTP checkpoints keep the base model's number
    there although speech tokens were added. So readers count the rows of the embedding table.
    `length` is None in checkpoints that declare no bound.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    max_position_embeddings: int = 32_768
    tie_word_embeddings: bool = True
    medusa_num_heads: int = 1
    head_implement: str = "linear"
    head_transformers_layer: int = 2
    spk_aware: bool = False
    spk_emb_dim: int = 256
    model_max_length: int = 8_192
    text_frontend: TextFrontend = field(default_factory=TextFrontend)
    prompts: PromptTemplates = field(default_factory=PromptTemplates)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    streams: Streams = FACODEC
    length: LengthSettings | None = None

    @property
    def kind(self) -> str:
        """`"mtp"` (several heads) or `"ntp"` (one next-token head over the whole vocabulary)."""
        return "mtp" if self.medusa_num_heads > 1 else "ntp"

    @property
    def heads(self) -> int:
        """Speech tokens predicted per step: those of whole frames, or 1."""
        return self.medusa_num_heads

    @property
    def frames_per_step(self) -> int:
        """Whole frames that one MTP step yields. An NTP step yields one code of a frame."""
        if self.kind == "ntp":
            raise ValueError("an NTP step is one token, not a whole frame")
        return self.streams.frames_per_step(self.medusa_num_heads)

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def speaker_hidden_size(self) -> int:
        """Width between the two layers of the speaker projection."""
        return 4 * self.spk_emb_dim

    def to_json(self) -> dict[str, Any]:
        """The published layout. `transformers` reads the Qwen2 part of it.

        `streams` is left out if they are FACodec's, and `length` if it is not declared.
        """
        values = asdict(self) | {"streams": self.streams.to_json()}
        if self.streams == FACODEC:
            del values["streams"]
        if self.length is None:
            del values["length"]
        if self.kind == "ntp":
            for key in ("medusa_num_heads", "head_implement", "head_transformers_layer"):
                del values[key]
        return {"model_type": "qwen2", "hidden_act": "silu", **values}


def read_lm_config(folder: Path) -> LanguageModelConfig:
    """Read `folder/config.json`. Raises `UserError` naming the file and the key."""
    path = Path(folder) / CONFIG_FILE
    _refuse_adapter(Path(folder))
    return parse_lm_config(read_json(path, "a checkpoint"), str(path))


def _refuse_adapter(folder: Path) -> None:
    """Refuse a LoRA adapter. PEFT's files may also be left beside a whole model."""
    path = folder / ADAPTER_FILE
    if not path.is_file():
        return
    base = read_json(path, "an adapter").get("base_model_name_or_path") or "its base model"
    raise UserError(
        f"{folder}: holds a LoRA adapter of {base} ({ADAPTER_FILE}), no whole model; {MERGE}; "
        f"if that is done, remove {ADAPTER_FILE}"
    )


def parse_lm_config(values: Mapping[str, Any], where: str) -> LanguageModelConfig:
    """Check the values of a `config.json`; `where` names the file in error messages."""
    reader = JsonReader(values, where)
    _refuse_other_models(reader)
    config = LanguageModelConfig(
        **_backbone_fields(reader),
        **_speech_fields(reader, _streams(values, where)),
        text_frontend=_text_frontend(reader),
        prompts=_prompts(reader),
        sampling=_sampling(reader),
        length=_length(reader) if reader.has("length") else None,
    )
    _check_shapes(config, where)
    return config


def _refuse_other_models(reader: JsonReader) -> None:
    reader.choice("model_type", "qwen2", ("qwen2",))
    reader.choice("hidden_act", "silu", ("silu",))
    if reader.boolean("use_sliding_window", False):
        raise reader.fail("use_sliding_window", "is true: this attention is not supported")
    others = set(reader.texts("layer_types")) - {FULL_ATTENTION}
    if others:
        raise reader.fail("layer_types", f"names {min(others)!r}; only {FULL_ATTENTION!r} can be")
    if reader.has("quantization_config"):
        raise reader.fail(
            "quantization_config", "is set: export the model's weights from before quantization"
        )
    if reader.has("head_dim"):
        derived = reader.integer("hidden_size") // reader.integer("num_attention_heads")
        if reader.integer("head_dim") != derived:
            raise reader.fail("head_dim", f"must be hidden_size / num_attention_heads = {derived}")


def _backbone_fields(reader: JsonReader) -> dict[str, Any]:
    attention_heads = reader.integer("num_attention_heads")
    return {
        "vocab_size": reader.integer("vocab_size"),
        "hidden_size": reader.integer("hidden_size"),
        "intermediate_size": reader.integer("intermediate_size"),
        "num_hidden_layers": reader.integer("num_hidden_layers"),
        "num_attention_heads": attention_heads,
        "num_key_value_heads": reader.integer("num_key_value_heads", attention_heads),
        "rms_norm_eps": reader.positive("rms_norm_eps", 1e-6),
        "rope_theta": read_rope_theta(reader),
        "max_position_embeddings": reader.integer("max_position_embeddings", 32_768),
        "tie_word_embeddings": reader.boolean("tie_word_embeddings", False),
    }


def _speech_fields(reader: JsonReader, streams: Streams) -> dict[str, Any]:
    heads = reader.integer("medusa_num_heads", 1)
    if heads != 1 and (heads % streams.count or heads > MAX_HEADS):
        wanted = f"1 or a multiple of {streams.count} up to {MAX_HEADS}"
        raise reader.fail("medusa_num_heads", f"must be {wanted}, not {heads}")
    return {
        "streams": streams,
        "medusa_num_heads": heads,
        "head_implement": reader.choice("head_implement", "linear", HEAD_KINDS),
        "head_transformers_layer": reader.integer("head_transformers_layer", 2),
        "spk_aware": reader.boolean("spk_aware", False),
        "spk_emb_dim": reader.integer("spk_emb_dim", 256),
        "model_max_length": reader.integer("model_max_length", 8_192),
    }


def _streams(values: Mapping[str, Any], where: str) -> Streams:
    """Published checkpoints have no such key: their codes are FACodec's."""
    streams = values.get("streams")
    return FACODEC if streams is None else parse_streams(streams, f"{where}: 'streams'")


def _length(reader: JsonReader) -> LengthSettings:
    section = reader.section("length")
    length = LengthSettings(
        frames_per_token=section.positive("frames_per_token"),
        extra_frames=section.integer("extra_frames", low=0),
    )
    if length.frames_per_token > MAX_FRAMES_PER_TOKEN:
        raise section.fail("frames_per_token", f"must be at most {MAX_FRAMES_PER_TOKEN:g}")
    return length


def _text_frontend(reader: JsonReader) -> TextFrontend:
    section = reader.section("text_frontend")
    return TextFrontend(
        kind=section.choice("kind", "none", FRONTEND_KINDS),
        language=section.text("language", "en-us"),
    )


def _prompts(reader: JsonReader) -> PromptTemplates:
    section = reader.section("prompts")
    default = PromptTemplates()
    prompts = PromptTemplates(
        tts=section.text("tts", default.tts),
        tts_speaker=section.text("tts_speaker", default.tts_speaker),
        chat=section.text("chat", default.chat),
        chat_speaker=section.text("chat_speaker", default.chat_speaker),
        tail=section.text("tail", default.tail),
    )
    for key, places in _TEMPLATE_PLACES.items():
        template = getattr(prompts, key)
        found = tuple(re.findall(r"\{(?:text|question|answer)\}", template))
        if found != places or not template.endswith(SPEECH_START):
            wanted = " and then ".join(places)
            raise section.fail(key, f"must hold {wanted} once and end in {SPEECH_START}")
    return prompts


def _sampling(reader: JsonReader) -> SamplingSettings:
    section = reader.section("sampling")
    default = SamplingSettings()
    sampling = SamplingSettings(
        do_sample=section.boolean("do_sample", default.do_sample),
        temperature=section.positive("temperature", default.temperature),
        top_k=section.integer("top_k", default.top_k),
        top_p=section.positive("top_p", default.top_p),
        repetition_penalty=section.positive("repetition_penalty", default.repetition_penalty),
    )
    if not 0.01 <= sampling.temperature <= 100:
        raise section.fail("temperature", "must lie between 0.01 and 100")
    if sampling.top_p > 1:
        raise section.fail("top_p", f"must be at most 1, not {sampling.top_p:g}")
    if not 1 <= sampling.repetition_penalty <= 100:
        raise section.fail("repetition_penalty", "must be at least 1, at most 100")
    return sampling


def _check_shapes(config: LanguageModelConfig, where: str) -> None:
    if config.hidden_size % config.num_attention_heads:
        raise UserError(f"{where}: 'hidden_size' must be a multiple of 'num_attention_heads'")
    if config.num_attention_heads % config.num_key_value_heads:
        raise UserError(
            f"{where}: 'num_attention_heads' must be a multiple of 'num_key_value_heads'"
        )
    if config.head_dim % 2:
        raise UserError(f"{where}: channels per attention head must be even, not {config.head_dim}")
