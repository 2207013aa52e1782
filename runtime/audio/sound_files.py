"""Explains files that cannot be read as recordings: what they are, and how to convert them.

In: the path of a file. Out: words for a message. It looks at the file's first bytes, never at its
name: recordings of phones and messengers come under any name.
"""

from __future__ import annotations

import shlex
import struct
from pathlib import Path

HEAD_BYTES = 4_096

# Offset and bytes -> a description of such a file. The first match counts.
UNREADABLE: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftypM4A", "an M4A file (AAC or ALAC)"),
    (4, b"ftypM4B", "an M4B audio book (AAC)"),
    (4, b"ftypqt", "a QuickTime film"),
    (4, b"ftyp3g", "a 3GP file, as phones write it"),
    (4, b"ftyp", "an MP4 file (AAC or other)"),
    (0, b"\x1a\x45\xdf\xa3", "a WebM or Matroska file"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a WMA or ASF file"),
    (0, b"#!AMR", "an AMR file, as phones write it"),
    (0, b"\x02#!SILK", "a SILK voice message"),
    (0, b"#!SILK", "a SILK voice message"),
    (0, b"wvpk", "a WavPack file"),
    (0, b"MAC ", "a Monkey's Audio file"),
    (0, b"TTA1", "a True Audio file"),
    (0, b"FLV", "a Flash film"),
    (8, b"AVI ", "an AVI film"),
    (0, b"ADIF", "an AAC file"),
    (0, b"\xff\xf1", "an AAC file"),
    (0, b"\xff\xf9", "an AAC file"),
)
DAMAGED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"caff", "a CAF file with a codec that is not supported"),
    (0, b"OggS", "an Ogg file that is damaged or holds no Vorbis, Opus or FLAC"),
    (0, b"fLaC", "a damaged FLAC file"),
    (0, b"ID3", "a damaged MP3 file"),
    (0, b"RIFF", "a WAV that is damaged or of a kind that is not supported"),
    (0, b"RIFX", "a WAV that is damaged or of a kind that is not supported"),
    (0, b"RF64", "a WAV that is damaged or of a kind that is not supported"),
    (0, b"FORM", "an AIFF file that is damaged or of a kind that is not supported"),
    (0, b".snd", "an AU file that is damaged or of a kind that is not supported"),
    (0, b"riff", "a W64 file that is damaged or of a kind that is not supported"),
)
ZIP = ((0, b"PK\x03\x04", "a ZIP archive; unpack it"),)
TORCH_RECORD = b"/data.pkl"  # the first in the archives that torch.save writes
NO_SOUND: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a pointer of Git LFS; fetch the file with `git lfs pull`"),
    *ZIP,
    (0, b"\x1f\x8b", "a gzip archive; unpack it"),
    (0, b"\x80\x02\x8a", "an old file of PyTorch, no recording"),
    (0, b"\x93NUMPY", "an array of NumPy; write a WAV of it"),
    (0, b"%PDF", "a PDF, no recording"),
    (0, b"\x89PNG", "a picture, no recording"),
    (0, b"\xff\xd8\xff", "a picture, no recording"),
    (0, b"GIF8", "a picture, no recording"),
    (0, b"MZ", "a program, no recording"),
    (0, b"\x7fELF", "a program, no recording"),
)


def explain_foreign(path: Path) -> str | None:
    """A description of a file that libsndfile cannot read, and what to do; None for other files."""
    head = _read_head(path)
    if _find(head, ZIP) and TORCH_RECORD in head:
        return "cannot be read: it is a file of PyTorch, no recording"
    if what := _find(head, NO_SOUND):
        return f"cannot be read: it is {what}"
    if what := _find(head, UNREADABLE):
        return f"cannot be read: it is {what}; convert it: {convert_command(path)}"
    if _is_text(head):
        return "cannot be read: it is text or a web page, as failed downloads are; get it again"
    return None


def explain_unreadable(path: Path, reason: str) -> str:
    """Why libsndfile cannot read `path`, and what to do. `reason`: as libsndfile gives it."""
    head = _read_head(path)
    if what := _find(head, DAMAGED):
        return f"cannot be read: it is {what}; convert it: {convert_command(path)}"
    if head[:1] == b"\xff":  # MP3 and similar formats begin like this
        return f"cannot be read ({reason.rstrip('.')}); convert it: {convert_command(path)}"
    return f"is no known kind of sound file ({reason.rstrip('.')}); perhaps {explain_raw(path)}"


def explain_raw(path: Path) -> str:
    """Says that the file is raw samples, and how to make a WAV of them."""
    return (
        "raw samples, which do not say their rate and format; write a WAV with yours, as with "
        f"{convert_command(path, 's16le', '16000')}"
    )


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _find(head: bytes, signatures: tuple[tuple[int, bytes, str], ...]) -> str | None:
    fitting = (what for offset, found, what in signatures if head.startswith(found, offset))
    return next(fitting, None)


def _is_text(head: bytes) -> bool:
    """Whether it is plain text: headers of sound files have zeros or other control characters."""
    lines = head.translate(None, b"\t\n\r")
    return (
        bool(lines.strip())
        and all(byte >= 0x20 and byte != 0x7F for byte in lines[:64])
        and (b"\0" not in head)
    )


def explain_no_samples(path: Path) -> str | None:
    """Why a WAV that libsndfile reads holds no samples, if its header is the reason."""
    head = _read_head(path)
    start = head.find(b"data")
    if head[:4] not in (b"RIFF", b"RF64") or start < 0 or len(head) < start + 8:
        return None
    (announced,) = struct.unpack_from("<I", head, start + 4)
    following = path.stat().st_size - start - 8
    if announced or following <= 0:
        return None
    return (
        f"its header says 0 bytes of audio, as programs that write into a pipe leave it, but "
        f"{following} follow; write it anew: {convert_command(path)}"
    )


def convert_command(path: Path, raw_format: str = "", raw_rate: str = "") -> str:
    """A shell command that makes a readable WAV; raw samples need format and rate."""
    target = path.with_name(f"{path.stem}-converted.wav")
    raw = ["-f", raw_format, "-ar", raw_rate, "-ac", "1"] if raw_format else []
    return shlex.join(["ffmpeg", *raw, "-i", str(path), "-ac", "1", str(target)])
