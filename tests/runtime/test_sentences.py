"""Sentences: where they end, and that nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from runtime.text.sentences import split_sentences, split_to_fit

PROSE = st.text(alphabet="ab A1.,!?;:\n\"'“”()-—…。， •", max_size=80)
WORDS = st.text(alphabet="abcdefgh ", min_size=1, max_size=60).filter(str.strip)


def solid(text: str) -> str:
    """Text without white space."""
    return "".join(text.split())


@pytest.mark.parametrize(
    "sentence",
    [
        "They know it.",
        "  spaces stay \n",
        "no end mark",
        "Dr. Smith met J. K. Rowling in the U.S. Army on St. Mary Street.",
        "It cost 3.14 dollars, i.e. 3 1/2 francs.",
        "“Stop!” he said, and “why?” she asked.",
        "No. 5 is alive, says Fig. 3.",
        "1. One thing.",
        "Wait... and see.",
        "Hmm …",
        "A line\nbroken in two.",
        "Really?!",
        "{text} and {0}.",
    ],
)
def test_one_sentence_is_unchanged(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?  Four", ["One.", "Two!", "Three?", "Four"]),
        ("He said no. She left.", ["He said no.", "She left."]),
        ("“Stop!” She ran. (Really.) Yes.", ["“Stop!”", "She ran.", "(Really.)", "Yes."]),
        ("Title\n\nA line\nbroken. End.", ["Title", "A line broken.", "End."]),
        ("It rose 3.5 %. Then 2 fell.", ["It rose 3.5 %.", "Then 2 fell."]),
        ("At 5 p.m. It left.", ["At 5 p.m.", "It left."]),
        ("Yes. … No.", ["Yes. …", "No."]),
        ("你好。我很好！是吗？", ["你好。", "我很好！", "是吗？"]),
    ],
)
def test_sentence_ends(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(PROSE)
def test_splitting_loses_nothing(text: str) -> None:
    sentences = split_sentences(text)
    assert solid("".join(sentences)) == solid(text)
    if len(sentences) == 1:
        assert sentences == [text]
    else:
        assert all(any(map(str.isalnum, sentence)) for sentence in sentences)
        assert [" ".join(sentence.split()) for sentence in sentences] == sentences


@given(WORDS, st.integers(1, 70))
def test_pieces_fit_and_lose_nothing(sentence: str, room: int) -> None:
    pieces = split_to_fit(sentence, lambda piece: len(piece) <= room)
    assert solid("".join(pieces)) == solid(sentence)
    assert all(len(piece) <= room for piece in pieces)
    if len(sentence) <= room:
        assert pieces == [sentence]


def test_long_sentences_are_cut_at_clauses_then_at_words() -> None:
    sentence = "When the rain had gone, the old birds sang in the garden"
    assert split_to_fit(sentence, lambda piece: len(piece) <= 40) == [
        "When the rain had gone,",
        "the old birds sang in the garden",
    ]
    assert split_to_fit("one two three four", lambda piece: len(piece) <= 9) == [
        "one two",
        "three",
        "four",
    ]


def test_what_never_fits_is_refused() -> None:
    with pytest.raises(UserError, match="no room"):
        split_to_fit("ab", lambda piece: False)


@pytest.mark.parametrize(
    "sentence",
    [
        "It happened on Feb. 3 in Rome.",
        "We met on Dec. 24, not on Mon. Dec. 31.",
        "Mt. Everest is high, and Ft. Worth is flat.",
        "Apple Inc. announced that Apple Inc. Chairman Levinson stays.",
        "Go to Apt. 4B, or call Tel. 030 or Ext. 12.",
        "Cmdr. Riker met Sammy Davis Jr. Tuesday night.",
        "At 5 p.m. Monday we left.",
        "At 5 a.m. Smith went to the bank.",
        "Robert E. Lee, J. I. Smith and George W. Bush.",
        "10. 9. 8. 7. 6. 5. 4. 3. 2. 1.",
        "10. 9. 8. … 1.",
        "A. The first option.",
        "1.) The first option.",
        "He moved to 12 Main St. Springfield.",
        "You write “[...] The end” there.",
        "MR. JONES AND DR. LEE PAY BY DEC. 31 AT ST. MARY'S.",
        "It is $20 excl. VAT, or 25 incl. 5 for est. 1990.",
        "Born c. 1850, max. 5, min. 3, exp. 2025, qty. 5, para. 5, Ref. 12, dept. 5, Rs. 500.",
        "In Roe v. Wade, Vol. IV, Ch. XII, Art. I, Fig. A, No. A5.",
        "Drs. Smith and Jones met Asst. Manager Bob at Approx. 5.",
        "He is 5 ft. 6 in. and weighs 8 lbs. 3 oz. after 5 min. 30 sec. today.",
        "He is 6 ft. 2 in. tall.",
        "He read 1 Cor. 13:4-8.",
    ],
)
def test_full_stops_within_sentences(sentence: str) -> None:
    assert split_sentences(sentence) == [sentence]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Fined after the D.U.I. He blew a 0.9.", ["Fined after the D.U.I.", "He blew a 0.9."]),
        ("He lives in the U.S. He left.", ["He lives in the U.S.", "He left."]),
        ("He works at Acme Corp. The pay is good.", ["He works at Acme Corp.", "The pay is good."]),
        ("It ended in Dec. He left.", ["It ended in Dec.", "He left."]),
        ("She has a Ph.D. She’s young.", ["She has a Ph.D.", "She’s young."]),
        ("It was plan B. They left.", ["It was plan B.", "They left."]),
        ("He left at 6 p.m. Smith stayed.", ["He left at 6 p.m.", "Smith stayed."]),
        ("3. 2. 1. Go!", ["3. 2. 1.", "Go!"]),
        ("I said NO. Then we left.", ["I said NO.", "Then we left."]),
        ("HE SAID NO. THEY LEFT.", ["HE SAID NO.", "THEY LEFT."]),
        ("Wait 5 min. 30 people came.", ["Wait 5 min.", "30 people came."]),
        ("He sat. May he live.", ["He sat.", "May he live."]),
    ],
)
def test_abbreviations_that_end_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It was late.At home we ate.", ["It was late.", "At home we ate."]),
        ("Hello.World.", ["Hello.", "World."]),
        ("Yes!No.", ["Yes!", "No."]),
        ("Mr.Smith has a Ph.D in math.", ["Mr.Smith has a Ph.D in math."]),
        ("See Jane.Doe@x.com or Report.Pdf.", ["See Jane.Doe@x.com or Report.Pdf."]),
    ],
)
def test_a_space_may_be_missing_between_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("fruits:\nApple\nBanana", ["fruits:", "Apple", "Banana"]),
        ("Apple\nBanana", ["Apple", "Banana"]),
        ("apples\npears\nplums", ["apples", "pears", "plums"]),
        ("Buy:\n- milk\n- a dozen eggs", ["Buy:", "- milk", "- a dozen eggs"]),
        ("1. Get up\n2. go out\n3. sleep", ["1. Get up", "2. go out", "3. sleep"]),
        ("Chapter One\r\nIt was late.\r\n", ["Chapter One", "It was late."]),
        (
            "Buy bread\nCall the dentist about the appointment on Monday\nWater the plants",
            ["Buy bread", "Call the dentist about the appointment on Monday", "Water the plants"],
        ),
        (
            "CHAPTER I\nIt was the best of times, it was the age of\nWisdom, it was late.",
            ["CHAPTER I", "It was the best of times, it was the age of Wisdom, it was late."],
        ),
        ("Dear Anna,\nThank you.\nYours\nBob", ["Dear Anna, Thank you.", "Yours", "Bob"]),
        ("a) Go. b) Stay.", ["a) Go.", "b) Stay."]),
    ],
)
def test_lines_of_lists_are_utterances(text: str, items: list[str]) -> None:
    assert split_sentences(text) == items


WRAPPED = """\
It is a truth universally acknowledged, that a single man in possession
of a good fortune, must be in want of a wife, and went to see the Queen
Mother in London, where Mr. Darcy and his old friend had met with Colonel
Fitzwilliam"""


def test_wrapped_prose_stays_together() -> None:
    assert split_sentences(WRAPPED) == [WRAPPED]
    twice = f"{WRAPPED}.\n\n{WRAPPED}."
    assert split_sentences(twice) == [" ".join(WRAPPED.split()) + "."] * 2


@pytest.mark.parametrize(
    "text",
    [
        "J. " * 33_000,
        "a" + "." * 99_000,
        "1. " * 33_000,
        "a\n" * 49_000,
        "• x " * 24_000,
        "• " * 30_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Each of these took minutes where the time grew with the square of the length."""
    assert solid("".join(split_sentences(text))) == solid(text)


# The "golden rules" for English of pragmatic_segmenter and pysbd (MIT), joined lines evened out.
GOLDEN_RULES = [
    ("Hello World. My name is Jonas.", ["Hello World.", "My name is Jonas."]),
    ("What is your name? My name is Jonas.", ["What is your name?", "My name is Jonas."]),
    ("There it is! I found it.", ["There it is!", "I found it."]),
    ("My name is Jonas E. Smith.", ["My name is Jonas E. Smith."]),
    ("Please turn to p. 55.", ["Please turn to p. 55."]),
    ("Were Jane and co. at the party?", ["Were Jane and co. at the party?"]),
    (
        "They closed the deal with Pitt, Briggs & Co. at noon.",
        ["They closed the deal with Pitt, Briggs & Co. at noon."],
    ),
    ("Let's ask Jane and co. They should know.", ["Let's ask Jane and co.", "They should know."]),
    (
        "They closed the deal with Pitt, Briggs & Co. It closed yesterday.",
        ["They closed the deal with Pitt, Briggs & Co.", "It closed yesterday."],
    ),
    ("I can see Mt. Fuji from here.", ["I can see Mt. Fuji from here."]),
    (
        "St. Michael's Church is on 5th st. near the light.",
        ["St. Michael's Church is on 5th st. near the light."],
    ),
    ("That is JFK Jr.'s book.", ["That is JFK Jr.'s book."]),
    ("I visited the U.S.A. last year.", ["I visited the U.S.A. last year."]),
    ("I live in the E.U. How about you?", ["I live in the E.U.", "How about you?"]),
    ("I live in the U.S. How about you?", ["I live in the U.S.", "How about you?"]),
    (
        "I work for the U.S. Government in Virginia.",
        ["I work for the U.S. Government in Virginia."],
    ),
    ("I have lived in the U.S. for 20 years.", ["I have lived in the U.S. for 20 years."]),
    (
        "At 5 a.m. Mr. Smith went to the bank. He left the bank at 6 P.M. Mr. Smith then "
        "went to the store.",
        [
            "At 5 a.m. Mr. Smith went to the bank.",
            "He left the bank at 6 P.M.",
            "Mr. Smith then went to the store.",
        ],
    ),
    ("She has $100.00 in her bag.", ["She has $100.00 in her bag."]),
    ("She has $100.00. It is in her bag.", ["She has $100.00.", "It is in her bag."]),
    (
        "He teaches science (He previously worked for 5 years as an engineer.) at the "
        "local University.",
        [
            "He teaches science (He previously worked for 5 years as an engineer.) at the "
            "local University."
        ],
    ),
    (
        "Her email is Jane.Doe@example.com. I sent her an email.",
        ["Her email is Jane.Doe@example.com.", "I sent her an email."],
    ),
    (
        "The site is: https://www.example.50.com/new-site/awesome_content.html. Please "
        "check it out.",
        [
            "The site is: https://www.example.50.com/new-site/awesome_content.html.",
            "Please check it out.",
        ],
    ),
    (
        "She turned to him, 'This is great.' she said.",
        ["She turned to him, 'This is great.' she said."],
    ),
    (
        'She turned to him, "This is great." she said.',
        ['She turned to him, "This is great." she said.'],
    ),
    (
        'She turned to him, "This is great." She held the book out to show him.',
        ['She turned to him, "This is great."', "She held the book out to show him."],
    ),
    ("Hello!! Long time no see.", ["Hello!!", "Long time no see."]),
    ("Hello?? Who is there?", ["Hello??", "Who is there?"]),
    ("Hello!? Is that you?", ["Hello!?", "Is that you?"]),
    ("Hello?! Is that you?", ["Hello?!", "Is that you?"]),
    ("1.) The first item 2.) The second item", ["1.) The first item", "2.) The second item"]),
    ("1.) The first item. 2.) The second item.", ["1.) The first item.", "2.) The second item."]),
    ("1) The first item 2) The second item", ["1) The first item", "2) The second item"]),
    ("1) The first item. 2) The second item.", ["1) The first item.", "2) The second item."]),
    ("1. The first item 2. The second item", ["1. The first item", "2. The second item"]),
    ("1. The first item. 2. The second item.", ["1. The first item.", "2. The second item."]),
    ("• 9. The first item • 10. The second item", ["• 9. The first item", "• 10. The second item"]),
    ("⁃9. The first item ⁃10. The second item", ["⁃9. The first item", "⁃10. The second item"]),
    (
        "a. The first item b. The second item c. The third list item",
        ["a. The first item", "b. The second item", "c. The third list item"],
    ),
    (
        "This is a sentence\ncut off in the middle because pdf.",
        ["This is a sentence cut off in the middle because pdf."],
    ),
    ("It was a cold \nnight in the city.", ["It was a cold night in the city."]),
    (
        "features\ncontact manager\nevents, activities\n",
        ["features", "contact manager", "events, activities"],
    ),
    (
        "You can find it at N°. 1026.253.553. That is where the treasure is.",
        ["You can find it at N°. 1026.253.553.", "That is where the treasure is."],
    ),
    (
        "She works at Yahoo! in the accounting department.",
        ["She works at Yahoo! in the accounting department."],
    ),
    (
        "We make a good team, you and I. Did you see Albert I. Jones yesterday?",
        ["We make a good team, you and I.", "Did you see Albert I. Jones yesterday?"],
    ),
    (
        "Thoreau argues that by simplifying one’s life, “the laws of the universe will "
        "appear less complex. . . .”",
        [
            "Thoreau argues that by simplifying one’s life, “the laws of the universe will "
            "appear less complex. . . .”"
        ],
    ),
    (
        '"Bohr [...] used the analogy of parallel stairways [...]" (Smith 55).',
        ['"Bohr [...] used the analogy of parallel stairways [...]" (Smith 55).'],
    ),
    (
        "If words are left off at the end of a sentence, and that is all that is "
        "omitted, indicate the omission with ellipsis marks (preceded and followed by a "
        "space) and then indicate the end of the sentence with a period . . . . Next "
        "sentence.",
        [
            "If words are left off at the end of a sentence, and that is all that is "
            "omitted, indicate the omission with ellipsis marks (preceded and followed by a "
            "space) and then indicate the end of the sentence with a period . . . .",
            "Next sentence.",
        ],
    ),
    (
        "I never meant that.... She left the store.",
        ["I never meant that....", "She left the store."],
    ),
]


@pytest.mark.parametrize(("text", "sentences"), GOLDEN_RULES)
def test_golden_rules(text: str, sentences: list[str]) -> None:
    assert [" ".join(sentence.split()) for sentence in split_sentences(text)] == sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "I wasn’t really ... well, what I mean...see . . . what I'm saying, the "
            "thing is . . . I didn’t mean it.",
            [
                "I wasn’t really ... well, what I mean...see . . . what I'm saying, the "
                "thing is . . .",
                "I didn’t mean it.",
            ],
        ),
        (
            "One further habit which was somewhat weakened . . . was that of combining "
            "words into self-interpreting compounds. . . . The practice was not "
            "abandoned. . . .",
            [
                "One further habit which was somewhat weakened . . . was that of combining "
                "words into self-interpreting compounds. . . .",
                "The practice was not abandoned. . . .",
            ],
        ),
    ],
)
def test_rules_that_differ(text: str, sentences: list[str]) -> None:
    """Speech pauses at an ellipsis anyway, so one before a capital letter ends an utterance."""
    assert split_sentences(text) == sentences
