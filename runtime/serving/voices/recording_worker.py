"""Decodes an uploaded recording, in a process of its own that may not use much.

In: the file on standard input; the codec's rate as argument. Out: on standard output float32
samples of the speech in it; on standard error a line of JSON, `{"error", "warnings"}`. Exit status
2: it is unfit. Decoders of sound files have had faults that a file can exploit; here such a file
ends a process that knows no key and no text.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path

MEMORY_BYTES = 2 * 1024**3
CPU_SECONDS = 30
FILE_BYTES = 64 * 1024**2


def limit_resources() -> None:
    """Bound memory, time and files of this process."""
    if sys.platform == "win32":  # it has no such limits; the parent's clock remains
        return
    import resource

    for what, bound in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (bound, bound))


def decode(content: bytes, rate_hz: int) -> tuple[bytes, list[str]]:
    """The speech of a recording as float32 bytes, and what makes it a worse voice."""
    from commands.errors import SpeechWarning, UserError
    from runtime.audio.conditioning import condition_speech
    from runtime.audio.sound import read_sound
    from runtime.serving.voices.packed_recordings import read_packed, reader_of

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SpeechWarning)
        path = Path(folder) / "recording"
        path.write_bytes(content)
        reader = reader_of(content)
        try:
            sound = read_packed(content, reader, str(path)) if reader else read_sound(path)
            speech = condition_speech(sound, rate_hz)
        except UserError as error:
            raise UserError(str(error).replace(str(path), "audio_sample")) from None
        notes = [str(each.message).replace(str(path), "audio_sample") for each in told]
    return speech.astype("<f4").tobytes(), notes


def main() -> int:
    """Decode standard input."""
    limit_resources()
    from commands.errors import UserError

    try:
        samples, notes = decode(sys.stdin.buffer.read(), int(sys.argv[1]))
    except UserError as error:
        print(json.dumps({"error": str(error), "warnings": []}), file=sys.stderr)
        return 2
    print(json.dumps({"error": None, "warnings": notes}), file=sys.stderr)
    sys.stdout.buffer.write(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
