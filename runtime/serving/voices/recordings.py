"""Uploaded recordings become speech that a voice can be made of, by a child process.

In: the bytes of a sound file. Out: float32 samples at a codec's rate, and warnings. A file that
takes too long, or too much, is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError

WORKER = "runtime.serving.voices.recording_worker"
ROOT = Path(__file__).parents[3]
LIMIT_SECONDS = 30.0
UNFIT = 2  # exit status
# What a child needs of the environment; keys and tokens stay here.
KEPT = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def decode_recording(content: bytes, rate_hz: int) -> tuple[NDArray[np.float32], list[str]]:
    """The speech in a recording, float32 [samples] at `rate_hz`, and warnings.

    Raises:
        UserError: no recording, an unfit one, or one that is too costly to decode.
    """
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", WORKER, str(rate_hz)],
            input=content,
            capture_output=True,
            timeout=LIMIT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"audio_sample: could not be decoded in {LIMIT_SECONDS:g} s; give a shorter WAV"
        ) from None
    if done.returncode not in (0, UNFIT):
        raise UserError("audio_sample: decoding it took too much memory or time; give a WAV")
    told = json.loads(done.stderr.splitlines()[-1])
    if done.returncode == UNFIT:
        raise UserError(told["error"])
    return np.frombuffer(done.stdout, "<f4").astype(np.float32), told["warnings"]
