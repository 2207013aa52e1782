"""Templates and normalisation, against what the published code writes."""

from __future__ import annotations

import pytest

from formats.checkpoint.prompts import (
    PromptTemplates,
    asr_answer,
    normalize_text,
    split_question,
    text_dialogue,
)


def test_published_tts_prompts() -> None:
    templates = PromptTemplates()
    assert templates.prompt("They know it.", with_speaker=False) == (
        "[Human]: Read this sentence: They know it..\n [Assistant]: The speech is: <sosp>"
    )
    assert templates.prompt("Hi", with_speaker=True) == (
        "[Human]: Read this sentence: Hi. You should speak like: <|placeholder|>.\n"
        " [Assistant]: The speech is: <sosp>"
    )


def test_chat_joins_the_published_templates() -> None:
    parts = PromptTemplates().chat_parts(with_speaker=False)
    assert parts.ask("Who?") == "[Human]: Who?\n [Assistant]:"
    assert parts.write("I am.") == " I am. The speech is: <sosp>"
    parts = PromptTemplates().chat_parts(with_speaker=True)
    assert parts.ask("Who?") == (
        "[Human]: Who? You should speak like: <|placeholder|>.\n [Assistant]:"
    )


def test_chat_without_an_answer_mark_is_cut_before_the_answer() -> None:
    parts = PromptTemplates(chat="{question}={answer}<sosp>").chat_parts(with_speaker=False)
    assert (parts.ask("{answer}"), parts.write("{question}")) == ("{answer}=", "{question}<sosp>")


def test_braces_in_the_text_stay() -> None:
    hostile = "{text} {0} {speech}"
    assert hostile in PromptTemplates().prompt(hostile, with_speaker=False)
    assert text_dialogue("{response}", "{instruction}") == (
        "[Human]: {response}\n [Assistant]: {instruction}\n\n"
    )


def test_asr_answer() -> None:
    assert asr_answer("Yes.") == ".\n [Assistant]: The text is: Yes..\n\n"


@pytest.mark.parametrize(
    ("raw", "normal"),
    [(" HELLO There. ", "Hello there."), ("i", "I"), ("", ""), ("\n'tis", "'tis")],
)
def test_normalize_text(raw: str, normal: str) -> None:
    assert normalize_text(raw) == normal


def test_question_ends_with_the_answer_mark() -> None:
    prompt = "[Human]: a\n [Assistant]: b [Assistant]: c"
    assert split_question(prompt) == ("[Human]: a\n [Assistant]:", " b [Assistant]: c")
    assert split_question("ph<sosp>") == ("ph<sosp>", "")
