"""What Ray's workers are told to do before they begin: take slow steps, or fail in the middle.

A test says when by writing files into the folder that `SLM_TEST_FAULTS` names: `seconds` holds the
length of a step, and while `broken` is there, the codec fails after as many chunks as it says.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "SLM_TEST_FAULTS"


def install() -> None:
    """Called in every worker."""
    from runtime.engines.rows import RowLoop, Step
    from runtime.speech.codec import DecoderStream

    folder = Path(os.environ[VARIABLE])
    step, next_inputs, made = RowLoop.step, DecoderStream.next_inputs, [0]

    def slow(loop: RowLoop) -> list[Step]:
        time.sleep(float((folder / "seconds").read_text()))
        return step(loop)

    def failing(stream: DecoderStream, count: int) -> Any:
        broken = folder / "broken"
        made[0] = made[0] + 1 if broken.exists() else 0
        if broken.exists() and made[0] > int(broken.read_text()):
            raise ValueError("no such codec")
        return next_inputs(stream, count)

    changed = {(RowLoop, "step"): slow, (DecoderStream, "next_inputs"): failing}
    for (owner, name), method in changed.items():
        setattr(owner, name, method)
