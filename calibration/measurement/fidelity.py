"""How far a quantized model is from the float32 model, on the same inputs.

In: both models' results for the same utterances. Out, for scores: the mean KL divergence of the
distributions that codes are drawn from, and the share of steps with the same best code. Out, for
audio: the signal-to-noise ratio. It runs no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from commands.errors import UserError
from formats.weights import Array

SILENCE = 1e-12  # keeps a ratio finite


@dataclass(frozen=True)
class Fidelity:
    """A language model's distance. kl_divergence: nats a code, from the reference. agreement:
    share of equal best codes."""

    kl_divergence: float
    agreement: float

    @property
    def loss(self) -> float:
        return self.kl_divergence

    @property
    def reason(self) -> str:
        return f"alone it costs {self.kl_divergence:.3g} nats: over budget"

    def figures(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class AudioFidelity:
    """A codec's distance. snr_db: signal-to-noise ratio of the audio."""

    snr_db: float

    @property
    def loss(self) -> float:
        return -self.snr_db

    @property
    def reason(self) -> str:
        return f"alone it leaves {self.snr_db:.1f} dB: below --snr"

    def figures(self) -> dict[str, float]:
        return asdict(self)


def compare_scores(reference: Sequence[Array], scores: Sequence[Array]) -> Fidelity:
    """Compare scores of each utterance, both float32 (steps, codes of a step, entries)."""
    expected, actual = np.concatenate(reference), np.concatenate(scores)
    divergence = _divergence(_log_softmax(expected), _log_softmax(actual))
    agrees = expected.argmax(axis=-1) == actual.argmax(axis=-1)
    return Fidelity(float(divergence.mean()), float(agrees.mean()))


def compare_audio(reference: Sequence[Array], audio: Sequence[Array]) -> AudioFidelity:
    """Compare audio of each utterance, both float32 (samples). The ratio is 10 · log10 of the
    power of the reference over the power of the difference, of all utterances together.

    Raises:
        UserError: there is no audio.
    """
    if not sum(map(len, reference)):
        raise UserError("the held-out sentences have no speech at all; give other texts")
    signal, noise = np.concatenate(reference), np.concatenate(reference) - np.concatenate(audio)
    powers = [float(np.mean(np.square(x, dtype=np.float64))) + SILENCE for x in (signal, noise)]
    return AudioFidelity(float(10 * np.log10(powers[0] / powers[1])))


def _divergence(log_p: Array, log_q: Array) -> Array:
    """Sum of p · (log p - log q) over the last axis. Entries that cannot be drawn add nothing."""
    possible = np.isfinite(log_p)
    difference = np.where(possible, log_p, 0.0) - np.where(possible, log_q, 0.0)
    return np.asarray((np.exp(log_p) * difference).sum(axis=-1))


def _log_softmax(scores: Array) -> Array:
    shifted = scores.astype(np.float64) - scores.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
