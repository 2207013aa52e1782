"""Pictures of evaluations, with matplotlib.

In: reports, matrices, points of a learning curve, audio. Out: PNG files. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from commands.extras import install_command
from evaluation.recognisers import SAMPLE_RATE_HZ
from evaluation.report import Report
from evaluation.speaker_matrix import SpeakerMatrix

DOTS_PER_INCH = 120
SPECTROGRAM_WINDOW, SPECTROGRAM_HOP = 512, 128  # samples
SPECTROGRAM_FLOOR_DB = -80.0


def plotting() -> ModuleType:
    """pyplot, drawing into files. Raises `UserError` without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise UserError(f"matplotlib is not installed; {install_command('evaluate')}") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot_reports(reports: Sequence[Report], path: Path) -> None:
    """Word error rates with their intervals, and DNSMOS, of all systems side by side."""
    pyplot = plotting()
    figure, (errors, quality) = pyplot.subplots(1, 2, figsize=(10, 1.2 + 0.5 * len(reports)))
    names = [report.name for report in reports]
    judges = list(reports[0].word_error_rate)
    height = 0.8 / max(len(judges), 1)
    for row, judge in enumerate(judges):
        offsets = [index + row * height for index in range(len(reports))]
        rates = np.array([100 * report.word_error_rate[judge] for report in reports])
        bounds = 100 * np.array([report.word_error_interval[judge] for report in reports]).T
        reach = np.abs(bounds - rates)
        errors.barh(offsets, rates, xerr=reach, height=height, label=judge, capsize=2)
    errors.set(xlabel="word error rate, %", yticks=range(len(reports)), yticklabels=names)
    if judges:
        errors.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(judges), frameon=False)
    quality.barh(names, [report.dnsmos["ovrl"] for report in reports])
    quality.set(xlabel="DNSMOS OVRL", xlim=(1, 4))
    for axes in (errors, quality):
        axes.invert_yaxis()
    save_figure(pyplot, figure, path)


def plot_matrix(matrix: SpeakerMatrix, path: Path) -> None:
    """The mean similarity of each voice to each speaker, and how often that speaker is nearest."""
    pyplot = plotting()
    size = (2.0 + 0.8 * len(matrix.speakers), 1.6 + 0.6 * len(matrix.voices))
    figure, axes = pyplot.subplots(figsize=size)
    values = np.array(matrix.similarity)
    image = axes.imshow(values, cmap="viridis", aspect="auto")
    axes.set(xlabel="recordings of", ylabel="asked for", title=matrix.engine)
    axes.set_xticks(range(len(matrix.speakers)), matrix.speakers)
    axes.set_yticks(range(len(matrix.voices)), matrix.voices)
    middle = (values.max() + values.min()) / 2
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}\n{100 * matrix.nearest[row][column]:.0f} %"
        color = "white" if value < middle else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    figure.colorbar(image, label="mean cosine")
    save_figure(pyplot, figure, path)


def plot_spectrogram(audio: NDArray[np.float32], caption: str, path: Path) -> None:
    """Level over time and frequency of audio float32 [n], with a caption above."""
    pyplot = plotting()
    figure, axes = pyplot.subplots(figsize=(8, 3))
    level_db = spectrogram_db(audio)
    axes.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=SPECTROGRAM_FLOOR_DB,
        vmax=0,
        extent=(0, len(audio) / SAMPLE_RATE_HZ, 0, SAMPLE_RATE_HZ / 2000),
    )
    axes.set(xlabel="s", ylabel="kHz")
    axes.set_title(caption, fontsize=8, loc="left", wrap=True)
    save_figure(pyplot, figure, path)


def spectrogram_db(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Magnitudes in dB below the loudest, float64 [frequencies, times]."""
    padded = np.pad(audio, SPECTROGRAM_WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, SPECTROGRAM_WINDOW)
    tapered = windows[::SPECTROGRAM_HOP] * np.hanning(SPECTROGRAM_WINDOW)
    magnitude = np.abs(np.fft.rfft(tapered, axis=-1)).T
    return np.asarray(20 * np.log10(np.maximum(magnitude / max(magnitude.max(), 1e-9), 1e-6)))


def plot_curves(
    curves: Mapping[str, Sequence[tuple[float, float, tuple[float, float]]]], path: Path
) -> None:
    """Word error rate against minutes of training; a point is (minutes, rate, its interval)."""
    pyplot = plotting()
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in curves.items():
        minutes = [point[0] for point in points]
        axes.plot(minutes, [100 * point[1] for point in points], marker="o", label=name)
        low, high = np.array([point[2] for point in points]).T * 100
        axes.fill_between(minutes, low, high, alpha=0.2)
    axes.set(xlabel="minutes of training", ylabel="word error rate, %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(pyplot, figure, path)


def save_figure(pyplot: ModuleType, figure: Any, path: Path) -> None:
    """Write a figure of `pyplot` and free its memory."""
    figure.tight_layout()
    figure.savefig(path, dpi=DOTS_PER_INCH)
    pyplot.close(figure)
