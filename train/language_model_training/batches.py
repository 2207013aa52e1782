"""Which examples make up each batch: similar lengths, about the same number of positions.

In: the lengths of the examples and the range of each source. Out: lists of indices, which depend
only on the seed and the epoch, so a resumed run sees the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_LENGTH_JITTER = 0.1  # relative; mixes examples of similar length, differently in every epoch


@dataclass(frozen=True)
class SourceRange:
    """Examples `begin` to `end` (exclusive), a random `share` of which each epoch takes."""

    begin: int
    end: int
    share: float = 1.0

    @property
    def taken(self) -> int:
        """How many examples an epoch takes."""
        return max(1, round(self.share * (self.end - self.begin)))


class LengthSortedBatches:
    """A batch sampler for `torch.utils.data.DataLoader`.

    The number and sizes of the batches are the same in every epoch, which the Trainer needs. Their
    number is a multiple of `processes`, so each process gets the same number of them.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        sources: Sequence[SourceRange],
        positions: int,
        seed: int,
        processes: int = 1,
    ) -> None:
        self._lengths = np.asarray(lengths)
        self._sources = tuple(sources)
        self._seed = seed
        self._epoch = 0
        ordered = np.sort(self._lengths[self._take(np.random.default_rng([seed, 0]))])
        sizes = _batch_sizes(ordered, positions)
        self._sizes = sizes[: max(processes, len(sizes) // processes * processes)]

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self._seed, self._epoch])
        taken = self._take(random)
        jitter = random.uniform(1 - _LENGTH_JITTER, 1 + _LENGTH_JITTER, len(taken))
        ordered = taken[np.argsort(self._lengths[taken] * jitter, kind="stable")]
        ends = np.cumsum(self._sizes)
        for index in random.permutation(len(self._sizes)):
            yield ordered[ends[index] - self._sizes[index] : ends[index]].tolist()

    def _take(self, random: np.random.Generator) -> np.ndarray:
        chosen = [
            source.begin + random.permutation(source.end - source.begin)[: source.taken]
            for source in self._sources
        ]
        return np.concatenate(chosen)


def _batch_sizes(ordered: np.ndarray, positions: int) -> list[int]:
    """Cut ascending lengths into batches of at most `positions` padded positions each."""
    sizes, size = [], 0
    for length in ordered:
        if size and length * (size + 1) > positions:
            sizes.append(size)
            size = 0
        size += 1
    return [*sizes, size]
