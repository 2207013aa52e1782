"""Standard input, output and error that work however a command was started.

In: the streams that Python made. Out: streams that exist, accept every character, and outlive their
readers. A stream that was closed (`2>&-`) is opened on the null device: otherwise the next file
that is opened gets its number, and messages are written into that file. A reader of messages may
leave early, as `| head` does: later messages are lost, and the work goes on. It does not know what
is written.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


class ReaderLeft(Exception):
    """The reader of standard output has left, and the command has no other output."""


class ClosedStream(io.TextIOWrapper):
    """Replaces a standard stream that was closed when the command was started."""


class Outlet:
    """A stream for writing that outlives its reader: later writes are dropped.

    is_vital: other failures, such as a full disk, are raised; otherwise they are treated as if the
    reader had left.
    """

    def __init__(self, stream: TextIO, *, is_vital: bool) -> None:
        self._stream = stream
        self._is_vital = is_vital
        self.is_lost = False

    def write(self, text: str) -> int:
        with self._kept_up():
            self._stream.write(text)
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write to the underlying stream, unbuffered."""
        with self._kept_up():
            self._stream.flush()
            self._stream.buffer.write(data)
            self._stream.buffer.flush()

    def flush(self) -> None:
        with self._kept_up():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _kept_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _point_to_null(self._stream)
            if self._is_vital and not is_broken_pipe(error):
                raise
            self.is_lost = True


@contextmanager
def ready_streams() -> Iterator[None]:
    """Provide all three streams; at the end, restore the former ones."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin or _open_null(0, os.O_RDONLY)
    output, error = (
        stream or _open_null(number, os.O_WRONLY)
        for number, stream in ((1, sys.stdout), (2, sys.stderr))
    )
    for stream in (output, error):
        _take_every_character(stream)
    sys.stdout = cast(TextIO, Outlet(output, is_vital=True))
    sys.stderr = cast(TextIO, Outlet(error, is_vital=False))
    try:
        yield
    finally:
        with suppress(OSError):  # of a command that has already reported another end
            sys.stdout.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def write_bytes(data: bytes) -> None:
    """Write binary data to standard output, unbuffered; nothing if its reader has left."""
    if isinstance(sys.stdout, Outlet):
        sys.stdout.write_bytes(data)
    else:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def reader_has_left() -> bool:
    """Whether output was lost because the reader of standard output has left."""
    return isinstance(sys.stdout, Outlet) and sys.stdout.is_lost


def output_is_closed() -> bool:
    """Whether the command was started without standard output."""
    stream = sys.stdout._stream if isinstance(sys.stdout, Outlet) else sys.stdout
    return stream is None or isinstance(stream, ClosedStream)


def is_broken_pipe(error: OSError) -> bool:
    """Whether a write failed because the reader has left."""
    return isinstance(error, BrokenPipeError) or (
        sys.platform == "win32" and error.errno == errno.EINVAL  # the error of its C library
    )


def _open_null(number: int, flags: int) -> ClosedStream:
    """The null device, under the number of the closed stream if that is still free."""
    null = os.open(os.devnull, flags)
    try:
        os.fstat(number)
    except OSError:
        os.dup2(null, number)
        os.close(null)
        null = number
    if null == number:
        os.set_inheritable(number, True)  # child processes must not find it closed
    file = os.fdopen(null, "wb" if flags == os.O_WRONLY else "rb", closefd=False)
    return ClosedStream(file, encoding="utf-8")


def _take_every_character(stream: TextIO) -> None:
    """Write a question mark, not an error, for characters that the encoding lacks."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="replace")


def _point_to_null(stream: TextIO) -> None:
    """Send buffered output to the null device: Python flushes it at the end and would fail."""
    with suppress(OSError, ValueError):  # a test's stream has no number
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
