"""Sound formats, written while the samples come.

In: float32 samples of a codec, piece by piece. Out: bytes whose concatenation is one file: mp3,
opus in Ogg, aac, flac, wav or pcm. On the way the speed is changed with the pitch kept,
then the rate. It does not know where bytes go, so files and networks get the same ones.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio.sound import to_pcm16

Samples = NDArray[np.float32]
UNKNOWN_SIZE = 0xFFFFFFFF  # of a WAV whose end has not been made yet
HEADER_BYTES = 44
LEAST_TEMPO, MOST_TEMPO = 0.5, 2.0  # of one filter; beyond, several stand in a row
PAGE_MICROSECONDS = "20000"  # of Ogg; the default holds two seconds back


@dataclass(frozen=True)
class Format:
    """A format and what FFmpeg calls it. rates_hz: that it can have; empty: any.

    muxing, coding: FFmpeg's options that let the first bytes out at once.
    """

    content_type: str
    container: str = ""
    codec: str = ""
    rates_hz: tuple[int, ...] = ()
    bits_per_second: int | None = None
    muxing: dict[str, str] = field(default_factory=dict)
    coding: dict[str, str] = field(default_factory=dict)


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
FORMATS = {
    "mp3": Format(
        "audio/mpeg",
        *("mp3", "libmp3lame", _MPEG_RATES, 64_000),
        {"write_xing": "0", "id3v2_version": "0"},
        {"reservoir": "0"},
    ),
    "opus": Format(
        "audio/ogg",
        *("ogg", "libopus", (8000, 12000, 16000, 24000, 48000), 32_000),
        # bitexact: its stream's number is not drawn, so the same samples are the same bytes
        {"page_duration": PAGE_MICROSECONDS, "fflags": "+bitexact"},
    ),
    "aac": Format("audio/aac", "adts", "aac", _MPEG_RATES, 64_000),
    # blocks of 16 ms, not 72: they go out sooner, and LiveKit drops the first one
    "flac": Format("audio/flac", "flac", "flac", coding={"compression_level": "2"}),
    "wav": Format("audio/wav"),
    "pcm": Format("audio/pcm"),
}


class Encoder(Protocol):
    """Samples in, bytes out. `finish` is called once, after the last `feed`."""

    def feed(self, samples: Samples) -> bytes: ...

    def finish(self) -> bytes: ...


class SpeechEncoder:
    """Speed, rate and format of one speech. rate_hz: of what comes out."""

    def __init__(
        self, name: str, from_rate_hz: int, rate_hz: int | None = None, speed: float = 1.0
    ) -> None:
        """name: of `FORMATS`. rate_hz: None takes the one nearest to the codec's."""
        self.format = FORMATS[name]
        self.speed = speed
        self.rate_hz = rate_hz or native_rate(name, from_rate_hz)
        self._tempo = None if speed == 1.0 else _Tempo(from_rate_hz, speed)
        self._resampler = None
        if self.rate_hz != from_rate_hz:
            import soxr  # only where rates differ

            self._resampler = soxr.ResampleStream(from_rate_hz, self.rate_hz, 1, quality="HQ")
        self._writer = _writer(name, self.format, self.rate_hz)

    def feed(self, samples: Samples) -> bytes:
        """Bytes that can go out now; there may be none."""
        if not len(samples):
            return b""
        if self._tempo is not None:
            samples = self._tempo.feed(samples)
        return self._write(samples, last=False)

    def finish(self) -> bytes:
        """The rest of the file."""
        rest = np.zeros(0, np.float32) if self._tempo is None else self._tempo.finish()
        return self._write(rest, last=True) + self._writer.finish()

    def _write(self, samples: Samples, *, last: bool) -> bytes:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        return self._writer.feed(samples) if len(samples) else b""


def native_rate(name: str, rate_hz: int) -> int:
    """The rate that a format takes for a codec's: the same, or the next that is not lower."""
    rates = FORMATS[name].rates_hz
    if not rates or rate_hz in rates:
        return rate_hz
    return next((rate for rate in rates if rate > rate_hz), rates[-1])


def encode_whole(
    name: str,
    chunks: Iterable[Samples],
    from_rate_hz: int,
    rate_hz: int | None = None,
    speed: float = 1.0,
) -> bytes:
    """A file whose end is known: a WAV has its true sizes."""
    encoder = SpeechEncoder(name, from_rate_hz, rate_hz, speed)
    return with_sizes(name, b"".join(encode(encoder, chunks)))


def encode(encoder: Encoder, chunks: Iterable[Samples]) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    for samples in chunks:
        yield encoder.feed(samples)
    yield encoder.finish()


def with_sizes(name: str, content: bytes) -> bytes:
    """A finished file: sizes that could not be known when a WAV began are filled in."""
    if name != "wav":
        return content
    (rate_hz,) = struct.unpack_from("<I", content, 24)
    return wav_header(rate_hz, len(content) - HEADER_BYTES) + content[HEADER_BYTES:]


def wav_header(rate_hz: int, size_bytes: int | None = None) -> bytes:
    """Of 16-bit mono: exactly 44 bytes, because players cut off exactly so many. size_bytes: of the
    samples; None: they are still being made."""
    riff, data = UNKNOWN_SIZE, UNKNOWN_SIZE
    if size_bytes is not None:
        riff, data = size_bytes + HEADER_BYTES - 8, size_bytes
    layout = struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return b"".join(
        (b"RIFF", struct.pack("<I", riff), b"WAVEfmt ", layout, b"data", struct.pack("<I", data))
    )


def _writer(name: str, form: Format, rate_hz: int) -> Encoder:
    if form.codec:
        return _FFmpegWriter(form, rate_hz)
    return _PcmWriter(wav_header(rate_hz) if name == "wav" else b"")


class _PcmWriter:
    """Samples of 16 bits behind a header, which goes out with the first of them."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def feed(self, samples: Samples) -> bytes:
        header, self._header = self._header, b""
        return header + to_pcm16(samples)

    def finish(self) -> bytes:
        return self._header


class _Sink:
    """A file that cannot be sought in, so nothing is written behind the end."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, content: bytes) -> int:
        self._bytes += content
        return len(content)

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        content = bytes(self._bytes)
        self._bytes.clear()
        return content


class _FFmpegWriter:
    """A container and a codec of FFmpeg."""

    def __init__(self, form: Format, rate_hz: int) -> None:
        import av  # of the extra `serve`; wav and pcm do without

        self._av = av
        self._sink = _Sink()
        self._rate_hz, self._written = rate_hz, 0
        container = av.open(self._sink, "w", format=form.container, options=dict(form.muxing))
        self._container = cast(Any, container)  # its types do not know that streams are of audio
        stream = self._container.add_stream(
            form.codec, rate=rate_hz, layout="mono", options=dict(form.coding)
        )
        self._stream = cast(Any, stream)
        if form.bits_per_second:
            self._stream.bit_rate = form.bits_per_second

    def feed(self, samples: Samples) -> bytes:
        pcm = np.frombuffer(to_pcm16(samples), "<i2").reshape(1, -1)
        frame = self._av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.time_base = Fraction(1, self._rate_hz)
        frame.pts, self._written = self._written, self._written + pcm.shape[1]
        self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        if self._written:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


class _Tempo:
    """FFmpeg's filter for speed, which keeps the pitch."""

    def __init__(self, rate_hz: int, speed: float) -> None:
        import av

        self._av, self._rate_hz, self._read = av, rate_hz, 0
        self._graph = cast(Any, av.filter.Graph())
        last = self._source = self._graph.add_abuffer(
            sample_rate=rate_hz, format="flt", layout="mono", time_base=Fraction(1, rate_hz)
        )
        for tempo in _tempos(speed):
            step = self._graph.add("atempo", f"{tempo:.6f}")
            last.link_to(step)
            last = step
        self._end = cast(Any, self._graph.add("abuffersink"))
        last.link_to(self._end)
        self._graph.configure()

    def feed(self, samples: Samples) -> Samples:
        row = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = self._av.AudioFrame.from_ndarray(row, format="flt", layout="mono")
        frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
        frame.pts, self._read = self._read, self._read + row.shape[1]
        self._source.push(frame)
        return self._pull()

    def finish(self) -> Samples:
        self._source.push(None)
        return self._pull()

    def _pull(self) -> Samples:
        pieces = [np.zeros(0, np.float32)]
        while True:
            try:
                pieces.append(self._end.pull().to_ndarray().reshape(-1))
            except (self._av.BlockingIOError, self._av.EOFError):
                return np.concatenate(pieces)


def _tempos(speed: float) -> list[float]:
    """Equal steps whose product is `speed`, each within what one filter does well."""
    bound = LEAST_TEMPO if speed < 1 else MOST_TEMPO
    count = max(1, math.ceil(math.log(speed) / math.log(bound) - 1e-9))
    return [speed ** (1 / count)] * count
