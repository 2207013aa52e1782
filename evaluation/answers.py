"""`python -m evaluation.answers`: are a bundle's answers right, and spoken as they are written?

In: a bundle with a text head, and questions with their right answers, one JSON object a line:

    {"question": "What is the capital of France?", "answer": "The capital of France is Paris.",
     "kind": "capital", "voice": "heart"}

`kind` and `voice` may be left out. Out: `answers.json` and `answers.md` in one folder, with figures
by kind, by voice and in total. An answer is right if its text equals the right one, letter for
letter. It is spoken as written if Whisper (evaluation/recognisers.py) hears exactly the words that
the model wrote, after normalisation. Whisper's answers are kept in `judged.jsonl`. The command uses
bundles only through `runtime.Chat`.
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

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.extras import install_command
from commands.interruption import Interruption
from commands.options import add_engine, add_limit, add_max_minutes, add_output
from commands.progress import progress
from commands.run import run_command
from commands.tables import markdown_table
from evaluation.sentences import DEFAULT_QUESTIONS
from evaluation.speech import CACHE_FILE, stop_check
from formats.files.atomic import write_json, write_text
from formats.files.text_files import read_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hear = Callable[[NDArray[np.float32]], str]

ALL = "all"


@dataclass(frozen=True)
class Question:
    """A question and its one right answer. `kind` groups questions in the report."""

    question: str
    answer: str
    kind: str = ""
    voice: str | None = None


@dataclass(frozen=True)
class JudgedAnswer:
    """One answer: the text that the model wrote, and what was heard in its speech."""

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
    """Shares are fractions of the questions; the word error rate is over all words."""

    questions: int
    right: float
    spoken_as_written: float
    word_error_rate: float
    stopped: float
    real_time_factor: float | None  # None if nothing was said


def run(arguments: argparse.Namespace) -> None:
    """Ask all questions and write the report."""
    interruption = Interruption(arguments.max_minutes)
    questions = read_questions(arguments.questions, arguments.limit)
    answers, hear = [], open_ear(arguments.output)
    check = stop_check(interruption, arguments)
    with interruption, progress("ask", len(questions), to_stderr=True) as stage:
        for judged in stage.track(ask_all(arguments.engine, questions, hear)):
            answers.append(judged)
            check()
    report = summarise(answers)
    write_report(arguments.output, report, answers)
    print(format_figures(report), end="")


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


def ask_all(engine: Path, questions: Sequence[Question], hear: Hear) -> Iterator[JudgedAnswer]:
    """Ask the questions in turn, the n-th with seed n, at the bundle's default sampling."""
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
        yield JudgedAnswer(
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
    """Over all words after normalisation. A text without words cannot be spoken and counts as one
    wrong word."""
    from evaluation.recognisers import normalise
    from runtime.text.typed_text import has_words

    try:
        import jiwer
    except ImportError:
        raise UserError(f"jiwer is not installed; {install_command('evaluate')}") from None
    expected = [normalise(text) if has_words(text) else "nothing" for text in written]
    return float(jiwer.wer(expected, [normalise(text) for text in heard]))


def summarise(answers: Sequence[JudgedAnswer]) -> dict[str, Figures]:
    """Figures by kind, by voice and in total."""
    groups: dict[str, list[JudgedAnswer]] = {}
    for attribute in ("kind", "voice"):
        for judged in answers:
            name = getattr(judged.question, attribute)
            if name:
                groups.setdefault(name, []).append(judged)
    return {name: _figures(group) for name, group in (groups | {ALL: [*answers]}).items()}


def _figures(answers: Sequence[JudgedAnswer]) -> Figures:
    audio_seconds = sum(judged.audio_seconds for judged in answers)
    return Figures(
        questions=len(answers),
        right=statistics.fmean(judged.is_right for judged in answers),
        spoken_as_written=statistics.fmean(v.is_spoken_as_written for v in answers),
        word_error_rate=word_error_rate(
            [judged.written for judged in answers], [judged.heard for judged in answers]
        ),
        stopped=statistics.fmean(judged.stopped for judged in answers),
        real_time_factor=sum(v.seconds for v in answers) / audio_seconds if audio_seconds else None,
    )


def format_figures(report: dict[str, Figures]) -> str:
    """A Markdown table, one row for each group."""
    titles = ["", "questions", "right text", "spoken as written", "WER", "stopped", "RTF"]
    return markdown_table(titles, [_cells(name, figures) for name, figures in report.items()])


def _cells(name: str, figures: Figures) -> list[str]:
    shares = (figures.right, figures.spoken_as_written, figures.word_error_rate, figures.stopped)
    factor = figures.real_time_factor
    percentages = [f"{share:.1%}" for share in shares]
    return [name, str(figures.questions), *percentages, "–" if factor is None else f"{factor:.2f}"]


def write_report(folder: Path, report: dict[str, Figures], answers: Sequence[JudgedAnswer]) -> None:
    """`answers.json` with every answer, `answers.md` with the table."""
    content = {
        "figures": {name: asdict(figures) for name, figures in report.items()},
        "answers": [asdict(judged) for judged in answers],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "answers.json", content)
    write_text(folder / "answers.md", format_figures(report))


def open_ear(folder: Path) -> Hear:
    """Whisper; what it has heard is kept in `folder`."""
    from evaluation.judge_cache import JudgeCache
    from evaluation.recognisers import WhisperTiny

    folder.mkdir(parents=True, exist_ok=True)
    whisper, cache = WhisperTiny(), JudgeCache(folder / CACHE_FILE)
    judge = f"{whisper.name} ({whisper.version})"
    return lambda audio: str(cache.answer(judge, audio, whisper.transcribe))


def make_parser() -> CommandParser:
    parser = command_parser(
        "evaluation.answers", "Are a bundle's answers right, and spoken as they are written?"
    )
    add_engine(parser)
    parser.add_argument(
        "--questions",
        type=Path,
        default=DEFAULT_QUESTIONS,
        metavar="FILE",
        help="JSON lines (default: samples/demo_chat/test.jsonl of this clone)",
    )
    add_limit(parser, "questions")
    add_output(parser, "folder for the report", default="judged/chat")
    add_max_minutes(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
