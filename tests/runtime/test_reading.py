"""Whole texts: each sentence is read once, and what cannot be read is named or refused."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from runtime import TTS, Sampling, TextWarning, UserError
from runtime.speech.prompt import PromptReader
from tests.runtime.tiny_bundle import Scenario, make_tokenizer, write_bundle

GREEDY = Sampling(do_sample=False)
PHONEMES = "ˈˌəɛɹʃʌɪðɡæɑɔʊŋɜθ“”"
HIBARI = Scenario(frontend={"kind": "hibari", "language": "en-us"}, more_characters=PHONEMES)


def load(folder: Path, scenario: Scenario) -> TTS:
    return TTS.load(write_bundle(folder / "engine", scenario), threads=1)


@pytest.fixture
def reader(tmp_path: Path) -> TTS:
    """A voice that reads phonemes and has no sign but . , ! ? and quotes."""
    pytest.importorskip("hibari")
    return load(tmp_path, HIBARI)


def heard(tts: TTS, text: str) -> list[list[int]]:
    """Frames without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return tts.synthesize(text, sampling=GREEDY).frames.tolist()


def read_by(tts: TTS, sentence: str) -> str:
    """What the model reads, from the tokens of the prompt "say … now <sosp>"."""
    tokens = list(tts.prompts.read(sentence).ids)[1 + len("say ") : -len(" now <sosp>") + 5]
    return make_tokenizer(PHONEMES).decode(tokens)


def test_signs_are_read_as_those_that_the_voice_has(reader: TTS) -> None:
    assert read_by(reader, "My brother (the older one) lives") == (
        "mˌI bɹˈʌðəɹ, ði ˈOldəɹ wˈʌn, lˈɪvz."
    )
    assert heard(reader, "One; two: three — four…") == heard(reader, "One, two, three, four.")
    assert heard(reader, "banana") == heard(reader, "banana.")


def test_the_last_stop_is_the_only_one(reader: TTS) -> None:
    assert read_by(reader, "10. 9. 8.") == "tˈɛn, nˈIn, ˈAt."


def test_pieces_of_long_sentences_end_in_stops(tmp_path: Path) -> None:
    pytest.importorskip("hibari")
    scenario = Scenario(frontend=HIBARI.frontend, more_characters=PHONEMES, frames_per_token=40.0)
    tts = load(tmp_path, scenario)
    pieces = tts.split("the rain fell softly, and the old birds sang in the big garden")
    assert len(pieces) > 1
    assert all(read_by(tts, piece).endswith(".") for piece in pieces)


def test_other_scripts_are_skipped_and_named(reader: TTS) -> None:
    with pytest.warns(TextWarning) as told:
        speech = reader.synthesize("She smiled. 你好。 Then she left 世界.", sampling=GREEDY)
    assert [str(warning.message) for warning in told] == [
        "skipped '你好', '世界': this voice reads Latin letters"
    ]
    assert told[0].filename == __file__
    rest = reader.synthesize("She smiled. Then she left.", sampling=GREEDY)
    np.testing.assert_array_equal(speech.frames, rest.frames)
    np.testing.assert_array_equal(speech.audio, rest.audio)
    assert reader.split("She smiled. 你好。") == ["She smiled."]


def test_streams_tell_it_too(reader: TTS) -> None:
    with pytest.warns(TextWarning, match="skipped '世界'") as told:
        chunks = reader.stream("Hello 世界", sampling=GREEDY)
    assert told[0].filename == __file__
    frames = np.concatenate([chunk.frames for chunk in chunks])
    assert frames.tolist() == heard(reader, "Hello")


@pytest.mark.parametrize("text", ["Hello 世界", "She smiled. 你好。 Then she left."])
def test_strict_refuses_it(reader: TTS, text: str) -> None:
    for speak in (reader.synthesize, reader.stream):
        with pytest.raises(UserError, match=r"cannot read '.*': this voice reads Latin letters"):
            speak(text, strict=True)
        speak("Hello.", strict=True)


def test_text_with_nothing_to_read_is_refused(reader: TTS, tts: TTS) -> None:
    for voice in (reader, tts):
        with pytest.raises(UserError, match="nothing in '你好。 世界' can be read"):
            voice.synthesize("你好。 世界")


def test_a_phoneme_without_a_symbol_is_named(tmp_path: Path) -> None:
    pytest.importorskip("hibari")
    tts = load(tmp_path, Scenario(frontend=HIBARI.frontend, more_characters="ˈˌə"))
    with pytest.warns(TextWarning, match="no symbol for 'ʃ', 'ɪ'"):
        tts.synthesize("She is bad.", sampling=GREEDY)
    with pytest.raises(UserError, match="no symbol for 'ʃ'"):
        tts.synthesize("She is bad.", strict=True)


# Voices that read letters.


def test_letters_without_a_symbol_stay_and_are_named(tts: TTS) -> None:
    """The sentence goes into the prompt as it is."""
    read = tts.prompts.read("Go; “世”")
    spelt = make_tokenizer().encode("say Go; “世” now <sosp>", add_special_tokens=False)
    assert list(read.ids[1:]) == spelt.ids
    with pytest.warns(TextWarning, match="no symbol for ';', '“', '世', '”'"):
        tts.synthesize("Go; “世”", sampling=GREEDY)
    with pytest.raises(UserError, match=r"no symbol for ';'.* leave out strict"):
        tts.synthesize("Go; “世”", strict=True)


def test_a_sentence_without_known_letters_is_skipped(tts: TTS) -> None:
    with pytest.warns(TextWarning, match=r"skipped '你好。': .* letters that it was trained on"):
        speech = tts.synthesize("One. 你好。 Two.", sampling=GREEDY)
    assert speech.frames.tolist() == heard(tts, "One. Two.")


def test_known_text_is_not_warned_of(tts: TTS) -> None:
    heard(tts, "  Two spaces \n")
    heard(tts, "One, two! Three?\n\n4.")


def test_every_sentence_is_read_once(
    tts: TTS, reader: TTS, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    usual = PromptReader.read

    def listen(self: PromptReader, sentence: str) -> object:
        read.append(sentence)
        return usual(self, sentence)

    monkeypatch.setattr(PromptReader, "read", listen)
    for voice in (tts, reader):
        read.clear()
        voice.synthesize("One. And two! One. Three", sampling=GREEDY)
        assert read == ["One.", "And two!", "Three"]
