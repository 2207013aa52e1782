"""Answers: text and then speech out of one sequence, and the command that asks for them."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from runtime import TTS, Chat, Chunk, Sampling, TextWarning, UserError
from runtime.bundle.manifest import ChatSpec
from runtime.chat import PROMPT, main
from runtime.speech.answer_text import answer_in
from runtime.speech.schedule import ChunkSchedule
from tests.runtime.tiny_bundle import (
    SCRIPT_START,
    Scenario,
    make_tokenizer,
    token_id,
    write_bundle,
)

QUESTION = "Who?"
WRITTEN = " It is. aloud "
GREEDY = Sampling(do_sample=False)
ANSWERS = Scenario(writes=WRITTEN + "<sosp>", codes_a=tuple(range(SCRIPT_START, SCRIPT_START + 40)))
TEXT_TOKENS = len(WRITTEN) + 1
SPEC = ChatSpec("{question}", " ", " aloud ", speech_start_id=1, text_end_id=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("chat") / "engine", ANSWERS)


@pytest.fixture(scope="module")
def chat(folder: Path) -> Chat:
    return Chat.load(folder, threads=1)


def load(folder: Path, **changes: Any) -> Chat:
    scenario = dataclasses.replace(ANSWERS, **changes)
    return Chat.load(write_bundle(folder / "engine", scenario), threads=1)


def expected_frames(question: str, scenario: Scenario = ANSWERS) -> list[list[int]]:
    """Column c tells the cache's length: speech goes on where the text ended."""
    tokenizer = make_tokenizer()
    prompt = 1 + len(tokenizer.encode(f"ask {question}", add_special_tokens=False).ids)
    fed, frames = token_id(tokenizer, "<sosp>"), []
    for step in range(TEXT_TOKENS, len(scenario.codes_a)):
        frames.append([scenario.codes_a[step], fed, prompt + step])
        fed = scenario.codes_a[step]
    return frames


def test_speech_goes_on_where_the_text_ended(chat: Chat) -> None:
    answer = chat.answer(QUESTION, sampling=GREEDY)
    assert answer.text == "It is."
    assert answer.frames.tolist() == expected_frames(QUESTION)
    assert answer.finished
    assert len(answer.audio) == 4 * len(answer.frames)
    assert answer.sample_rate == 16_000


def test_a_chat_does_all_that_a_tts_does(chat: Chat, folder: Path) -> None:
    tts = TTS.load(folder, threads=1)
    for_schedulers = {"open_graph", "backbone", "prepare", "request", "pause", "speaker_of_speech"}
    public = {name for name in dir(tts) if not name.startswith("_")} - for_schedulers
    assert public <= set(dir(chat))
    assert chat.voices == tts.voices == ("plain",)
    assert (chat.sample_rate, chat.describe()) == (tts.sample_rate, tts.describe())
    spoken = chat.synthesize("They know it.", sampling=GREEDY)
    expected = tts.synthesize("They know it.", sampling=GREEDY)
    np.testing.assert_array_equal(spoken.frames, expected.frames)


def test_pieces_joined_are_the_whole(chat: Chat) -> None:
    schedule = ChunkSchedule(5, 1.0, 5)
    pieces = list(chat.stream_answer(QUESTION, sampling=GREEDY, schedule=schedule))
    texts = [piece for piece in pieces if isinstance(piece, str)]
    chunks = [piece for piece in pieces if isinstance(piece, Chunk)]
    assert pieces == [*texts, *chunks]
    assert texts == ["I", "t", " i", "s", "."]
    assert len(chunks) > 2
    whole = chat.answer(QUESTION, sampling=GREEDY)
    np.testing.assert_array_equal(np.concatenate([c.frames for c in chunks]), whole.frames)
    np.testing.assert_allclose(np.concatenate([c.audio for c in chunks]), whole.audio, atol=1e-6)


def test_a_look_ahead_is_refused_by_the_call_that_asks_for_it(chat: Chat) -> None:
    with pytest.raises(UserError, match="engine has no look-ahead"):
        chat.stream_answer(QUESTION, schedule=ChunkSchedule(5, 1.0, 5, look_ahead=0))


def test_questions_do_not_remember_each_other(chat: Chat) -> None:
    first = chat.answer(QUESTION, sampling=GREEDY)
    chat.answer("Something longer?", sampling=GREEDY)
    again = chat.answer(QUESTION, sampling=GREEDY)
    np.testing.assert_array_equal(first.frames, again.frames)


def test_seeds_and_voices_are_handed_on(tmp_path: Path) -> None:
    template = "say {text} like <|placeholder|> <sosp>"
    aware = load(tmp_path, speaker_aware=True, template=template)
    first, again, other = (
        aware.answer(QUESTION, sampling=Sampling(seed=seed)).frames[:, 0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    plain = aware.answer(QUESTION, sampling=GREEDY).audio
    loud = aware.answer(QUESTION, voice=np.ones(7, np.float32), sampling=GREEDY).audio
    assert not np.allclose(plain, loud)  # tests/test_chat_parity.py has the language model's part


def test_an_answer_may_be_text_alone(tmp_path: Path) -> None:
    answer = load(tmp_path, writes=" Silence.<eos>").answer(QUESTION)
    assert (answer.text, len(answer.audio), answer.finished) == ("Silence.", 0, True)


def test_bounds_cut_text_and_speech(tmp_path: Path, chat: Chat) -> None:
    cut = load(tmp_path, writes=" Never ending", max_tokens=9).answer(QUESTION)
    assert (cut.text, len(cut.audio), cut.finished) == ("Never en", 0, False)
    cut = chat.answer(QUESTION, sampling=GREEDY, max_steps=4)
    assert (cut.text, len(cut.frames), cut.finished) == ("It is.", 4, False)


def test_speech_codes_are_never_text(tmp_path: Path) -> None:
    """Text heads of earlier exports can draw them."""
    for code in ("<a7>", "<eosp>", "<|placeholder|>"):
        writing = load(tmp_path, writes=f" Three{code}<a7> more")
        with pytest.warns(TextWarning, match="export the engine again"):
            answer = writing.answer(QUESTION)
        assert (answer.text, len(answer.audio), answer.finished) == ("Three", 0, False)


def test_questions_that_cannot_be_read(chat: Chat) -> None:
    with pytest.raises(UserError, match="nothing in '法国的首都是什么？' can be read"):
        chat.stream_answer("法国的首都是什么？")
    with pytest.warns(TextWarning, match="no symbol for '世', ';'"):
        answer = chat.answer("Who is 世;", sampling=GREEDY)
    assert answer.text == "It is."
    with pytest.raises(UserError, match="no symbol for '世'"):
        chat.answer("Who is 世?", strict=True)


def test_faults(chat: Chat, tmp_path: Path, plain_folder: Path) -> None:
    with pytest.raises(UserError, match="leaves no room for an answer"):
        chat.stream_answer("long " * 80)
    with pytest.raises(UserError, match="nothing to speak"):
        chat.stream_answer("?")
    with pytest.raises(UserError, match="max_steps is 0"):
        chat.stream_answer(QUESTION, max_steps=0)
    with pytest.raises(
        UserError, match=r"without its text head.*export\.build .*--text-head"
    ) as no:
        Chat.load(plain_folder)
    for said in ("trained on questions", "samples/demo_chat/6-heads", "never learnt to write"):
        assert said in str(no.value)


@pytest.mark.parametrize(
    ("written", "is_whole", "answer"),
    [
        ("", False, ""),
        (" ", False, ""),
        (" Yes", False, "Yes"),
        (" Yes a", False, "Yes"),
        (" Yes alo", False, "Yes"),
        (" Yes also", False, "Yes also"),
        (" Yes\N{REPLACEMENT CHARACTER}", False, "Yes"),
        (" Yes aloud ", True, "Yes"),
        (" Yes alo", True, "Yes alo"),
        ("Yes.", True, "Yes."),
    ],
)
def test_answer_in(written: str, is_whole: bool, answer: str) -> None:
    assert answer_in(written, SPEC, is_whole=is_whole) == answer


@given(answer=st.text(alphabet=" aloudY.", max_size=12).map(str.strip))
def test_text_that_was_told_stays(answer: str) -> None:
    written = f" {answer} aloud "
    told = ""
    for length in range(len(written)):
        part = answer_in(written[:length], SPEC, is_whole=False)
        assert part.startswith(told) or len(part) < len(told)
        told = max(told, part, key=len)
    assert answer_in(written, SPEC, is_whole=True).startswith(told)
    assert answer_in(written, SPEC, is_whole=True) == answer


# The command.


@pytest.fixture
def engine(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine, from an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return folder


def ask(engine: Path, *arguments: str) -> int:
    return main(["--engine", str(engine), "--threads", "1", "--greedy", *arguments])


def test_one_question(engine: Path, chat: Chat, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(engine, "--question", QUESTION, "-o", "answer.wav") == 0
    samples, _ = soundfile.read("answer.wav")
    assert len(samples) == len(chat.answer(QUESTION, sampling=GREEDY).audio)
    printed = capsys.readouterr()
    assert printed.out == "It is.\n"
    assert "3 heads, fp32" in printed.err
    assert "wrote answer.wav" in printed.err


def test_questions_from_standard_input(
    engine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who?\n\n?\nAnd why?"))
    assert ask(engine) == 0
    printed = capsys.readouterr()
    assert printed.out == "It is.\nIt is.\n"
    assert printed.err.count("error: ") == 1  # the question without a word


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--question", QUESTION, "-o", "answer.mp3"), "end its name in .wav"),
        (("--question", QUESTION, "-o", "no/answer.wav"), "no folder no"),
        (("--question", ""), "is empty"),
        (("--question", "Who is 世?", "--strict"), "no symbol for '世'"),
        (("--voice", "nobody"), "no voice nobody"),
        (("--seed", "1"), "seed has no effect"),
    ],
)
def test_mistakes_are_one_line(
    engine: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert ask(engine, *arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_no_player_is_told_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert ask(tmp_path / "no-engine", "--question", QUESTION, "--play") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "nothing here can play audio" in line


def test_cuts_and_silence_are_told(
    tmp_path: Path, engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(engine, "--question", QUESTION, "--max-steps", "2") == 0
    assert "a bound cut it" in capsys.readouterr().err
    silent = write_bundle(tmp_path / "silent", dataclasses.replace(ANSWERS, writes=" No.<eos>"))
    assert ask(silent, "--question", QUESTION, "-o", "answer.wav") == 0
    assert "in writing only" in capsys.readouterr().err
    assert not Path("answer.wav").exists()


def test_a_reader_that_leaves(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The answer goes on only if its speech is awaited."""
    for options, status in (((), 141), (("-o", "answer.wav"), 0)):
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as stdout, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            assert ask(engine, "--question", QUESTION, *options) == status
    assert soundfile.info("answer.wav").frames > 0
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_questions_that_are_no_text(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], errors: str
) -> None:
    latin = io.BytesIO("Où ?\n".encode("latin-1"))
    questions = io.TextIOWrapper(latin, encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", questions)
    assert ask(engine) == 2
    assert "error: standard input: is not utf-8 text; convert it" in capsys.readouterr().err


def test_the_end_of_questions_leaves_a_whole_line(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = io.StringIO(QUESTION + "\n")
    typed.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", typed)
    assert ask(engine) == 0
    assert capsys.readouterr().err.endswith(f"{PROMPT}\n")
