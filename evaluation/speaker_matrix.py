"""Which voice was asked for, and which speaker it sounds like.

In: reports on one bundle in several voices, or on recordings of several speakers, judged against
known speakers. Out: a matrix with a row for each voice and a column for each speaker, and the share
of sentences in which the right speaker is the most similar.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from commands.errors import UserError
from commands.tables import markdown_table
from evaluation.report import Report, percent


@dataclass(frozen=True)
class SpeakerMatrix:
    """`similarity` and `nearest` are [voices][speakers]: the mean cosine, and the share of the
    voice's sentences that are nearest to the speaker."""

    engine: str
    voices: list[str]
    speakers: list[str]
    similarity: list[list[float]]
    nearest: list[list[float]]
    right_speaker_nearest: float  # share of all sentences


def make_matrix(engine: str, reports: Sequence[Report]) -> SpeakerMatrix:
    """The matrix of one bundle; each report is on one of its voices.

    Raises:
        UserError: a voice without recordings of a speaker of the same name.
    """
    speakers = sorted(reports[0].similarity)
    voices = [report.voice or "" for report in reports]
    nearest = [nearest_shares(report, speakers) for report in reports]
    check_voices(voices, speakers)
    right = [row[speakers.index(voice)] for voice, row in zip(voices, nearest, strict=True)]
    total = sum(report.sentences for report in reports)
    return SpeakerMatrix(
        engine=engine,
        voices=voices,
        speakers=speakers,
        similarity=[[report.similarity[name] for name in speakers] for report in reports],
        nearest=nearest,
        right_speaker_nearest=sum(
            share * report.sentences for share, report in zip(right, reports, strict=True)
        )
        / total,
    )


def check_voices(voices: Sequence[str], speakers: Sequence[str]) -> None:
    """Raise `UserError` for a voice that is not one of the speakers."""
    for voice in voices:
        if voice not in speakers:
            raise UserError(
                f"no reference recordings of the voice {voice!r}; "
                f"there are folders for {', '.join(speakers)}"
            )


def nearest_shares(report: Report, speakers: Sequence[str]) -> list[float]:
    """For each speaker, the share of the sentences that are nearest to it."""
    nearest = [
        max(verdict.similarity, key=lambda name: verdict.similarity[name])
        for verdict in report.verdicts
    ]
    return [statistics.fmean(found == speaker for found in nearest) for speaker in speakers]


def format_matrix(matrix: SpeakerMatrix) -> str:
    """Mean cosines as a Markdown table; the last column says how often the right one is nearest."""
    titles = [f"{matrix.engine}: voice", *matrix.speakers, "right one nearest"]
    rows = []
    for voice, row, shares in zip(matrix.voices, matrix.similarity, matrix.nearest, strict=True):
        right = percent(shares[matrix.speakers.index(voice)])
        rows.append([voice, *(f"{cosine:.2f}" for cosine in row), right])
    summary = f"The right speaker is the nearest in {percent(matrix.right_speaker_nearest)}.\n"
    return markdown_table(titles, rows) + "\n" + summary
