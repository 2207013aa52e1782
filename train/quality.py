"""Filter recordings by DNSMOS (arXiv 2010.15258), a predicted mean opinion score from 1 to 5.

In: audio float32 [n] at 16 kHz. Out: a score. The model comes with the package speechmos.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from runtime.audio import SAMPLE_RATE_HZ
from runtime.errors import UserError


def make_dnsmos_filter(minimum: float) -> Callable[[np.ndarray], str | None]:
    """A function that says why audio is refused, or None. Raises `UserError` without speechmos."""
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise UserError(f"--min-dnsmos needs {error.name}: pip install speechmos") from None

    def refuse(audio: np.ndarray) -> str | None:
        loudest = max(1.0, float(np.abs(audio).max()))
        score = dnsmos.run(audio / loudest, sr=SAMPLE_RATE_HZ)["ovrl_mos"]
        return f"DNSMOS {score:.2f} is below {minimum:g}" if score < minimum else None

    return refuse
