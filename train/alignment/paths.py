"""Which frame speaks which symbol: monotonic paths, the diagonal, and how far two results differ.

In: how well each frame fits each symbol of its utterance, or only how loud the frames are. Out:
frames of each symbol: silence, the N characters of the text, silence. Each lasts at least one
frame. It knows neither audio nor files nor the model that scores frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from commands.tables import markdown_table

IMPOSSIBLE = -1e30  # a log-probability; finite, so that differences stay numbers
_QUIET_SHARE = 0.4  # of the way from the quietest to the loudest frame, in log energy
_CLICK_FRAMES = 2  # anything loud that is shorter is not speech
_LOG_DECAY = 1.0  # of the prior, for each frame by which silence and speech overlap


def find_durations(
    log_probs: np.ndarray, frames: Sequence[int], symbols: Sequence[int]
) -> list[np.ndarray]:
    """Frames of each symbol, int64 [symbols[b]], on the most probable path of each utterance.

    `log_probs` float [B, T, N]; utterance b has its first `frames[b]` rows and `symbols[b]`
    columns, not more columns than rows. A path begins at the first symbol, ends at the last and
    leaves none out. Viterbi's algorithm, over all utterances and symbols at once.
    """
    assert all(n <= t for t, n in zip(frames, symbols, strict=True)), "fewer frames than symbols"
    batch, steps, width = log_probs.shape
    best = np.full((batch, width + 1), IMPOSSIBLE)  # column 0 stands before the first symbol
    best[:, 0] = 0.0
    entered = np.empty((steps, batch, width), bool)
    for step in range(steps):
        entered[step] = best[:, :-1] > best[:, 1:]
        best[:, 1:] = np.maximum(best[:, :-1], best[:, 1:]) + log_probs[:, step]
        best[:, 0] = IMPOSSIBLE
    rows, lengths = np.arange(batch), np.asarray(frames)
    current = np.asarray(symbols) - 1
    durations = np.zeros((batch, width), np.int64)
    for step in range(steps - 1, -1, -1):
        inside = lengths > step
        durations[rows[inside], current[inside]] += 1
        current = current - (entered[step, rows, current] & inside)
    return [row[:count] for row, count in zip(durations, symbols, strict=True)]


def find_speech_range(loudness: np.ndarray, symbols: int) -> tuple[int, int]:
    """First frame of speech and the one after the last, by `loudness` (log energy) float [T].

    There is at least one frame before and after, and `symbols` - 2 frames within;
    `symbols` must not exceed T.
    """
    quietest = loudness.min()
    padded = np.pad(loudness, _CLICK_FRAMES, constant_values=quietest)
    lasting = np.median(sliding_window_view(padded, 2 * _CLICK_FRAMES + 1), axis=1)
    loud = np.flatnonzero(lasting >= quietest + _QUIET_SHARE * (lasting.max() - quietest))
    frames, least = len(loudness), symbols - 2
    first = min(max(int(loud[0]), 1), frames - 1 - least)
    return first, min(max(int(loud[-1]) + 1, first + least), frames - 1)


def spread_evenly(frames: int, symbols: int, speech: tuple[int, int]) -> np.ndarray:
    """Durations int64 [symbols] that run straight through `speech`: the diagonal."""
    ends = np.linspace(*speech, symbols - 1).round().astype(np.int64)
    return np.diff(np.concatenate([[0], ends, [frames]]))


def log_silence_prior(frames: int, symbols: int, speech: tuple[int, int]) -> np.ndarray:
    """Log-weight float32 [frames, symbols] that keeps the two silences out of `speech`, and all
    other symbols inside it. It is weaker near the ends of the speech."""
    first, last = speech
    time = np.arange(frames)
    prior = np.empty((frames, symbols), np.float32)
    prior[:, 1:-1] = (time - np.clip(time, first, last - 1))[:, None]
    prior[:, 0] = np.maximum(time - first + 1, 0)
    prior[:, -1] = np.maximum(last - time, 0)
    return -_LOG_DECAY * np.abs(prior)


def log_diagonal_prior(frames: int, symbols: int, speech: tuple[int, int]) -> np.ndarray:
    """Log-probability float32 [frames, symbols] that a frame of `speech` speaks a character.

    The beta-binomial prior of "One TTS Alignment To Rule Them All" (arXiv 2108.10447, section
    2.2, scale 1), but only over the speech. 0 for the silences.
    """
    first, last = speech
    within = np.clip(np.arange(frames), first, last - 1) - first
    prior = np.zeros((frames, symbols), np.float32)
    prior[:, 1:-1] = _log_beta_binomial(last - first, symbols - 2)[within]
    return prior


def _log_beta_binomial(frames: int, symbols: int) -> np.ndarray:
    """log BetaBinomial(k; n = symbols - 1, a = t, b = frames - t + 1), [frames, symbols], for
    t = 1 … frames. All arguments are whole, so gamma functions are factorials."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, frames + symbols + 1)))])
    n, k = symbols - 1, np.arange(symbols)
    a = np.arange(1, frames + 1)[:, None]
    b = frames + 1 - a
    choices = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    beta = log_factorial[k + a - 1] + log_factorial[n - k + b - 1] - log_factorial[n + frames]
    return choices + beta - log_factorial[a - 1] - log_factorial[b - 1] + log_factorial[frames]


@dataclass(frozen=True)
class BoundaryErrors:
    """How far found boundaries between symbols lie from the known ones.

    `lag_ms` is the median of found minus known: synthesizers may place their symbols a constant
    time after they are heard. `mean_ms` and the shares within 25 and 50 ms are those of absolute
    differences. The figures named `_without_lag` are those after the lag has been subtracted.
    """

    boundaries: int
    lag_ms: float
    mean_ms: float
    within_25: float
    within_50: float
    mean_ms_without_lag: float
    within_25_without_lag: float
    within_50_without_lag: float


def compare_durations(
    found: Sequence[np.ndarray], known: Sequence[Sequence[int]], frame_ms: float
) -> BoundaryErrors:
    """Over all boundaries of all utterances."""
    pairs = zip(found, known, strict=True)
    errors = frame_ms * np.concatenate([(np.cumsum(f) - np.cumsum(k))[:-1] for f, k in pairs])
    lag = float(np.median(errors))
    return BoundaryErrors(
        len(errors), lag, *_summarize(np.abs(errors)), *_summarize(np.abs(errors - lag))
    )


def _summarize(errors: np.ndarray) -> tuple[float, float, float]:
    return float(errors.mean()), float((errors <= 25).mean()), float((errors <= 50).mean())


def format_errors(found: Mapping[str, BoundaryErrors]) -> str:
    """A Markdown table with a row for each method."""
    titles = ["method", "boundaries", "mean error", "≤ 25 ms", "≤ 50 ms", "lag"]
    titles += ["mean without lag", "≤ 25 ms", "≤ 50 ms"]
    return markdown_table(titles, [_cells(method, errors) for method, errors in found.items()])


def _cells(method: str, errors: BoundaryErrors) -> list[str]:
    return [
        method,
        str(errors.boundaries),
        f"{errors.mean_ms:.1f} ms",
        f"{errors.within_25:.1%}",
        f"{errors.within_50:.1%}",
        f"{errors.lag_ms:+.1f} ms",
        f"{errors.mean_ms_without_lag:.1f} ms",
        f"{errors.within_25_without_lag:.1%}",
        f"{errors.within_50_without_lag:.1%}",
    ]
