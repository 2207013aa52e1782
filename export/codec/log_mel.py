"""Log-mel analysis as graph nodes: a convolution with a windowed Fourier basis.

In: audio (1, samples). Out: log-mel frames (1, T, bins), T = samples // hop. Only bins and
frequencies that the codec uses are computed. Window and mel basis come from the checkpoint.
"""

from __future__ import annotations

import numpy as np

from export.graph.model_graph import ModelGraph
from export.graph.writer import Value
from export.readers.codec_checkpoint import CodecCheckpoint
from formats.checkpoint.codec_config import CodecConfig
from formats.weights import Array, as_weight

LOG_FLOOR = 1e-5
POWER_FLOOR = 1e-9


def log_mel(graph: ModelGraph, codec: CodecCheckpoint, audio: Value) -> Value:
    """Log of mel magnitudes: reflection padding of (n_fft - hop) / 2, frames not centred."""
    op, config = graph.op, codec.config
    basis = used_basis(codec)  # (bins, F)
    fourier = fourier_basis(config, codec.vector("encoder.mel_transform.hann_window"), len(basis.T))
    margin = (config.mel.window_samples - config.hop_samples) // 2
    padded = op.Pad(audio, [0, margin, 0, margin], mode="reflect")
    spectrum = op.Conv(
        op.Unsqueeze(padded, [1, 2]),
        graph.weight(as_weight("encoder.mel_transform.fourier", fourier[:, None, None])),
        kernel_shape=[1, config.mel.window_samples],
        strides=[1, config.hop_samples],
    )  # (1, 2·F, 1, T)
    real, imaginary = op.Split(spectrum, num_outputs=2, axis=1, _outputs=2)
    power = op.Add(op.Mul(real, real), op.Mul(imaginary, imaginary))
    magnitude = op.Sqrt(op.Add(power, POWER_FLOOR))
    frames = op.Transpose(op.Squeeze(magnitude, [2]), perm=[0, 2, 1])  # (1, T, F)
    mel = graph.linear(frames, as_weight("encoder.mel_transform.used_basis", basis))
    return op.Log(op.Max(mel, LOG_FLOOR))


def used_basis(codec: CodecCheckpoint) -> Array:
    """Rows of the mel basis that are used, up to the last frequency that counts in them."""
    config = codec.config
    bins = config.mel.bins if config.content_encoder == "mel" else config.prosody_bins
    rows = codec.vector("encoder.mel_transform.mel_basis")[:bins]
    return rows[:, : 1 + int(np.flatnonzero(rows.any(axis=0))[-1])]


def fourier_basis(config: CodecConfig, window: Array, frequencies: int) -> Array:
    """Cosines, then sines, times the window: float32 (2·F, window_samples).

    The published window stands in the middle of n_fft samples. Here the basis starts with the
    window, which changes the phase only. The padding is shorter by the difference.
    """
    cycles = np.arange(frequencies)[:, None] * np.arange(len(window)) / config.mel.n_fft
    angles = 2 * np.pi * cycles
    basis = np.concatenate([np.cos(angles), np.sin(angles)]) * window.astype(np.float64)
    return basis.astype(np.float32)
