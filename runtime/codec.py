"""The codec at run time: frames become audio in chunks, recordings become frames and a speaker.

In: frames int64 [T, 3] and a speaker embedding float32 [speaker_channels]. Out: float32 audio.
It does not know text, language models or engines.

The decoder graph is stateless and purely convolutional. A chunk is decoded together with the
frames in its receptive field and cropped, which gives the very samples of the whole utterance:
the graph pads only where the utterance truly begins or ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import bundle as names
from runtime.bundle import CodecSpec
from runtime.errors import UserError
from runtime.sessions.graph import Graph

CODEBOOK_SIZE = 1024
MAX_CHUNK_FRAMES = 800  # 10 s at 80 frames/s: bounds the memory of one decoder call


@dataclass(frozen=True)
class ChunkSchedule:
    """How many frames each streamed chunk holds: few at first, to be heard soon, then more.

    Every chunk also pays for the decoder's receptive field, so long chunks cost less in total.
    The frames themselves do not depend on the schedule.
    """

    first_frames: int = 10
    growth: float = 2.0
    max_frames: int = 160

    def __post_init__(self) -> None:
        if not 1 <= self.first_frames <= self.max_frames <= MAX_CHUNK_FRAMES:
            raise UserError(
                f"a chunk schedule needs 1 <= first_frames <= max_frames <= {MAX_CHUNK_FRAMES}, "
                f"not {self.first_frames} and {self.max_frames}"
            )
        if not 1.0 <= self.growth <= MAX_CHUNK_FRAMES:
            raise UserError(f"a chunk schedule's growth is {self.growth:g}; it must be 1 or more")

    def sizes(self) -> Iterator[int]:
        """Frames of the first chunk, the second, and so on without end."""
        size = float(self.first_frames)
        while True:
            yield int(size)
            size = min(size * self.growth, float(self.max_frames))


WHOLE_UTTERANCE = ChunkSchedule(MAX_CHUNK_FRAMES, 1.0, MAX_CHUNK_FRAMES)


@dataclass(frozen=True)
class DecodedChunk:
    """frames int64 [k, 3] and their audio float32 [k * hop_samples]; is_last: none follows."""

    frames: NDArray[np.int64]
    audio: NDArray[np.float32]
    is_last: bool


class CodecDecoder:
    """The decoder graph, called on windows of frames."""

    def __init__(self, graph: Graph, spec: CodecSpec) -> None:
        self._graph = graph
        self.spec = spec

    def decode(self, frames: NDArray[Any], speaker: NDArray[Any]) -> NDArray[np.float32]:
        """Whole utterance: integers [T, 3] -> float32 [T * hop_samples].

        Raises:
            UserError: frames or speaker of another shape, or codes out of range.
        """
        stream = DecoderStream(self, speaker, WHOLE_UTTERANCE)
        stream.add(check_frames(frames))
        return np.concatenate([chunk.audio for chunk in (*stream.ready(), *stream.finish())])

    def decode_window(
        self, frames: NDArray[np.int64], speaker: NDArray[np.float32], start: int, end: int
    ) -> NDArray[np.float32]:
        """Audio of frames start … end-1, float32 [(end - start) * hop_samples].

        `frames` reaches at least the right context beyond `end`, or to the utterance's end.
        """
        if start == end:
            return np.zeros(0, np.float32)
        hop = self.spec.hop_samples
        low = max(0, start - self.spec.left_context_frames)
        high = min(len(frames), end + self.spec.right_context_frames)
        outputs = self._graph.run(
            {names.CODEC_FRAMES: frames[None, low:high], names.SPEAKER: speaker[None]}
        )
        return outputs[names.AUDIO][0, (start - low) * hop : (end - low) * hop]


class DecoderStream:
    """Frames go in as they are generated, chunks come out as soon as their context is there."""

    def __init__(
        self, decoder: CodecDecoder, speaker: NDArray[Any], schedule: ChunkSchedule
    ) -> None:
        self._decoder = decoder
        self._speaker = check_speaker(speaker, decoder.spec.speaker_channels)
        self._frames = np.zeros((0, 3), np.int64)
        self._done = 0
        self._sizes = schedule.sizes()
        self._next_size = next(self._sizes)

    def add(self, frames: NDArray[np.int64]) -> None:
        """Append frames int64 [k, 3]."""
        self._frames = np.concatenate([self._frames, frames])

    def ready(self) -> Iterator[DecodedChunk]:
        """The chunks that later frames cannot change any more."""
        right = self._decoder.spec.right_context_frames
        while len(self._frames) - self._done >= self._next_size + right:
            yield self._decode_next(self._next_size)

    def finish(self) -> Iterator[DecodedChunk]:
        """Everything that is left, in at least one chunk; no frame follows.

        A short rest joins the chunk before it. The chunk is empty if nothing is left.
        """
        is_last = False
        while not is_last:
            rest = len(self._frames) - self._done
            is_last = rest < 2 * self._next_size
            yield self._decode_next(rest if is_last else self._next_size, is_last)

    def _decode_next(self, size: int, is_last: bool = False) -> DecodedChunk:
        start, self._done = self._done, self._done + size
        self._next_size = next(self._sizes)
        audio = self._decoder.decode_window(self._frames, self._speaker, start, self._done)
        return DecodedChunk(self._frames[start : self._done], audio, is_last)


class CodecEncoder:
    """The encoder graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def encode(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """float32 [samples] at the codec's rate -> frames int64 [T, 3], speaker float32 [256]."""
        outputs = self._graph.run({names.AUDIO: audio[None]})
        return outputs[names.CODEC_FRAMES][0], outputs[names.SPEAKER][0]


def check_frames(frames: NDArray[Any]) -> NDArray[np.int64]:
    """int64 [T, 3] with codes of the codebooks, or `UserError`."""
    frames = np.asarray(frames)
    if frames.ndim != 2 or frames.shape[1] != 3 or frames.dtype.kind not in "iu":
        raise UserError(
            f"frames are {frames.dtype} {list(frames.shape)}; give integers [T, 3] (a, b, c)"
        )
    if frames.size and not (frames.min() >= 0 and frames.max() < CODEBOOK_SIZE):
        raise UserError(f"frames hold codes outside 0 … {CODEBOOK_SIZE - 1}")
    return frames.astype(np.int64)


def check_speaker(speaker: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """float32 [channels], finite, or `UserError`."""
    speaker = np.asarray(speaker)
    if speaker.shape != (channels,) or speaker.dtype.kind != "f":
        raise UserError(
            f"the speaker embedding is {speaker.dtype} {list(speaker.shape)}; "
            f"give floats [{channels}]"
        )
    if not np.isfinite(speaker).all():
        raise UserError("the speaker embedding holds NaN or infinite values; make it again")
    return np.ascontiguousarray(speaker, np.float32)
