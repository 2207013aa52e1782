"""The codec at run time: frames become audio in chunks, recordings become frames and a speaker.

In: frames int64 [T, 3] and a speaker embedding float32 [speaker_channels]. Out: float32 audio.
It does not know text, language models or engines.

The decoder graph takes an utterance in chunks and keeps what its layers need of earlier ones in
its states, so a chunk costs its own frames and no more, and has no seam: joined, chunks are the
samples of the whole utterance. Its audio comes a fixed number of frames late.

An engine may decode in the background: then frames are added and chunks are started while earlier
chunks are still being decoded, and chunks come out in their order as they get done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import CodecSpec
from runtime.engines.graph import Array, Graph, Pending, open_calls

CODEBOOK_SIZE = 1024
MAX_CHUNK_FRAMES = 800  # 10 s at 80 frames/s
MAX_UNDER_WAY = 2  # chunks of one utterance that are being decoded in the background


@dataclass(frozen=True)
class ChunkSchedule:
    """How many frames each streamed chunk holds: few at first, to be heard soon, then more.

    Long chunks cost a little less in total. Neither frames nor samples depend on the schedule.
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


WHOLE_UTTERANCE = ChunkSchedule(160, 1.0, 160)  # longer chunks are no faster, but take memory


@dataclass(frozen=True)
class DecodedChunk:
    """frames int64 [k, 3] and their audio float32 [k * hop_samples]; is_last: none follows."""

    frames: NDArray[np.int64]
    audio: NDArray[np.float32]
    is_last: bool


class CodecDecoder:
    """The decoder graph and what the manifest says about it."""

    def __init__(self, graph: Graph, spec: CodecSpec) -> None:
        self.graph = graph
        self.spec = spec

    def decode(self, frames: NDArray[Any], speaker: NDArray[Any]) -> NDArray[np.float32]:
        """Whole utterance: integers [T, 3] -> float32 [T * hop_samples].

        Raises:
            UserError: frames or speaker of another shape, or codes out of range.
        """
        stream = DecoderStream(self, speaker, WHOLE_UTTERANCE)
        stream.add(check_frames(frames))
        return np.concatenate([chunk.audio for chunk in (*stream.ready(), *stream.finish())])


class DecoderStream:
    """One utterance: frames go in as they are generated, chunks come out as soon as they can."""

    def __init__(
        self, decoder: CodecDecoder, speaker: NDArray[Any], schedule: ChunkSchedule
    ) -> None:
        self._spec = decoder.spec
        self._calls = open_calls(decoder.graph)
        self._speaker = check_speaker(speaker, self._spec.speaker_channels)[None]
        self._utterance_frames = names.UNKNOWN_FRAMES
        self._past_frames = 0  # that the graph has been given
        self._frames = np.zeros((0, 3), np.int64)  # of chunks that have not been started
        self._done = 0  # frames of those that have
        self._under_way: deque[_Chunk] = deque()
        self._sizes = schedule.sizes()
        self._next_size = next(self._sizes)

    def add(self, frames: NDArray[np.int64]) -> None:
        """Append frames int64 [k, 3]."""
        self._frames = np.concatenate([self._frames, frames])

    def ready(self) -> Iterator[DecodedChunk]:
        """The chunks that later frames cannot change any more, as far as they are decoded."""
        while len(self._frames) >= self._next_size + self._spec.delay_frames:
            yield from self._start_next(self._next_size)
            yield from self._fetch_done()
        yield from self._fetch_done()

    def finish(self) -> Iterator[DecodedChunk]:
        """Everything that is left, in at least one chunk; no frame follows.

        A short rest joins the chunk before it. The chunk is empty if nothing is left.
        """
        self._utterance_frames = self._done + len(self._frames)
        is_last = False
        while not is_last:
            rest = len(self._frames)
            is_last = rest < 2 * self._next_size
            yield from self._start_next(rest if is_last else self._next_size, is_last)
            yield from self._fetch_done()
        while self._under_way:
            yield self._under_way.popleft().fetch()

    def _fetch_done(self) -> Iterator[DecodedChunk]:
        while self._under_way and self._under_way[0].is_done():
            yield self._under_way.popleft().fetch()

    def _start_next(self, size: int, is_last: bool = False) -> Iterator[DecodedChunk]:
        """Give the graph so many frames that the audio of `size` more comes out.

        Its first audio, of `delay_frames` frames, lies before the utterance. The oldest chunk comes
        out first if too many are under way.
        """
        if len(self._under_way) == MAX_UNDER_WAY:
            yield self._under_way.popleft().fetch()
        early = 0 if self._past_frames else self._spec.delay_frames
        calls, left = [], size + early if size else 0
        while left:
            count = min(left, names.MAX_CALL_FRAMES)
            calls.append(self._start_call(count))
            left -= count
        frames, self._frames = self._frames[:size], self._frames[size:]
        self._done += size
        self._next_size = next(self._sizes)
        self._under_way.append(_Chunk(frames, calls, early * self._spec.hop_samples, is_last))

    def _start_call(self, count: int) -> Pending:
        """Start the graph's next `count` frames. Behind the utterance's last, any will do."""
        new = self._frames[self._past_frames - self._done :][:count]
        frames = np.zeros((1, count, 3), np.int64)
        frames[0, : len(new)] = new
        inputs: dict[str, Array] = {
            names.CODEC_FRAMES: frames,
            names.SPEAKER: self._speaker,
            names.PAST_FRAMES: np.array([self._past_frames], np.int64),
            names.UTTERANCE_FRAMES: np.array([self._utterance_frames], np.int64),
        }
        self._past_frames += count
        sizes = {names.FRAMES: count, names.SAMPLES: count * self._spec.hop_samples}
        return self._calls.start(inputs, sizes)


class _Chunk(NamedTuple):
    """A chunk under way: its frames, the calls that bring its audio, and samples before it."""

    frames: NDArray[np.int64]
    calls: list[Pending]
    early_samples: int
    is_last: bool

    def is_done(self) -> bool:
        return all(call.is_done() for call in self.calls)

    def fetch(self) -> DecodedChunk:
        """Wait for the audio."""
        audio = [call.result()[names.AUDIO][0] for call in self.calls]
        whole = np.concatenate([np.zeros(0, np.float32), *audio])
        return DecodedChunk(self.frames, whole[self.early_samples :], self.is_last)


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
