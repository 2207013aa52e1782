"""The judges themselves: what they make of real speech, and how texts are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from commands.errors import UserError
from evaluation.judge_cache import JudgeCache
from evaluation.jury import Jury
from evaluation.recognisers import count_mistakes, normalise
from evaluation.speaker_similarity import (
    LEAST_LEVEL_DB,
    PART_FRAMES,
    References,
    SpeakerEncoder,
    cut_parts,
    prepare,
)
from evaluation.systems import SpokenSentence
from samples.demo_voice.teachers import make_teacher

TEXT = "The birds sang in the old garden while the rain fell."
OTHER = "Please close the window before you leave."

Audio = NDArray[np.float32]


def read(speaker: str, text: str) -> Audio:
    teacher = make_teacher(speaker)
    phonemes = teacher.phonemize(text)
    assert phonemes
    audio, _ = teacher.read(text, phonemes, seed=0)
    return np.asarray(audio / 32768, np.float32)


@pytest.fixture(scope="module")
def speech() -> Audio:
    return read("heart", TEXT)


def test_the_jury_understands_a_clear_voice_and_not_noise(speech: Audio, tmp_path: Path) -> None:
    jury = Jury(["whisper", "pocketsphinx"], cache=tmp_path / "judged.jsonl", threads=1)
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32) * 0.1
    clear, drowned = (jury.judge(SpokenSentence(TEXT, audio)) for audio in (speech, speech + noise))
    assert clear.mistakes["whisper"].word_edits == 0
    assert clear.mistakes["pocketsphinx"].word_error_rate < 0.5
    assert clear.mistakes["pocketsphinx"].words == 11
    assert drowned.mistakes["pocketsphinx"].word_edits > clear.mistakes["pocketsphinx"].word_edits
    assert clear.dnsmos["ovrl"] > drowned.dnsmos["ovrl"] + 0.5
    assert clear.similarity == {}
    silent = jury.judge(SpokenSentence(TEXT, np.zeros(0, np.float32)))  # a model that says nothing
    assert silent.mistakes["pocketsphinx"].word_error_rate == 1.0
    assert silent.seconds == 0.0


def test_a_speaker_is_nearest_to_himself(speech: Audio) -> None:
    encoder = SpeakerEncoder()
    voices = {"heart": speech, "oak": read("oak", TEXT), "reed": read("reed", TEXT)}
    known = References({name: encoder.embed(audio) for name, audio in voices.items()})
    for name in voices:
        embedding = encoder.embed(read(name, OTHER))
        assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
        similarity = known.similarities(embedding)
        assert max(similarity, key=lambda speaker: similarity[speaker]) == name
    assert np.isfinite(encoder.embed(np.zeros(4000, np.float32))).all()


def test_quiet_speech_is_raised_and_loud_speech_left() -> None:
    tone = np.sin(np.arange(16_000, dtype=np.float32))
    silence = np.zeros(8_000, np.float32)
    quiet = prepare(np.concatenate([silence, 0.001 * tone, silence]))
    assert 16_000 <= len(quiet) < 20_000
    level_db = 20 * np.log10(np.sqrt(np.mean(quiet**2)))
    assert level_db == pytest.approx(LEAST_LEVEL_DB, abs=0.1)
    assert np.abs(prepare(tone)).max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(("frames", "parts"), [(50, 1), (160, 1), (270, 2), (290, 3)])
def test_parts_cover_the_speech(frames: int, parts: int) -> None:
    mel = np.arange(frames * 40, dtype=np.float32).reshape(frames, 40)
    cut = cut_parts(mel, frames * 160)
    assert cut.shape == (parts, PART_FRAMES, 40)
    np.testing.assert_array_equal(cut[0, : min(frames, PART_FRAMES)], mel[:PART_FRAMES])


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("It costs $42.50.", "it costs forty-two dollars and fifty cents"),
        ("Call me at 7:30 a.m. or after 9 p.m.", "Call me at 7.30am or after 9pm."),
        ("He lives at 221 Baker Street.", "he lives at two hundred twenty one baker street"),
        ("It weighs 3.5 kg.", "It weighs 3.5 kilograms"),
        ("It is 60 cm.", "it is sixty centimetres"),
        ("He paid 15% more.", "He paid fifteen percent more."),
        ("On May 3rd it closed.", "On May 3 it closed"),
        ("Dr. Smith isn't here.", "Doctor Smith is not here"),
        ("There are 1,665 steps.", "there are 1665 steps"),
        ("She has a P H D.", "She has a Ph.D."),
        ("We met at nine a m.", "We met at 9am."),
        ("He moved back to the U S.", "He moved back to the US."),
        ("My new T V has a U S B port.", "my new TV has a USB port"),
        ("The F B I called.", "the FBI called."),
        ("One, two, three, four, five.", "1-2-3-4-5."),
        ("One, two, three, four, five.", "1, 2, 3, 4, 5"),
        ("Call five five five, one two three, four five six seven.", "Call 555-123-4567."),
        ("Our shop is open twenty four seven.", "Our shop is open 24-7."),
        ("On December twenty fourth it rained.", "on December 24th, it rained"),
        ("It begins on February third.", "It begins on February 3."),
        ("Visit W W W dot example dot com.", "Visit www.example.com."),
        ("Write to info at example dot org.", "Write to info@example.org"),
        ("He writes in dot net.", "He writes in .NET."),
        ("Call zero eight zero zero, one two three.", "Call 0800 123."),
        ("He is six foot two.", "He is 6'2\"."),
        ("It was minus five dollars.", "It was -$5."),
        ("The dose is point five grams.", "The dose is 0.5 grams."),
        ("It was minus five dollars.", "it was minus $5"),
        ("Henry the eighth had six wives.", "Henry VIII had six wives."),
        ("They sell nuts, et cetera.", "They sell nuts, etc."),
        ("My brother (the older one) lives here.", "My brother, the older one, lives here."),
        ("My brother (the older one) lives here.", "My brother (the older one) lives here."),
        ("Read [chapter 2] <now> {please}.", "read chapter two now please"),
        ("Hello there.", "[BLANK_AUDIO] Hello there. (laughing)"),
    ],
)
def test_notation_is_no_mistake(written: str, heard: str) -> None:
    assert count_mistakes(written, heard).word_edits == 0, (normalise(written), normalise(heard))


@pytest.mark.parametrize(
    ("written", "heard", "edits"),
    [
        ("They know it.", "they know", 1),
        ("It costs $42.50.", "it costs $42.60", 1),
        ("Call me at 7:30 a.m.", "call me at 7:30 p.m.", 1),
        ("It weighs 3.5 kg.", "It weighs 3.5 km", 1),
        ("My T V has a U S B port.", "My TV has USB port.", 1),
        ("One, two, three.", "One, three.", 1),
        ("It was minus five dollars.", "It was five dollars.", 1),
        ("Call zero eight zero zero.", "Call 800.", 1),
        ("Visit example dot com.", "Visit example dot org.", 1),
        ("My brother (the older one) lives here.", "My brother lives here.", 3),
        ("See [the docs](/api) first.", "See first.", 3),
        ("(Laughing.)", "", 1),
    ],
)
def test_mistakes_are_counted(written: str, heard: str, edits: int) -> None:
    mistakes = count_mistakes(written, heard)
    assert mistakes.word_edits == edits
    assert mistakes.word_error_rate == edits / mistakes.words
    assert mistakes.character_edits >= edits


def test_a_reference_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="holds no words"):
        count_mistakes("…", "")


def test_answers_are_kept_by_judge_and_audio(tmp_path: Path) -> None:
    asked: list[float] = []

    def ask(audio: Audio) -> float:
        asked.append(float(audio[0]))
        return asked[-1]

    one, two = np.ones(5, np.float32), np.full(5, 2.0, np.float32)
    path = tmp_path / "judged.jsonl"
    for _ in range(2):
        cache = JudgeCache(path)
        assert cache.answer("a 1", one, ask) == 1.0
        assert cache.answer("a 1", two, ask) == 2.0
    assert asked == [1.0, 2.0]
    JudgeCache(path).answer("a 2", one, ask)
    assert asked == [1.0, 2.0, 1.0]
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")  # cut while writing
    JudgeCache(path).answer("a 2", one, ask)
    assert asked == [1.0, 2.0, 1.0, 1.0]
    assert JudgeCache(path).answer("a 2", one, ask) == 1.0
    assert len(asked) == 4


def test_answers_with_other_line_ends_are_kept(tmp_path: Path) -> None:
    path, audio = tmp_path / "judged.jsonl", np.ones(5, np.float32)
    assert JudgeCache(path).answer("a 1", audio, lambda _: "One.\u2028Two.\x85") is not None
    assert JudgeCache(path).answer("a 1", audio, lambda _: "asked again") == "One.\u2028Two.\x85"
