"""Recordings to frames: the codec over batches of equal length, silence trimmed.

In: a codec, recordings. Out: for each recording its frames, its speaker embedding and the duration
of each symbol of its text, or the reason why it was left out. Frames come from the unchanged
recording. The speaker embedding comes only from its speech, at a fixed loudness, as at run time.
Recordings of equal length are encoded together, so nothing is padded and tokens do not depend on
the batch. This module does not know the files that tokens are written to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig
from runtime.audio.conditioning import condition_if_spoken
from runtime.audio.sound import Sound, read_sound
from train.codec_model.facodec import FACodec
from train.data.recordings import Recording
from train.data.silence import find_speech

_LARGEST_BATCH_SECONDS = 120


@dataclass(frozen=True)
class TokenizedRecording:
    """`frames` int64 [T, K], `speaker` float32 [C]; `symbol_frames` add up to T."""

    recording: Recording
    frames: np.ndarray
    speaker: np.ndarray
    symbol_frames: tuple[int, ...] | None


@dataclass(frozen=True)
class Limits:
    """Which recordings are kept. `refuse` says why a recording is left out, or None."""

    min_seconds: float = 0.3
    max_seconds: float = 30.0
    trim_silence: bool = True
    refuse: Callable[[Sound], str | None] | None = None


@dataclass(frozen=True)
class _Read:
    """`audio` float32 [T * hop] gives the frames, `speech` float32 [n] the speaker."""

    recording: Recording
    audio: np.ndarray
    speech: np.ndarray


def tokenize_recordings(
    codec: FACodec,
    recordings: Sequence[Recording],
    limits: Limits,
    left_out: Callable[[Recording, str], None],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[TokenizedRecording]:
    """Yield the usable recordings, in no particular order, until `stop` returns true."""
    groups: dict[int, list[_Read]] = defaultdict(list)
    for recording in recordings:
        if stop():
            return
        try:
            read = _read_whole_frames(recording, codec.config, limits)
        except (UserError, OSError) as error:
            left_out(recording, str(error))
            continue
        groups[len(read.audio)].append(read)
    for samples, group in sorted(groups.items()):
        batch = max(1, _LARGEST_BATCH_SECONDS * codec.config.sample_rate_hz // samples)
        for first in range(0, len(group), batch):
            if stop():
                return
            yield from _tokenize_batch(codec, group[first : first + batch], limits)


def _read_whole_frames(recording: Recording, codec: CodecConfig, limits: Limits) -> _Read:
    """The audio. Raises `UserError` if the recording cannot be used."""
    rate_hz, hop = codec.sample_rate_hz, codec.hop_samples
    sound = read_sound(recording.path, limits.max_seconds, limits.min_seconds)
    audio = sound.at_rate(rate_hz)
    audio = audio[: len(audio) // hop * hop]
    if not audio.any():
        raise UserError("is silent, except for its last samples")
    counted = sum(recording.symbol_frames or ())
    if recording.symbol_frames is not None and counted != len(audio) // hop:
        raise UserError(
            f"'symbol_frames' add up to {counted}, the audio has {len(audio) // hop} frames"
        )
    reason = limits.refuse(sound) if limits.refuse else None
    if reason:
        raise UserError(reason)
    return _Read(recording, audio, condition_if_spoken(sound, rate_hz))


def _tokenize_batch(
    codec: FACodec, batch: Sequence[_Read], limits: Limits
) -> Iterator[TokenizedRecording]:
    frames = _encode(codec, [read.audio for read in batch])[0]
    speakers = _encode_speakers(codec, [read.speech for read in batch])
    for row, read in enumerate(batch):
        first, last = 0, len(frames[row])
        if limits.trim_silence:
            config = codec.config
            first, last = find_speech(read.audio, config.hop_samples, config.sample_rate_hz)
        counts = read.recording.symbol_frames
        yield TokenizedRecording(
            read.recording,
            frames[row, first:last],
            speakers[row],
            None if counts is None else trim_counts(counts, first, last),
        )


def _encode_speakers(codec: FACodec, speeches: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """The speaker float32 [C] of each speech by its place; equal lengths are encoded together."""
    places: dict[int, list[int]] = defaultdict(list)
    for place, speech in enumerate(speeches):
        places[len(speech)].append(place)
    speakers: dict[int, np.ndarray] = {}
    for equal in places.values():
        found = _encode(codec, [speeches[place] for place in equal])[1]
        speakers.update(zip(equal, found, strict=True))
    return speakers


@torch.no_grad()
def _encode(codec: FACodec, audio: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Audio of equal length -> frames int64 [B, T, K], speakers float32 [B, C]."""
    device = next(codec.parameters()).device
    frames, speakers = codec.encode(torch.from_numpy(np.stack(audio)).to(device))
    return frames.cpu().numpy(), speakers.cpu().numpy()


def trim_counts(counts: Sequence[int], first: int, last: int) -> tuple[int, ...]:
    """Frames per symbol within frames `first` … `last` - 1; as many counts as before."""
    ends = np.cumsum(counts)
    clipped = np.clip(np.concatenate([[0], ends]), first, last)
    return tuple(np.diff(clipped).tolist())
