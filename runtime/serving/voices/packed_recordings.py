"""Recordings of phones and browsers, which libsndfile does not read: M4A, MP4, 3GP, WebM, AAC, AMR.

In: the bytes of such a file. Out: a `Sound`. FFmpeg's libraries decode it, by the one reader that
its first bytes ask for, and by few decoders. Readers of playlists, which open other files and
addresses, are never asked.
"""

from __future__ import annotations

import io
from typing import Any, cast

import numpy as np

from commands.errors import UserError
from runtime.audio.sound import MAX_CHANNELS, MAX_SECONDS, Sound, convert_sound

# Offset and bytes -> FFmpeg's name of the reader.
READERS = (
    (4, b"ftyp", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\xff\xf1", "aac"),
    (0, b"\xff\xf9", "aac"),
    (0, b"#!AMR", "amr"),
)
DECODERS = (  # what phones and browsers record with
    *("aac", "alac", "amrnb", "amrwb", "flac", "libopus", "mp3", "mp3float", "opus"),
    *("pcm_f32le", "pcm_s16be", "pcm_s16le", "vorbis"),
)
CONVERT = "record it again, or convert it to WAV"


def reader_of(content: bytes) -> str | None:
    """Who reads such a file; None: not FFmpeg."""
    fitting = (name for offset, found, name in READERS if content.startswith(found, offset))
    return next(fitting, None)


def read_packed(content: bytes, reader: str, where: str) -> Sound:
    """The sound in a file, as `read_sound` reads others. where: its name in messages.

    Raises:
        UserError: damaged, without sound, too short or too long.
    """
    import av  # of the extra `serve`

    try:
        options = {"codec_whitelist": ",".join(DECODERS)}
        with av.open(io.BytesIO(content), format=reader, options=options) as container:
            samples, rate_hz = _decode(container, where)
    except (av.FFmpegError, ValueError) as error:  # the latter if its rate or channels change
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{where}: is damaged ({reason}); {CONVERT}") from None
    return convert_sound(samples, rate_hz, where=where)


def _decode(container: Any, where: str) -> tuple[np.ndarray[Any, np.dtype[np.float32]], int]:
    """[samples, channels] and their rate, and little more than may be used."""
    import av

    stream = next(iter(container.streams.audio), None)
    codec = stream.codec_context if stream else None
    if codec is None or codec.name not in DECODERS or codec.channels > MAX_CHANNELS:
        found = f"{codec.name}, {codec.channels} channels" if codec else "none"
        raise UserError(f"{where}: holds no sound that can be read (found: {found}); {CONVERT}")
    codec.thread_count = 1
    resampler = cast(Any, av.AudioResampler(format="fltp"))
    parts, total, rate_hz = [], 0, codec.sample_rate
    for frame in container.decode(stream):
        for part in resampler.resample(frame):
            parts.append(part.to_ndarray())
            total, rate_hz = total + part.samples, part.sample_rate
        if total > MAX_SECONDS * rate_hz:
            break  # it will be refused
    if not parts:
        raise UserError(f"{where}: holds no sound; {CONVERT}")
    return np.concatenate(parts, axis=1).T, rate_hz
