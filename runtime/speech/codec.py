"""The codec at run time: frames become audio in chunks, recordings become frames and a speaker.

In: frames int64 [T, K], a column for each of the codec's streams, and a speaker embedding float32
[speaker_channels]. Out: chunks of audio. It does not know text, language models or engines.

The decoder graph takes an utterance in chunks and keeps in its states what its layers need of
earlier chunks. So a chunk costs no more than its own frames, and the joined chunks equal the audio
of the whole utterance, without seams. Audio comes a fixed number of frames late.

An engine may decode in the background: then frames are added and chunks are started while earlier
chunks are still being decoded. Chunks come out in order, each when it is done.

A schedule with a look-ahead hastens the first chunk: it does not wait for all of the delay.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import CodecSpec
from runtime.engines.calls import HasteningGraph, Pending, open_calls, start_together
from runtime.engines.graph import Array, Graph
from runtime.speech.schedule import ChunkSchedule, least_work
from runtime.speech.spoken import Chunk

MAX_UNDER_WAY = 2  # chunks of one utterance that are decoded in the background at the same time


class CodecDecoder:
    """The decoder graph and what the manifest says about it."""

    def __init__(self, graph: Graph, spec: CodecSpec) -> None:
        self.graph = graph
        self.spec = spec

    def decode(self, frames: NDArray[Any], speaker: NDArray[Any]) -> NDArray[np.float32]:
        """Whole utterance: integers [T, K] -> float32 [T * hop_samples].

        Raises:
            UserError: frames or speaker of another shape, or codes out of range.
        """
        stream = DecoderStream(self, speaker, least_work(self.spec))
        stream.add(check_frames(frames, self.spec.streams))
        return np.concatenate([chunk.audio for chunk in (*stream.ready(), *stream.finish())])

    def check_schedule(self, schedule: ChunkSchedule) -> None:
        """Raises `UserError` for a look-ahead that this codec does not have, or its engine."""
        look_ahead, delay = schedule.look_ahead, self.spec.delay_frames
        if look_ahead is None:
            return
        if look_ahead > delay:
            raise UserError(
                f"a look-ahead of {look_ahead} frames: this codec's audio depends on {delay} later "
                f"frames; give 0 to {delay}, or no look-ahead for exact audio"
            )
        if not isinstance(self.graph, HasteningGraph):
            raise UserError(
                "this bundle's engine has no look-ahead: its first audio waits for all frames that "
                "it depends on; for the native engine, build a bundle with: python -m export.build "
                "--target native"
            )
        if (first := schedule.first_frames) + look_ahead > names.MAX_CALL_FRAMES:
            raise UserError(
                f"a first chunk of {first} frames is too long for a look-ahead of {look_ahead}: "
                f"together they may have {names.MAX_CALL_FRAMES}"
            )

    def start_due(self, streams: Sequence[DecoderStream]) -> None:
        """Start all chunks of several utterances that are due.

        Chunks of the same size are rows of one call. Each stream hands out its own with `ready`.
        """
        while due := [stream for stream in streams if stream.is_due()]:
            groups: defaultdict[tuple[int, ...], list[DecoderStream]] = defaultdict(list)
            for stream in due:
                groups[stream.call_sizes()].append(stream)
            for sizes, group in groups.items():
                start_chunks(group, sizes)


class DecoderStream:
    """One utterance: frames go in as they are generated, chunks come out as early as possible.

    sentence, sentences: as in `Chunk`. Raises `UserError` as `CodecDecoder.check_schedule` does.
    """

    def __init__(
        self,
        decoder: CodecDecoder,
        speaker: NDArray[Any],
        schedule: ChunkSchedule,
        sentence: int = 1,
        sentences: int = 1,
    ) -> None:
        decoder.check_schedule(schedule)
        self.spec = decoder.spec
        self._graph = decoder.graph
        self._look_ahead = schedule.look_ahead
        self.calls = open_calls(decoder.graph, schedule.look_ahead)
        self._speaker = check_speaker(speaker, self.spec.speaker_channels)[None]
        self._place = {"sentence": sentence, "sentences": sentences}
        self._utterance_frames = names.UNKNOWN_FRAMES
        self._past_frames = 0  # how many the graph has read
        self._frames = no_frames(self.spec)  # of chunks that were not started yet
        self._done = 0  # frames of chunks that were started
        self._under_way: deque[_StartedChunk] = deque()
        self._sizes = schedule.sizes()
        self._size = next(self._sizes)  # of the next chunk

    def add(self, frames: NDArray[np.int64]) -> None:
        """Append frames int64 [k, K]."""
        self._frames = np.concatenate([self._frames, frames])

    def is_due(self) -> bool:
        """Whether the next chunk can be started: all frames that it waits for are there."""
        return len(self._under_way) < MAX_UNDER_WAY and self._has_frames()

    def shorten(self, least: int) -> None:
        """Let the next chunk end with the frames that are there, if it gets `least` or more."""
        if least <= (there := len(self._frames) - self._later_frames()) < self._size:
            self._size = there

    def is_ready(self) -> bool:
        """Whether a chunk that was started is decoded."""
        return bool(self._under_way) and self._under_way[0].is_done()

    def ready(self) -> Iterator[Chunk]:
        """The chunks that are decoded. Starts those for which the frames are there."""
        while self._has_frames():
            yield from self._make_room()
            start_chunks([self], self.call_sizes())
            yield from self._fetch_done()
        yield from self._fetch_done()

    def finish(self, *, stopped: bool = True) -> Iterator[Chunk]:
        """The rest of the utterance, in at least one chunk. No frame is added afterwards.

        A short rest becomes a part of the chunk before it. If nothing is left, the last chunk is
        empty. stopped: whether the model ended the utterance; the last chunk says so.
        """
        if self._look_ahead is not None and not self._past_frames:  # all frames are there
            self._look_ahead, self.calls = None, open_calls(self._graph)
        self._utterance_frames = self._done + len(self._frames)
        is_last = False
        while not is_last:
            rest = len(self._frames)
            is_last = rest < 2 * self._size
            self._size = rest if is_last else self._size
            yield from self._make_room()
            start_chunks([self], self.call_sizes(), finished=stopped or not is_last)
            yield from self._fetch_done()
        while self._under_way:
            yield self._fetch()

    def call_sizes(self) -> tuple[int, ...]:
        """Frames of each call that the next chunk takes.

        The first audio of `early_frames` is not the chunk's.
        """
        left = self._size + self.early_frames() if self._size else 0
        whole, rest = divmod(left, names.MAX_CALL_FRAMES)
        return (names.MAX_CALL_FRAMES,) * whole + ((rest,) if rest else ())

    def next_inputs(self, count: int) -> dict[str, Array]:
        """Inputs of the call for the next `count` frames. Any codes may follow the last frame."""
        new = self._frames[self._past_frames - self._done :][:count]
        frames = np.zeros((1, count, len(self.spec.streams)), np.int64)
        frames[0, : len(new)] = new
        past, self._past_frames = self._past_frames, self._past_frames + count
        return {
            names.CODEC_FRAMES: frames,
            names.SPEAKER: self._speaker,
            names.PAST_FRAMES: np.array([past], np.int64),
            names.UTTERANCE_FRAMES: np.array([self._utterance_frames], np.int64),
        }

    def note_started(self, calls: list[Pending], early_frames: int, *, finished: bool) -> None:
        """Take note that the calls of the next chunk were started."""
        frames, self._frames = self._frames[: self._size], self._frames[self._size :]
        self._done += len(frames)
        self._size = next(self._sizes)
        early = early_frames * self.spec.hop_samples
        self._under_way.append(_StartedChunk(frames, calls, early, finished))

    def early_frames(self) -> int:
        """How many frames of the next calls' audio lie before the chunk: before the utterance, or
        in the hastened chunk before it."""
        return self._later_frames() - (self._past_frames - self._done)

    def _has_frames(self) -> bool:
        return len(self._frames) >= self._size + self._later_frames()

    def _later_frames(self) -> int:
        """For how many frames behind its own the next chunk waits."""
        if self._look_ahead is None or self._past_frames:
            return self.spec.delay_frames
        return self._look_ahead

    def _make_room(self) -> Iterator[Chunk]:
        """Wait for the oldest chunk if too many are under way."""
        if len(self._under_way) == MAX_UNDER_WAY:
            yield self._fetch()

    def _fetch_done(self) -> Iterator[Chunk]:
        while self._under_way and self._under_way[0].is_done():
            yield self._fetch()

    def _fetch(self) -> Chunk:
        """Wait for the oldest chunk."""
        pending = self._under_way.popleft()
        audio = pending.wait()
        return Chunk(
            audio, self.spec.sample_rate_hz, pending.frames, pending.finished, **self._place
        )


class _StartedChunk(NamedTuple):
    """A chunk under way: its frames, the calls that make its audio, and samples to drop first."""

    frames: NDArray[np.int64]
    calls: list[Pending]
    early_samples: int
    finished: bool

    def is_done(self) -> bool:
        return all(call.is_done() for call in self.calls)

    def wait(self) -> NDArray[np.float32]:
        audio = [call.result()[names.AUDIO][0] for call in self.calls]
        return np.concatenate([np.zeros(0, np.float32), *audio])[self.early_samples :]


def start_chunks(
    streams: Sequence[DecoderStream], sizes: tuple[int, ...], *, finished: bool = True
) -> None:
    """Start the next chunk of each stream. Each takes calls of these sizes."""
    hop = streams[0].spec.hop_samples
    early = [stream.early_frames() for stream in streams]
    calls: list[list[Pending]] = [[] for _ in streams]
    for count in sizes:
        dimensions = {names.FRAMES: count, names.SAMPLES: count * hop}
        inputs = [stream.next_inputs(count) for stream in streams]
        started = start_together([stream.calls for stream in streams], inputs, dimensions)
        for own, call in zip(calls, started, strict=True):
            own.append(call)
    for stream, own, frames in zip(streams, calls, early, strict=True):
        stream.note_started(own, frames, finished=finished)


class CodecEncoder:
    """The encoder graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def encode(self, audio: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """float32 [samples] at the codec's rate -> frames int64 [T, K], speaker float32
        [speaker_channels]."""
        outputs = self._graph.run({names.AUDIO: audio[None]})
        return outputs[names.CODEC_FRAMES][0], outputs[names.SPEAKER][0]


def no_frames(spec: CodecSpec) -> NDArray[np.int64]:
    """int64 [0, K]."""
    return np.zeros((0, len(spec.streams)), np.int64)


def check_frames(frames: NDArray[Any], streams: tuple[int, ...]) -> NDArray[np.int64]:
    """int64 [T, K] with codes that each stream has, or `UserError`."""
    frames = np.asarray(frames)
    if frames.ndim != 2 or frames.shape[1] != len(streams) or frames.dtype.kind not in "iu":
        raise UserError(
            f"frames are {frames.dtype} {list(frames.shape)}; give integers [T, {len(streams)}], "
            "a column for each stream"
        )
    for column, size in enumerate(streams):
        codes = frames[:, column]
        if codes.size and not (codes.min() >= 0 and codes.max() < size):
            raise UserError(f"frames hold codes outside 0 … {size - 1} in column {column}")
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
