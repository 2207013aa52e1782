"""Write texts of a few words, which WordNet's sentences lack: words, greetings, counting, lists.

In: the `dict` folder of WordNet 3.0 (sentences.py). Out: a UTF-8 text file, one text a line, in a
fixed random order. They are distinct, the same for the same count, and not among the texts of
samples/evaluation. A model that has heard only sentences goes on talking after "Hi.", and skips
words in sequences such as "four, five, six".
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.options import add_count
from commands.run import run_command
from formats.files.atomic import write_text
from samples.demo_voice.sentences import HOW_TO_GET_WORDNET, read_examples

SEED = 11
DEFAULT_COUNT = 6000
JUDGED = Path(__file__).parents[1] / "evaluation" / "first.txt"
LEAST_OCCURRENCES = 3  # in the examples, of a word that becomes a text
SHORT_PHRASE_WORDS = (2, 3)

_ENDS = "....!?"  # marks at the end, as often as they are to appear
_WORD = re.compile(r"[A-Za-z][a-z']+")
_GREETINGS = (
    "Hi; Hello; Hey; Good morning; Good evening; Good night; Good afternoon; Hello there; "
    "Hi there; Welcome; Welcome back; Goodbye; Bye; See you; See you soon; "
    "Thank you; Thanks; Thanks a lot"
)
_INTERJECTIONS = (
    "Yes; No; Oh; Ah; Wow; Oops; Ouch; Okay; Well; Maybe; Please; Sorry; Stop; Wait; Help; Look; "
    "Listen; Really; Never; Always; Sure; Right; Wrong; Great; Fine; Perfect; Exactly; Of course; "
    "Not yet; No way; Come on; Come in; Go on; Go away; Let's go; Not at all; Why not; What; Who; "
    "When; Where; How; Which one; Me too; I see; I know; That's it; Hurry up; Well done; Hooray; "
    "Congratulations; Happy birthday; Good luck; Cheers; Excuse me; Never mind; My goodness; Hush"
)
_NAMES = (
    "Anna; Tom; Maria; Peter; Lucy; Sam; Emma; David; Sarah; Paul; Julia; Mark; my friend; sir; "
    "madam; everyone; my dear; children; ladies and gentlemen"
)
_QUESTIONS = (
    "how are you; how are you today; how are you doing; what is your name; where are you; "
    "how is it going; what time is it; are you ready; can you hear me; who is there; "
    "what can I do for you; how was your day; did you sleep well; where have you been; "
    "may I come in; is everything all right; what happened; do you know the way"
)
_STATEMENTS = (
    "I am fine; it is late; nice to meet you; here you are; I am here; it is me; I am sorry; "
    "that is all; we are ready; it is over; dinner is ready; I don't know; he is gone; "
    "it works; there he is; you are right; it is raining; the door is open; we have to go"
)
_THINGS = (
    "apples; pears; plums; bread; butter; milk; cheese; eggs; salt; sugar; tea; coffee; rice; "
    "paper; ink; scissors; a lamp; a chair; a table; two pens; some water; a map; a rope; red; "
    "green; blue; white; black; yellow; cats; dogs; horses; north; south; east; west; spring; "
    "summer; autumn; winter; the king; the queen; my mother; my father; her sister; his brother; "
    "gold; silver; iron"
)
_SEQUENCES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty",
    "ten twenty thirty forty fifty sixty seventy eighty ninety",
    "first second third fourth fifth sixth seventh eighth ninth tenth",
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "January February March April May June July August September October November December",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z",
)
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_DOMAINS = ("com", "org", "net", "gov", "co dot U K", "D E", "I O")
_SENTENCE_STARTS = (
    "once upon a time there lived; long ago there was; in the end we saw; suddenly there came; "
    "here comes; what we need is; look at; nobody likes; I can see; this is; that was; she wants"
)
_CHARACTERS = (
    "a king; a queen; a little girl; an old man; a dragon; a giant; a fox; a witch; a poor farmer; "
    "the captain; the doctor; a bear; a wolf; the moon; a storm; a new house; my teacher; our train"
)


def write_short_texts(
    examples: Sequence[str], count: int, excluded: Collection[str] = ()
) -> list[str]:
    """`count` distinct texts, a share of each kind. None of them is in `excluded`."""
    choice = random.Random(SEED)
    words = _frequent_words(examples)
    phrases = sorted({text for text in examples if len(text.split()) in SHORT_PHRASE_WORDS})
    clauses = [text for text in examples if 4 <= len(text.split()) <= 8 and text[-1] not in "?!"]

    def one_word() -> str:
        return choice.choice(words)

    def phrase() -> str:
        return choice.choice(phrases).rstrip("?!")

    def exclamation() -> str:
        return choice.choice(clauses) + "!"

    kinds: dict[Callable[[], str], int] = {
        one_word: 25,
        phrase: 20,
        exclamation: 8,
        lambda: _say_interjection(choice): 12,
        lambda: _greet(choice): 12,
        lambda: _begin_story(choice): 4,
        lambda: _count(choice): 9,
        lambda: _spell_digits(choice): 5,
        lambda: _spell_address(choice, words): 3,
        lambda: _list_things(choice): 5,
    }
    written: dict[str, None] = {}
    while len(written) < count:
        kind = choice.choices(list(kinds), list(kinds.values()))[0]
        text = _finish(kind(), choice)
        if text not in excluded:
            written[text] = None
    return list(written)


def _frequent_words(examples: Sequence[str]) -> list[str]:
    counted = Counter(word for text in examples for word in _WORD.findall(text))
    return sorted(word for word, times in counted.items() if times >= LEAST_OCCURRENCES)


def _say_interjection(choice: random.Random) -> str:
    said = _draw(choice, _INTERJECTIONS)
    following = choice.choice(("", "", "", ", " + _draw(choice, _NAMES), f", {said.lower()}"))
    if choice.random() < 0.3:
        following = f", {_draw(choice, _STATEMENTS)}"
    return said + following


def _greet(choice: random.Random) -> str:
    greeting = _draw(choice, _GREETINGS)
    if choice.random() < 0.4:
        greeting += f", {_draw(choice, _NAMES)}"
    following = choice.random()
    if following < 0.35:
        return f"{greeting}, {_draw(choice, _QUESTIONS)}?"
    return f"{greeting}, {_draw(choice, _STATEMENTS)}" if following < 0.5 else greeting


def _begin_story(choice: random.Random) -> str:
    return f"{_draw(choice, _SENTENCE_STARTS)} {_draw(choice, _CHARACTERS)}"


def _count(choice: random.Random) -> str:
    """A run of a sequence, forwards or backwards, or of letters that are an abbreviation."""
    sequence = choice.choices(_SEQUENCES, (8, 2, 2, 1, 1, 3))[0].split()
    length = choice.randint(2, min(len(sequence), 11))
    first = choice.randint(0, len(sequence) - length)
    run = sequence[first : first + length]
    if sequence[0] == "A" and choice.random() < 0.5:
        return " ".join(choice.sample(sequence, choice.randint(1, 4)))
    if choice.random() < 0.25:
        run.reverse()
    return choice.choice((", ", ", ", ", ", " ")).join(run)


def _spell_digits(choice: random.Random) -> str:
    """A telephone number, a decimal fraction or a version."""
    groups = [
        " ".join(choice.choices(_DIGITS, k=choice.randint(2, 4)))
        for _ in range(choice.randint(1, 3))
    ]
    if len(groups) == 1:
        return f"{choice.choice(('', 'minus '))}{choice.choice(_DIGITS)} point {groups[0]}"
    return choice.choice((", ", " point ")).join(groups)


def _spell_address(choice: random.Random, words: Sequence[str]) -> str:
    """An address of the web or of e-mail, as it is said."""
    first, second, third = (word.lower() for word in choice.sample(list(words), 3))
    domain = f"{second} dot {choice.choice(_DOMAINS)}"
    addresses = (f"W W W dot {domain}", f"{domain} slash {third}", f"{first} at {domain}")
    return choice.choice(("", "", "visit ", "write to ")) + choice.choice(addresses)


def _list_things(choice: random.Random) -> str:
    things = choice.sample(_parts(_THINGS), choice.randint(2, 6))
    last = choice.choice((", and ", ", ", " and ", " or "))
    return ", ".join(things[:-1]) + last + things[-1]


def _finish(text: str, choice: random.Random) -> str:
    """Begin with a capital letter, and end with a mark."""
    end = "" if text[-1] in "?!." else choice.choice(_ENDS)
    return text[0].upper() + text[1:] + end


def _draw(choice: random.Random, listed: str) -> str:
    return choice.choice(_parts(listed))


def _parts(listed: str) -> list[str]:
    return listed.split("; ")


def run(arguments: argparse.Namespace) -> None:
    """Write the texts."""
    from evaluation.sentences import read_sentences

    judged = {sentence.text for sentence in read_sentences(JUDGED)}
    examples = list(read_examples(arguments.dict_folder))
    texts = write_short_texts(examples, arguments.count, judged)
    write_text(arguments.output, "".join(f"{text}\n" for text in texts))
    print(f"{len(texts)} texts in {arguments.output}")


def make_parser() -> CommandParser:
    parser = command_parser(
        "samples.demo_voice.short_texts",
        "Write texts of a few words: words, greetings, counting, lists.",
        more=f"WordNet: {HOW_TO_GET_WORDNET}.",
    )
    parser.add_argument("dict_folder", type=Path, help="folder with WordNet's data.* files")
    parser.add_argument("output", type=Path, help="text file to write")
    add_count(parser, "--count", "texts to write", default=DEFAULT_COUNT)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
