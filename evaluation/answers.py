"""`python -m evaluation.answers`: does a bundle answer right, and does it say what it writes?

In: a bundle with its text head, and questions with their right answers, one JSON object a line:

    {"question": "What is the capital of France?", "answer": "The capital of France is Paris.",
     "kind": "capital", "voice": "heart"}

`kind` and `voice` may be left out. Out, in one folder: `answers.json` and `answers.md`, by kind, by
voice and in all. An answer is right if its text equals the right one, letter for letter; it is
spoken as written if Whisper (evaluation/recognisers.py) hears in it the words of the text that the
model wrote, all of them and no others, after normalisation. It knows bundles only through
`runtime.Chat`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.extras import install_command
from commands.run import run_cli
from formats.files.atomic import write_atomically
from formats.files.text_files import read_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hear = Callable[[NDArray[np.float32]], str]

DEFAULT_QUESTIONS = Path(__file__).parents[1] / "samples/demo_chat/test.jsonl"  # of a clone
ALL = "all"


@dataclass(frozen=True)
class Question:
    """What is asked, and the one right answer. `kind` groups questions in the report."""

    question: str
    answer: str
    kind: str = ""
    voice: str | None = None


@dataclass(frozen=True)
class Verdict:
    """One answer: `written` by the model, `heard` in its speech."""

    question: Question
    written: str
    heard: str
    is_right: bool
    is_spoken_as_written: bool
    word_error_rate: float  # of the speech against the text
    stopped: bool
    audio_seconds: float
    seconds: float


@dataclass(frozen=True)
class Figures:
    """Shares are fractions of the questions; the error rate is over all words."""

    questions: int
    right: float
    spoken_as_written: float
    word_error_rate: float
    stopped: float
    real_time_factor: float | None  # None if nothing was said


def read_questions(path: Path, limit: int | None = None) -> list[Question]:
    """The questions of a JSONL file. `UserError` names the line."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give --questions FILE, one JSON object a line")
    questions = []
    for number, line in read_lines(path):
        try:
            questions.append(_parse_question(json.loads(line)))
        except (ValueError, UserError) as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    if not questions:
        raise UserError(f"{path}: holds no questions")
    return questions[:limit]


def _parse_question(values: Any) -> Question:
    known = ("question", "answer", "kind", "voice")
    if not isinstance(values, dict) or not {"question", "answer"} <= values.keys():
        raise UserError("must be a JSON object with 'question' and 'answer'")
    for key, value in values.items():
        if key not in known or not isinstance(value, str):
            raise UserError(f"{key!r}: strings are known as {', '.join(known)}")
    return Question(**values)


def ask_all(engine: Path, questions: Sequence[Question], hear: Hear) -> Iterator[Verdict]:
    """Ask one question after the other, the n-th with seed n, at the bundle's default sampling."""
    from runtime import Chat
    from runtime.speech.sampling import seeded

    chat = Chat.load(engine)
    defaults = chat.bundle.manifest.sampling
    for seed, question in enumerate(questions):
        start = time.perf_counter()
        sampling = seeded(defaults, seed)
        answer = chat.answer(question.question, voice=question.voice, sampling=sampling)
        seconds = time.perf_counter() - start
        heard = hear(answer.audio) if len(answer.audio) else ""
        wrong = word_error_rate([answer.text], [heard])
        yield Verdict(
            question,
            answer.text,
            heard,
            is_right=answer.text == question.answer,
            is_spoken_as_written=wrong == 0.0,
            word_error_rate=wrong,
            stopped=answer.finished,
            audio_seconds=len(answer.audio) / answer.sample_rate,
            seconds=seconds,
        )


def word_error_rate(written: Sequence[str], heard: Sequence[str]) -> float:
    """Over all words after normalisation; a text without words cannot be spoken, so it counts
    as one wrong word."""
    from evaluation.recognisers import normalise
    from runtime.text.typed_text import has_words

    try:
        import jiwer
    except ImportError:
        raise UserError(f"jiwer is not installed; {install_command('evaluate')}") from None
    expected = [normalise(text) if has_words(text) else "nothing" for text in written]
    return float(jiwer.wer(expected, [normalise(text) for text in heard]))


def summarise(verdicts: Sequence[Verdict]) -> dict[str, Figures]:
    """Figures by kind, by voice and in all."""
    groups: dict[str, list[Verdict]] = {}
    for attribute in ("kind", "voice"):
        for verdict in verdicts:
            name = getattr(verdict.question, attribute)
            if name:
                groups.setdefault(name, []).append(verdict)
    return {name: _figures(group) for name, group in (groups | {ALL: [*verdicts]}).items()}


def _figures(verdicts: Sequence[Verdict]) -> Figures:
    audio_seconds = sum(verdict.audio_seconds for verdict in verdicts)
    return Figures(
        questions=len(verdicts),
        right=statistics.fmean(verdict.is_right for verdict in verdicts),
        spoken_as_written=statistics.fmean(v.is_spoken_as_written for v in verdicts),
        word_error_rate=word_error_rate(
            [verdict.written for verdict in verdicts], [verdict.heard for verdict in verdicts]
        ),
        stopped=statistics.fmean(verdict.stopped for verdict in verdicts),
        real_time_factor=sum(v.seconds for v in verdicts) / audio_seconds
        if audio_seconds
        else None,
    )


def format_table(report: dict[str, Figures]) -> str:
    """A Markdown table, one row a group."""
    rows = [["", "questions", "right text", "spoken as written", "WER", "stopped", "RTF"]]
    rows.append(["---"] * len(rows[0]))
    for name, figures in report.items():
        shares = (figures.right, figures.spoken_as_written, figures.word_error_rate)
        factor = figures.real_time_factor
        cells = [name, str(figures.questions), *(f"{share:.1%}" for share in shares)]
        cells += [f"{figures.stopped:.1%}", "–" if factor is None else f"{factor:.2f}"]
        rows.append(cells)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def write_report(folder: Path, report: dict[str, Figures], verdicts: Sequence[Verdict]) -> None:
    """`answers.json` with every answer, `answers.md` with the table."""
    content = {
        "figures": {name: asdict(figures) for name, figures in report.items()},
        "answers": [asdict(verdict) for verdict in verdicts],
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    write_atomically(folder / "answers.json", text.encode())
    write_atomically(folder / "answers.md", format_table(report).encode())


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m evaluation.answers",
        description=(__doc__ or "").splitlines()[0].split(": ", 1)[1],
    )
    parser.add_argument("--engine", type=Path, required=True, metavar="DIR", help="a bundle")
    parser.add_argument("--questions", type=Path, default=DEFAULT_QUESTIONS, metavar="FILE")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    parser.add_argument("--output", type=Path, default=Path("judged/chat"), metavar="DIR")
    return parser.parse_args(argv)


def evaluate(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    questions = read_questions(arguments.questions, arguments.limit)
    from evaluation.recognisers import WhisperTiny

    verdicts = []
    for verdict in ask_all(arguments.engine, questions, WhisperTiny().transcribe):
        verdicts.append(verdict)
        print(f"\r{len(verdicts)}/{len(questions)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    report = summarise(verdicts)
    write_report(arguments.output, report, verdicts)
    print(format_table(report), end="")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(evaluate, argv)


if __name__ == "__main__":
    sys.exit(main())
