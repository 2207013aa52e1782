"""The command: systems in, reports out, with judges that cost nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from commands.run import EXIT_TIME_IS_UP, EXIT_USER_ERROR
from evaluation import speech as evaluate
from evaluation.sentences import (
    DEFAULT_QUESTIONS,
    DEFAULT_SENTENCES,
    describe_file,
    read_sentences,
)
from tests.conftest import SENTENCES
from tests.tiny_judges import Parrot, use_tiny_judges


@pytest.fixture
def judges(monkeypatch: pytest.MonkeyPatch) -> type[Parrot]:
    """Judges that answer at once."""
    return use_tiny_judges(monkeypatch, "whisper")


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join(["# a comment", *SENTENCES, ""]), encoding="utf-8")
    return file


@pytest.fixture
def references(tmp_path: Path, recordings: Path) -> Path:
    folder = tmp_path / "references"
    for name in ("anna", "ben"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.wav").write_bytes((recordings / "1.wav").read_bytes())
    return folder


def run(*arguments: object) -> None:
    assert evaluate.main(["--recogniser", "whisper", *map(str, arguments)]) == 0


def test_everything_at_once(
    tmp_path: Path,
    tiny_engine: Path,
    recordings: Path,
    sentences: Path,
    references: Path,
    judges: type[Parrot],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "evaluation"
    arguments = (
        *("--engine", f"tiny={tiny_engine}", "--voice", "all", "--codec", f"codec={tiny_engine}"),
        *("--wavs", f"teacher={recordings}", "--wavs", f"ben={recordings}"),
        *("--sentences", sentences, "--limit", 2),
        *("--references", references, "--output", output, "--worst", 1, "--spectrograms", 2),
    )
    run(*arguments)
    report = json.loads((output / "report.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in report["systems"]] == [
        "teacher",
        "ben",
        "teacher through codec",
        "ben through codec",
        "tiny",
    ]
    assert report["judges"]["whisper"] == "parrot 1"
    teacher, _, copy, _, tiny = report["systems"]
    assert teacher["sentences"] == 2
    assert teacher["word_error_rate"]["whisper"] == pytest.approx(5 / 8)  # one right, one all wrong
    assert teacher["steps_per_second_of_audio"] is None
    assert copy["verdicts"][1]["seconds"] == pytest.approx(
        teacher["verdicts"][1]["seconds"], abs=0.02
    )
    assert tiny["steps_per_second_of_audio"] > 0
    assert tiny["voice"] == "anna"
    matrix, ceiling = report["speaker_matrices"]
    assert matrix["voices"] == ["anna"]
    assert matrix["speakers"] == ceiling["speakers"] == ["anna", "ben"]
    assert (ceiling["engine"], ceiling["voices"]) == ("recordings", ["ben"])
    for file in ("report.md", "report.png", "speakers-tiny.png", "worst/teacher/001.wav"):
        assert (output / file).is_file(), file
    assert (output / "spectrograms/tiny/001.png").is_file()
    assert not (output / "spectrograms/tiny/002.png").exists()
    assert capsys.readouterr().out == (output / "report.md").read_text(encoding="utf-8")
    asked = judges.asked
    run(*arguments)
    assert judges.asked == asked  # nothing new was said


def test_a_bundle_that_decodes_greedily(
    tmp_path: Path, tiny_engine: Path, sentences: Path, judges: type[Parrot]
) -> None:
    engine, output = tmp_path / "engine", tmp_path / "evaluation"
    shutil.copytree(tiny_engine, engine)
    manifest = json.loads((engine / "manifest.json").read_text(encoding="utf-8"))
    manifest["sampling"] |= {"do_sample": False}
    (engine / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    run("--engine", engine, "--sentences", sentences, "--limit", 1, "--output", output)
    (system,) = json.loads((output / "report.json").read_text(encoding="utf-8"))["systems"]
    assert system["sentences"] == 1


def test_other_seeds_are_other_draws(
    tmp_path: Path, tiny_engine: Path, sentences: Path, judges: type[Parrot]
) -> None:
    def heard(first_seed: int) -> set[str]:
        output = tmp_path / f"from-{first_seed}"
        run(
            *("--engine", tiny_engine, "--sentences", sentences, "--limit", 1),
            *("--first-seed", first_seed, "--output", output),
        )
        report = json.loads((output / "report.json").read_text(encoding="utf-8"))
        assert report["first_seed"] == first_seed
        lines = (output / "judged.jsonl").read_text(encoding="utf-8").splitlines()
        return {json.loads(line)["audio"] for line in lines}

    assert heard(0) != heard(7)


def test_an_interrupted_run_goes_on(
    tmp_path: Path,
    recordings: Path,
    sentences: Path,
    judges: type[Parrot],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ("--wavs", recordings, "--sentences", sentences, "--output", tmp_path / "out")
    with monkeypatch.context() as patch:
        listen = Parrot.transcribe

        def stop_at_third(self: Parrot, audio: NDArray[np.float32]) -> str:
            if Parrot.asked == 2:
                raise KeyboardInterrupt
            return listen(self, audio)

        patch.setattr(Parrot, "transcribe", stop_at_third)
        assert evaluate.main(["--recogniser", "whisper", *map(str, arguments)]) == 130
    assert judges.asked == 2
    run(*arguments)
    assert judges.asked == 3


def test_without_a_recogniser(
    tmp_path: Path, recordings: Path, sentences: Path, judges: type[Parrot]
) -> None:
    arguments = ["--wavs", recordings, "--sentences", sentences, "--output", tmp_path / "out"]
    assert evaluate.main(["--recogniser", "none", *map(str, arguments)]) == 0
    table = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "WER" not in table
    assert "| 3.00 | 3.60 |" in table
    assert judges.asked == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "--engine DIR or --wavs DIR"),
        (["--engine", "nowhere"], "no such directory"),
        (["--engine", "{engine}", "--sentences", "nowhere.txt"], "no such file of sentences"),
        (["--engine", "{engine}", "--voice", "carl"], "no voice carl; it has anna"),
        (["--engine", "{engine}", "--codec", "{engine}"], "--wavs DIR"),
        (["--engine", "{engine}", "--trim-silence"], "--wavs DIR"),
        (["--wavs", "{recordings}", "--voice", "anna"], "--engine DIR"),
        (["--wavs", "{recordings}", "--references", "nowhere"], "--references DIR"),
        (["--wavs", "{recordings}"], "no recording of 50 of the sentences"),
        (["--engine", "{engine}", "--engine", "{engine}"], "NAME=DIR"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    told: str,
    tiny_engine: Path,
    recordings: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [text.format(engine=tiny_engine, recordings=recordings) for text in arguments]
    assert evaluate.main(given) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert told in error


@pytest.mark.parametrize("option", ["--limit", "--threads", "--first-seed"])
def test_counts_begin_at_one_and_seeds_at_zero(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    least = 0 if option == "--first-seed" else 1
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["--wavs", "recordings", option, str(least - 1)])
    assert f"must be a whole number from {least}" in capsys.readouterr().err


def test_an_interruption_keeps_what_the_judges_said(
    tmp_path: Path,
    recordings: Path,
    sentences: Path,
    judges: type[Parrot],
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--wavs", str(recordings), "--sentences", str(sentences), "--limit", "2"]
    words += ["--output", str(tmp_path / "out"), "--recogniser", "whisper"]
    for asked in (1, 1):  # the first sentence is judged again from what is kept
        assert evaluate.main([*words, "--max-minutes", "1e-9"]) == EXIT_TIME_IS_UP
        assert judges.asked == asked
    said = capsys.readouterr().err
    assert "judged.jsonl keeps what the judges said; go on with: python -m evaluation" in said
    assert not (tmp_path / "out" / "report.md").exists()
    assert evaluate.main(words) == 0
    assert judges.asked == 2


def test_a_voice_needs_its_speaker(
    tmp_path: Path,
    tiny_engine: Path,
    sentences: Path,
    references: Path,
    judges: type[Parrot],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (references / "anna").rename(references / "carl")
    arguments = ["--engine", tiny_engine, "--voice", "anna", "--references", references]
    arguments += ["--sentences", sentences, "--output", tmp_path / "out"]
    assert evaluate.main([*map(str, arguments)]) == EXIT_USER_ERROR
    assert "there are folders for ben, carl" in capsys.readouterr().err
    assert judges.asked == 0


def test_the_sentences_of_a_clone_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports name them from the clone's root on."""
    monkeypatch.chdir(tmp_path)
    assert len(read_sentences(DEFAULT_SENTENCES)) == 50
    assert describe_file(DEFAULT_SENTENCES) == "samples/evaluation/everyday.txt"
    assert describe_file(Path("list.txt")) == "list.txt"
    assert DEFAULT_QUESTIONS.is_file()
