"""Statistics of a recording's channels, collected block by block while it is read.

In: blocks float32 [samples, channels]. Out: whether the channels cancel each other when they are
averaged, which channel is the loudest, how much of the worst one is clipped, and how coarsely
samples were rounded. Memory does not grow with the recording.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANCELLED_SHARE = 0.05  # of the power of channels that are independent of each other
LEAST_CLIPPED_PEAK = 0.05  # quieter flat maxima come from rounding, not clipping
FLAT_SAMPLES = 3  # this many equal samples in a row at the loudest value are no coincidence
ROUNDING_STEPS = (2.0**-7, 2.0**-15)  # of 8 and 16 bits; finer ones do not matter


class ChannelMeter:
    """Add all blocks, then read the properties."""

    def __init__(self, channels: int) -> None:
        self._samples = 0
        self._mono_energy = 0.0
        self._energy = np.zeros(channels)
        self._extremes = np.zeros((2, channels), np.float32)  # highest, and minus the lowest
        self._reached = np.zeros((2, channels), np.int64)  # samples there
        self._flat = np.zeros((2, channels), np.int64)  # flat runs there
        self._steps = set(ROUNDING_STEPS)

    def add(self, block: NDArray[np.float32]) -> None:
        """float32 [samples, channels]."""
        self._samples += len(block)
        self._energy += np.square(block, dtype=np.float64).sum(axis=0)
        self._mono_energy += float(np.square(block.mean(axis=1), dtype=np.float64).sum())
        for side, signed in enumerate((block, -block)):
            self._add_extremes(side, signed)
        self._steps = {step for step in self._steps if _is_rounded(block, step)}

    def _add_extremes(self, side: int, block: NDArray[np.float32]) -> None:
        highest = block.max(axis=0, initial=-np.inf)
        reached = block == highest
        known = self._extremes[side]
        for counted, new in ((self._reached, reached.sum(axis=0)), (self._flat, _runs(reached))):
            before = np.where(highest > known, 0, counted[side])
            counted[side] = before + np.where(highest >= known, new, 0)
        self._extremes[side] = np.maximum(highest, known)

    @property
    def peak(self) -> float:
        return float(self._extremes.max())

    @property
    def loudest(self) -> int:
        """The channel of the largest power."""
        return int(self._energy.argmax())

    @property
    def cancels(self) -> bool:
        """Whether averaging the channels loses nearly all that is in them."""
        alone = float(self._energy.sum()) / len(self._energy) ** 2
        return len(self._energy) > 1 and self._mono_energy < CANCELLED_SHARE * alone

    @property
    def clipped_share(self) -> float:
        """The share of samples at the highest and lowest value, in the worst channel.

        A channel counts if it stays at such a value for a while.
        """
        clipped = (self._extremes >= LEAST_CLIPPED_PEAK) & (self._flat > 0)
        count = np.where(clipped, self._reached, 0).sum(axis=0)
        return float(count.max()) / max(self._samples, 1)

    @property
    def rounding_step(self) -> float:
        """The coarsest known step that all samples are multiples of; 0 if there is none."""
        return max(self._steps, default=0.0) if self.peak else 0.0


def _runs(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """bool [n, channels] -> places where a run of `FLAT_SAMPLES` begins, of each channel."""
    count = max(0, len(inside) - FLAT_SAMPLES + 1)
    begins = np.logical_and.reduce([inside[i : i + count] for i in range(FLAT_SAMPLES)])
    return begins.sum(axis=0)


def _is_rounded(block: NDArray[np.float32], step: float) -> bool:
    multiples = block / step
    return bool((multiples == np.rint(multiples)).all())
