"""The codec at run time: frames become audio in chunks, recordings become frames and a speaker.

In: frames int64 [T, 3] and a speaker embedding float32 [speaker_channels]. Out: float32 audio.
It does not know text, language models or engines.

The decoder graph is stateless and purely convolutional. A chunk is decoded together with the
frames in its receptive field and cropped, which gives the very samples of the whole utterance:
the graph pads only where the utterance truly begins or ends.

An engine may decode in the background: then frames are added and chunks are started while earlier
chunks are still being decoded, and chunks come out in their order as they get done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import bundle as names
from runtime.bundle import CodecSpec
from runtime.errors import UserError
from runtime.sessions.graph import Array, Finished, Graph, Pending, start_call

CODEBOOK_SIZE = 1024
MAX_CHUNK_FRAMES = 800  # 10 s at 80 frames/s: bounds the memory of one decoder call
MAX_UNDER_WAY = 2  # chunks of one utterance that are being decoded in the background


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

    def start_window(
        self, frames: NDArray[np.int64], speaker: NDArray[np.float32], start: int, end: int
    ) -> Window:
        """Start decoding frames start … end-1.

        `frames` reaches at least the right context beyond `end`, or to the utterance's end.
        """
        if start == end:
            return Window(Finished({names.AUDIO: np.zeros((1, 0), np.float32)}), slice(0, 0))
        hop = self.spec.hop_samples
        low = max(0, start - self.spec.left_context_frames)
        high = min(len(frames), end + self.spec.right_context_frames)
        inputs: dict[str, Array] = {
            names.CODEC_FRAMES: frames[None, low:high],
            names.SPEAKER: speaker[None],
        }
        wanted = slice((start - low) * hop, (end - low) * hop)
        return Window(start_call(self._graph, inputs), wanted)


@dataclass(frozen=True)
class Window:
    """A decoder call under way, and which of its samples are wanted."""

    call: Pending
    wanted: slice

    def is_done(self) -> bool:
        return self.call.is_done()

    def audio(self) -> NDArray[np.float32]:
        """Wait; float32 [samples]. To be asked for once."""
        audio: NDArray[np.float32] = self.call.result()[names.AUDIO][0, self.wanted]
        return audio


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
        self._under_way: deque[tuple[NDArray[np.int64], Window, bool]] = deque()

    def add(self, frames: NDArray[np.int64]) -> None:
        """Append frames int64 [k, 3]."""
        self._frames = np.concatenate([self._frames, frames])

    def ready(self) -> Iterator[DecodedChunk]:
        """The chunks that later frames cannot change any more, as far as they are decoded."""
        right = self._decoder.spec.right_context_frames
        while len(self._frames) - self._done >= self._next_size + right:
            yield from self._start_next(self._next_size)
            yield from self._fetch_done()
        yield from self._fetch_done()

    def finish(self) -> Iterator[DecodedChunk]:
        """Everything that is left, in at least one chunk; no frame follows.

        A short rest joins the chunk before it. The chunk is empty if nothing is left.
        """
        is_last = False
        while not is_last:
            rest = len(self._frames) - self._done
            is_last = rest < 2 * self._next_size
            yield from self._start_next(rest if is_last else self._next_size, is_last)
            yield from self._fetch_done()
        while self._under_way:
            yield self._fetch()

    def _start_next(self, size: int, is_last: bool = False) -> Iterator[DecodedChunk]:
        """Start a chunk. The oldest comes out first if too many are under way."""
        if len(self._under_way) == MAX_UNDER_WAY:
            yield self._fetch()
        start, self._done = self._done, self._done + size
        self._next_size = next(self._sizes)
        window = self._decoder.start_window(self._frames, self._speaker, start, self._done)
        self._under_way.append((self._frames[start : self._done], window, is_last))

    def _fetch_done(self) -> Iterator[DecodedChunk]:
        while self._under_way and self._under_way[0][1].is_done():
            yield self._fetch()

    def _fetch(self) -> DecodedChunk:
        frames, window, is_last = self._under_way.popleft()
        return DecodedChunk(frames, window.audio(), is_last)


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
