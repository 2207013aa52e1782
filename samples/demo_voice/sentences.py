"""Write the demo voice's text, one sentence a line: usage examples of WordNet, and spoken forms.

In: the `dict` folder of WordNet 3.0 (`data.noun`, `data.verb`, `data.adj`, `data.adv`).
Out: a UTF-8 text file: short sentences, then long ones, then very long ones that join several
short ones with "and" and similar words, then sentences with repeated words (repetitions.py), then
sentences with numbers and abbreviations (spoken_forms.py). Each kind is in a fixed random order, so
that its first N lines are a fair sample. It knows neither audio nor phonemes.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.options import add_count, add_limit
from commands.run import run_command
from formats.files.atomic import write_text
from samples.demo_voice.repetitions import add_repetitions
from samples.demo_voice.spoken_forms import write_spoken_forms

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
SHUFFLE_SEED = 0
JOINED_WORDS = (20, 36)  # a joined sentence ends when it reaches a length drawn from these
REPEATING_WORDS = (14, 32)  # the same for those with repetitions
_JOINTS = (", and ", ", but ", ", and then ", ", ", " and ", " because ", " when ", ", while ")
HOW_TO_GET_WORDNET = (
    "get it on Debian or Ubuntu with `apt-get download wordnet-base` and "
    "`dpkg -x wordnet-base_*.deb wordnet`, then name wordnet/usr/share/wordnet"
)

_QUOTED = re.compile(r'"([^"]+)"')
_PLAIN_SENTENCE = re.compile(r"[A-Za-z][A-Za-z' ,]+[a-z?!]")


def read_examples(dict_folder: Path) -> Iterator[str]:
    """Yield every quoted usage example of plain letters, as WordNet writes it."""
    for part in PARTS_OF_SPEECH:
        path = dict_folder / f"data.{part}"
        if not path.is_file():
            raise UserError(f"no WordNet file {path}; {HOW_TO_GET_WORDNET}")
        for line in path.read_text(encoding="utf-8", errors="ignore").splitlines():
            if line.startswith("  ") or "|" not in line:  # the licence, or an entry without gloss
                continue
            for example in _QUOTED.findall(line.split("|", 1)[1]):
                example = example.strip(" .;,")
                if _PLAIN_SENTENCE.fullmatch(example):
                    yield example


def select_sentences(examples: Iterable[str], min_words: int, max_words: int) -> list[str]:
    """Distinct examples of the given length, shuffled, each written as a sentence."""
    chosen = sorted({text for text in examples if min_words <= len(text.split()) <= max_words})
    random.Random(SHUFFLE_SEED).shuffle(chosen)
    return [write_as_sentence(text) for text in chosen]


def write_as_sentence(example: str) -> str:
    """Begin with a capital letter and end with a mark."""
    end = "" if example[-1] in "?!" else "."
    return example[0].upper() + example[1:] + end


def statements_of(sentences: Iterable[str]) -> list[str]:
    """The sentences that end with a full stop, without that stop."""
    return [text[:-1] for text in sentences if text.endswith(".")]


def join_sentences(
    statements: Iterable[str], count: int, length: tuple[int, int] = JOINED_WORDS
) -> list[str]:
    """`count` sentences of several statements in a row, or as many as the statements yield."""
    choice, remaining = random.Random(SHUFFLE_SEED), iter(statements)
    joined: list[str] = []
    while len(joined) < count:
        words, parts = choice.randint(*length), list[str]()
        while sum(len(part.split()) for part in parts) < words:
            statement = next(remaining, "")
            if not statement:
                return joined
            parts.append(statement)
        joined.append(join_statements(parts, choice))
    return joined


def join_statements(parts: Sequence[str], choice: random.Random) -> str:
    """One sentence of statements that have no full stops."""
    text = parts[0][0].upper() + parts[0][1:]
    for part in parts[1:]:
        text += choice.choice(_JOINTS) + begin_in_lower_case(part)
    return text + "."


def begin_in_lower_case(sentence: str) -> str:
    """Undo the capital letter of a first word that would not have one inside a sentence."""
    first = sentence.split()[0]
    keeps_capital = first == "I" or first.startswith("I'")
    return sentence if keeps_capital else sentence[0].lower() + sentence[1:]


def run(arguments: argparse.Namespace) -> None:
    """Write the sentences of all kinds."""
    examples = list(read_examples(arguments.dict_folder))
    short = select_sentences(examples, arguments.min_words, arguments.max_words)
    long = select_sentences(examples, arguments.max_words + 1, arguments.longest)
    statements = statements_of(short)
    joined = join_sentences(statements, arguments.joined)
    repeating = join_sentences(add_repetitions(statements), arguments.repetitions, REPEATING_WORDS)
    spoken_forms = write_spoken_forms(arguments.spoken_forms)
    kinds = (short, long, joined, repeating, spoken_forms)
    sentences = [text for kind in kinds for text in kind[: arguments.limit]]
    write_text(arguments.output, "".join(f"{text}\n" for text in sentences))
    print(f"{len(sentences)} sentences in {arguments.output}")


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_voice.sentences",
        "Write the demo voice's text, one sentence a line.",
        more=f"WordNet: {HOW_TO_GET_WORDNET}.",
    )
    parser.add_argument("dict_folder", type=Path, help="folder with WordNet's data.* files")
    parser.add_argument("output", type=Path, help="text file to write")
    add_count(parser, "--min-words", "words of the short sentences, at least", default=4)
    add_count(parser, "--max-words", "words of the short sentences, at most", default=10)
    add_count(parser, "--longest", "words of the long sentences, at most", default=24)
    add_count(parser, "--joined", "very long sentences to write", default=5500, least=0)
    add_count(parser, "--repetitions", "sentences with repetitions", default=1200, least=0)
    add_count(
        parser, "--spoken-forms", "sentences with numbers, abbreviations", default=3000, least=0
    )
    add_limit(parser, "sentences of each kind")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
