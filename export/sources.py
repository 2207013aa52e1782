"""Everything that an export reads: opened, checked, and checked against each other.

In: a `Source` of the command line. Out: `SourceFolders`, which say where everything is, and
`Sources`, opened before any work is done. It knows where the demo voice is. It builds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from commands.errors import UserError
from commands.progress import progress
from export.bundle.voices import VoiceSource, parse_voices, read_voices
from export.language_model.decoder_layers import LONGEST_PREFILL
from export.options import DEMO_HEADS, ExportOptions, Source
from export.readers.checkpoint import Checkpoint, open_checkpoint
from export.readers.codec_checkpoint import CodecCheckpoint, open_codec
from runtime.bundle.names import MAX_POSITIONS, STANDARD

DEMO_VOICE = Path(__file__).parent.parent / "samples" / "demo_voice"
DEMO_MODEL, DEMO_CODEC, DEMO_VOICES = "{heads}-heads", "codec", "voices"
LEAST_POSITIONS = 128  # the checks need them
USUAL_SECONDS = 30.0  # sentences that last longer are split


@dataclass(frozen=True)
class Sources:
    """A language model, the codec of its tokens, and voices."""

    checkpoint: Checkpoint
    codec: CodecCheckpoint
    voices: list[VoiceSource]


@dataclass(frozen=True)
class SourceFolders:
    """Directories of a language model and its codec, and files of voices by name."""

    model: Path
    codec: Path
    voices: dict[str, Path]


def read_sources(options: ExportOptions) -> Sources:
    """Everything that an export needs, opened while progress is printed. Raises `UserError`."""
    folders = find_sources(options.source)
    with progress(f"read {folders.model} and {folders.codec}"):
        return open_sources(
            folders,
            options.source.heads,
            options.capacity.max_positions,
            fixed_capacity=options.numbers.dialect in STANDARD,
        )


def find_sources(source: Source) -> SourceFolders:
    """The folders that `source` names, or the demo voice's.

    Raises:
        UserError: a directory does not exist, or a voice is not NAME=FILE.
    """
    given = (("--model", source.model, "checkpoint"), ("--codec", source.codec, "codec"))
    for option, folder, kind in given:
        if folder is not None and not folder.is_dir():
            raise UserError(f"{folder}: no such directory; {option} takes a {kind}'s directory")
    files = parse_voices(source.voices)
    if source.model is None:
        model = _demo_model(DEMO_HEADS if source.heads is None else source.heads)
        codec = source.codec or DEMO_VOICE / DEMO_CODEC
        return SourceFolders(model, codec, files or _demo_voices())
    if source.codec is None:
        raise UserError(f"{source.model}: which codec made its tokens? name it with --codec DIR")
    return SourceFolders(source.model, source.codec, files)


def open_sources(
    folders: SourceFolders,
    heads: int | None = None,
    max_positions: int | None = None,
    *,
    fixed_capacity: bool = False,
) -> Sources:
    """Open and check everything.

    heads: the number that the checkpoint must have. max_positions: room for prompt and speech
    together. The default is all that the model has, or, with `fixed_capacity`, enough for the
    longest sentence, because each step then pays for all of the room.

    Raises:
        UserError: a file is missing or damaged, or parts do not fit together.
    """
    checkpoint = open_checkpoint(folders.model)
    _check_heads(checkpoint, heads)
    checkpoint = _limit_positions(checkpoint, max_positions, fixed_capacity)
    codec = open_codec(folders.codec)
    _check_fit(checkpoint, codec)
    voices = read_voices(folders.voices, codec.config)
    return Sources(checkpoint, codec, voices)


def _demo_model(heads: int) -> Path:
    model = DEMO_VOICE / DEMO_MODEL.format(heads=heads)
    if model.is_dir():
        return model
    suffix = DEMO_MODEL.format(heads="")
    found = sorted(
        int(path.name.removesuffix(suffix)) for path in DEMO_VOICE.glob(f"*[0-9]{suffix}")
    )
    if not found:
        raise UserError(
            f"{DEMO_VOICE}: the demo voice is not here; clone the repository, or use --model DIR"
        )
    raise UserError(
        f"the demo voice has no model with {heads} heads; --heads can be "
        f"{', '.join(map(str, found))}, or bring your own with --model DIR"
    )


def _demo_voices() -> dict[str, Path]:
    files = sorted((DEMO_VOICE / DEMO_VOICES).glob("*.safetensors"))
    return {file.stem: file for file in files}


def _check_heads(checkpoint: Checkpoint, wanted: int | None) -> None:
    heads = checkpoint.config.heads
    if wanted not in (None, heads):
        kind = "is a next-token model (--heads 1)" if heads == 1 else f"has {heads} heads"
        raise UserError(
            f"{checkpoint.folder}: {kind}, not {wanted}; leave --heads out or say --heads {heads}"
        )


def _limit_positions(
    checkpoint: Checkpoint, wanted: int | None, fixed_capacity: bool
) -> Checkpoint:
    """The checkpoint, limited to the positions that the bundle gets room for."""
    config = checkpoint.config
    possible = min(config.max_position_embeddings, config.model_max_length, MAX_POSITIONS)
    if fixed_capacity:
        frames = math.ceil(USUAL_SECONDS * config.streams.frames_per_second)
        speech = math.ceil(frames * config.streams.count / config.heads)
        possible = min(possible, LONGEST_PREFILL + speech)
    positions = possible if wanted is None else wanted
    if not LEAST_POSITIONS <= positions <= config.max_position_embeddings:
        raise UserError(
            f"{checkpoint.folder}: {positions} positions are not possible; --max-positions is "
            f"{LEAST_POSITIONS} to {config.max_position_embeddings} for this model"
        )
    return replace(checkpoint, config=replace(config, max_position_embeddings=positions))


def _check_fit(checkpoint: Checkpoint, codec: CodecCheckpoint) -> None:
    """Refuse a language model that has not learnt the codec's streams and speakers."""
    streams, known = codec.config.streams, checkpoint.config.streams
    same_rate = math.isclose(streams.frames_per_second, known.frames_per_second)
    if streams.sizes != known.sizes or not same_rate:
        raise UserError(
            f"{codec.folder}: frames of {streams}; {checkpoint.folder} was trained on {known}: "
            "name the codec that made its tokens with --codec DIR"
        )
    channels = codec.config.speaker_channels
    if checkpoint.config.spk_aware and checkpoint.config.spk_emb_dim != channels:
        raise UserError(
            f"{codec.folder}: speaker embeddings of {channels} channels; {checkpoint.folder} "
            f"was trained with {checkpoint.config.spk_emb_dim} (spk_emb_dim)"
        )
