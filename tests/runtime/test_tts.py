"""`python -m runtime.tts`: files, streams, and one line for every mistake."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import TTS, Sampling, UserError
from runtime.audio.sound import to_pcm16
from runtime.bundle.names import NATIVE, TENSORRT, TENSORRT_RTX
from runtime.engines.choices import CHOICES, PROVIDERS
from runtime.text.text_argument import read_text_argument
from runtime.tts import main
from tests.runtime.tiny_bundle import Scenario, rewrite_manifest, write_bundle

TEXT = "They know it."


@pytest.fixture
def engine(plain_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The engine, from an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return plain_folder


def speak(engine: Path, *arguments: str) -> int:
    return main(["--engine", str(engine), "--threads", "1", *arguments])


def test_a_file_holds_what_synthesize_gives(
    engine: Path, tts: TTS, capsys: pytest.CaptureFixture[str]
) -> None:
    assert speak(engine, TEXT, "--greedy", "-o", "out.wav", "--frames-out", "frames.json") == 0
    speech = tts.synthesize(TEXT, sampling=Sampling(do_sample=False))
    samples, rate_hz = soundfile.read("out.wav", dtype="int16")
    assert rate_hz == 16_000
    assert np.abs(samples - np.frombuffer(to_pcm16(speech.audio), "<i2")).max() <= 1
    assert json.loads(Path("frames.json").read_text()) == speech.frames.tolist()
    assert sorted(os.listdir()) == ["frames.json", "out.wav"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "3 heads, fp32, ONNX Runtime" in printed.err
    assert "RTF" in printed.err


def test_every_setting_is_handed_on(engine: Path, tts: TTS) -> None:
    settings = "--temperature 0.5 --top-k 9 --top-p 0.9 --repetition-penalty 1.3 --seed 8"
    bound = ("--max-steps", "7", "--voice", "plain", "--frames-out", "frames.json")
    assert speak(engine, TEXT, *settings.split(), *bound) == 0
    sampling = Sampling(None, 0.5, 9, 0.9, 1.3, 8)
    speech = tts.synthesize(TEXT, sampling=sampling, max_steps=7)
    assert json.loads(Path("frames.json").read_text()) == speech.frames.tolist()


def test_a_cut_is_reported(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert speak(engine, TEXT, "--max-steps", "3", "-o", "out.wav") == 0
    assert "warning: the model did not stop by itself" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_text_from_a_file_and_from_standard_input(
    engine: Path, tts: TTS, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    content = (" Ünd\nit." + ending).encode()
    expected = tts.synthesize(" Ünd\nit.", sampling=Sampling(do_sample=False)).frames.tolist()
    Path("story.txt").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    for source in ("story.txt", "-"):
        assert speak(engine, source, "--greedy", "--frames-out", "frames.json") == 0
        assert json.loads(Path("frames.json").read_text()) == expected


@pytest.mark.parametrize("name", ["story.TXT", "book.md", "words", "two words.txt", "sub/a.b"])
def test_an_argument_that_names_a_file_is_read(engine: Path, name: str) -> None:
    Path("sub").mkdir()
    Path(name).write_text("They know it.\n", encoding="utf-8-sig")
    assert read_text_argument(name) == "They know it."


@pytest.mark.parametrize(
    "text",
    [
        "words",
        "I read it in story.txt.",
        "Yes, I read it in story.txt",
        "Open the file: it is called a.md",
        "Read this. Then a.md",
        "sub.",
        "a" * 90_000,
        "nul\0",
        "and/or",
        "txt",
    ],
)
def test_other_arguments_are_text(engine: Path, text: str) -> None:
    Path("sub").mkdir()
    assert read_text_argument(text) == text


@pytest.mark.parametrize("name", ["sub", ".", "..", "/", "sub/"])
def test_a_folder_is_not_spoken(engine: Path, name: str) -> None:
    Path("sub").mkdir()
    with pytest.raises(UserError, match="is a folder; name a text file"):
        read_text_argument(name)


@pytest.mark.parametrize("name", ["my story.txt", "My Book.MD", "sub dir/a b c d e.text", "a.txt"])
def test_a_missing_file_is_not_spoken(engine: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: no such text file"):
        read_text_argument(name)
    Path("sub dir").mkdir()
    Path(name).write_text("They know it.")
    assert read_text_argument(name) == "They know it."


@pytest.mark.parametrize(
    "content",
    [b"%PDF-1.4\nplain", b"RIFF\0\0" + 120_000 * b"\0", b"ab\0c", b"{\\rtf1 Hello}", b"PK\x03\x04"],
)
@pytest.mark.parametrize("name", ["book.pdf", "story.txt"])
def test_a_file_that_is_no_text_is_not_spoken(engine: Path, content: bytes, name: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: is not text"):
        read_text_argument(name)


def test_text_of_another_encoding_is_to_be_converted(engine: Path) -> None:
    Path("story.txt").write_bytes("They know it.".encode("utf-16"))
    with pytest.raises(UserError, match=r"story.txt: is not UTF-8 text; convert it"):
        read_text_argument("story.txt")


def test_colours_of_a_terminal_are_dropped(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = "\x1b]8;;http://a.b\x1b\\They\x1b]8;;\x07"
    text = f"\x1b[1;31m{link}\x1b[0m know \x1b[38:5:1mit\x1b[m."
    assert read_text_argument(text) == "They know it."
    Path("story.txt").write_text(text)
    assert read_text_argument("story.txt") == "They know it."
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert read_text_argument("-") == "They know it."
    assert read_text_argument("a\x1b[2Jb") == "a\x1b[2Jb"  # which moves text about, and is refused


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_read_whole_or_refused(engine: Path, mark: bytes) -> None:
    """The limit is the text's: neither a byte order mark nor the last line break counts."""
    for ending in (b"", b"\n", b"\r\n"):
        Path("long.txt").write_bytes(mark + b"a" * 100_000 + ending)
        assert read_text_argument("long.txt") == "a" * 100_000
    for more in (b"a", b"a\n", b"\r\na", b"\n\n", b"a" * 100_000):
        Path("long.txt").write_bytes(mark + b"a" * 100_000 + more)
        with pytest.raises(UserError, match=r"long.txt: the limit is 100000 bytes"):
            read_text_argument("long.txt")


def test_a_pipe_is_read(engine: Path) -> None:
    os.mkfifo("pipe")
    with subprocess.Popen(["sh", "-c", "echo They know it. > pipe"]):
        assert read_text_argument("pipe") == "They know it."


def test_what_cannot_be_read_is_told_once(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "One 世. Two 世."
    assert speak(engine, text, "--greedy", "-o", "out.wav") == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning.startswith("warning: this voice has no symbol for '世'")
    assert speak(engine, text, "--strict", "-o", "strict.wav") == 2
    assert "error: this voice has no symbol for '世'" in capsys.readouterr().err
    assert not Path("strict.wav").exists()


def test_raw_pcm_is_streamed(plain_folder: Path, tts: TTS) -> None:
    command = [sys.executable, "-m", "runtime.tts", "--engine", str(plain_folder), "--threads", "1"]
    done = subprocess.run([*command, TEXT, "--raw", "--seed", "3"], capture_output=True, check=True)
    speech = tts.synthesize(TEXT, sampling=Sampling(seed=3))
    samples = np.frombuffer(done.stdout, "<i2").astype(int)
    assert np.abs(samples - np.frombuffer(to_pcm16(speech.audio), "<i2")).max() <= 1


def test_a_reader_that_leaves_is_no_error(plain_folder: Path) -> None:
    command = (
        f"{sys.executable} -m runtime.tts --engine {plain_folder} --raw '{TEXT * 50}' | head -c 2"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert b"Traceback" not in done.stderr
    assert b"Error" not in done.stderr


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no output": ([TEXT], "give -o FILE.wav, --play or --raw"),
    "empty text": (["", "-o", "out.wav"], "the text is empty"),
    "spaces": ([" ", "-o", "out.wav"], "the text is empty"),
    "control character": (["a\x1b[2Jb", "-o", "out.wav"], "U+001B"),
    "greedy with a seed": (
        [TEXT, "--greedy", "--seed", "1", "-o", "out.wav"],
        "seed has no effect",
    ),
    "temperature": ([TEXT, "--temperature", "0", "-o", "out.wav"], "temperature is 0"),
    "format": ([TEXT, "-o", "out.mp3"], "out.mp3: only WAV files"),
    "no folder": ([TEXT, "-o", "no/out.wav"], "no folder no; make it first"),
    "frames without a folder": ([TEXT, "--frames-out", "no/f.json"], "no folder no"),
    "no such text": (["none.txt", "-o", "out.wav"], "none.txt: no such text file"),
    "no such book": (["book.MD", "-o", "out.wav"], "book.MD: no such text file"),
    "no text": (["zeros.txt", "-o", "out.wav"], "zeros.txt: is not text"),
    "nothing to read": (["你好", "-o", "out.wav"], "nothing in '你好' can be read"),
    "not UTF-8": (["latin.txt", "-o", "out.wav"], "latin.txt: is not UTF-8 text"),
    "too long": (["long.txt", "-o", "out.wav"], "limit is 100000"),
    "voice": ([TEXT, "--voice", "nobody", "-o", "out.wav"], "no voice nobody"),
    "recording of 0 bytes": ([TEXT, "--voice", "empty.wav", "-o", "out.wav"], "0 bytes"),
    "one file for two": (
        [TEXT, "-o", "out.wav", "--frames-out", "./out.wav"],
        "are the same file",
    ),
    "raw and play": ([TEXT, "--raw", "--play"], "cannot be used together"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(
    engine: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    Path("latin.txt").write_bytes("Grüße".encode("latin-1"))
    Path("long.txt").write_bytes(b"a" * 100_010)
    Path("zeros.txt").write_bytes(b"ab\0c")
    Path("empty.wav").touch()
    before = sorted(os.listdir())
    arguments, complaint = MISTAKES[name]
    assert speak(engine, *arguments) == 2
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if "ONNX Runtime" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert complaint in errors[0]
    assert printed.out == ""
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([TEXT, "--run-with", "tpu", "-o", "out.wav"], "'onnxruntime-cuda', "),
        ([TEXT, "--backend", "onnxruntime"], "--backend is now called --run-with"),
        ([TEXT, "--max-steps", "0", "-o", "out.wav"], "--max-steps: must be a whole number from 1"),
        (["--voice", "plain", "-o", "out.wav"], "nothing to say: give the text in quotes"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        speak(tmp_path / "no-engine", *arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_what_can_run_an_engine_is_listed_and_known() -> None:
    shown = " ".join(parser_help("runtime.tts").split())
    assert ("auto", *PROVIDERS, NATIVE, TENSORRT, TENSORRT_RTX) == CHOICES
    assert all(name in shown for name in CHOICES)


def parser_help(module: str) -> str:
    command = [sys.executable, "-m", module, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_voices_are_listed_the_default_first(
    engine: Path, tts: TTS, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voices = dict.fromkeys(("zoe", "anna", "ben"), "voices/plain.safetensors")
    copy = tmp_path / "engine"
    shutil.copytree(engine, copy)
    rewrite_manifest(copy, voices=voices, default_voice="ben")
    assert main(["--engine", str(copy), "--list-voices"]) == 0
    assert capsys.readouterr().out == "ben (default)\nanna\nzoe\n"
    assert TTS.load(copy, threads=1).voices == ("ben", "anna", "zoe")
    rewrite_manifest(copy, voices=voices, default_voice=None)
    assert main(["--engine", str(copy), "--list-voices"]) == 0
    assert capsys.readouterr().out == "anna\nben\nzoe\n"
    rewrite_manifest(copy, voices={}, default_voice=None)
    assert main(["--engine", str(copy), "--list-voices"]) == 0
    assert capsys.readouterr() == (
        "",
        f"{copy}: has no voices; give a recording with --voice FILE\n",
    )


def test_speech_saves_itself(tts: TTS, tmp_path: Path) -> None:
    speech = tts.synthesize(TEXT, sampling=Sampling(seed=1))
    speech.save(tmp_path / "out.wav")
    samples, rate_hz = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert rate_hz == tts.sample_rate
    assert samples.tobytes() == to_pcm16(speech.audio)
    with pytest.raises(UserError, match="only WAV files"):
        speech.save(tmp_path / "out.mp3")


def test_an_engine_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--engine", str(tmp_path), TEXT, "-o", str(tmp_path / "out.wav")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: not a bundle")


def test_a_full_disk_is_one_line(
    engine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", fail)
    assert speak(engine, TEXT, "-o", "out.wav") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: No space left on device")
    assert os.listdir() == []


# Playing: a small program stands in for the player.


def install_player(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "aplay"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    tools = folder / "tools"
    tools.mkdir()
    for tool in ("cat", "sh"):
        (tools / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", f"{folder}:{tools}")


def test_playing_hands_pcm_to_the_player(
    engine: Path, tts: TTS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_player(tmp_path, monkeypatch, 'echo "$@" > options; cat > heard')
    assert speak(engine, TEXT, "--play", "--seed", "3") == 0
    heard = np.frombuffer((tmp_path / "heard").read_bytes(), "<i2").astype(int)
    audio = tts.synthesize(TEXT, sampling=Sampling(seed=3)).audio
    pcm = np.frombuffer(to_pcm16(audio), "<i2")
    assert np.abs(heard[: len(pcm)] - pcm).max() <= 1
    assert not heard[len(pcm) :].any(), "only silence follows"
    assert "-r 16000" in (tmp_path / "options").read_text()


def test_a_player_that_fails_is_one_line(
    engine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install_player(tmp_path, monkeypatch, "cat > /dev/null; echo no sound card >&2; exit 1")
    assert speak(engine, TEXT, "--play") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: aplay failed: no sound card"


def test_no_player_is_one_line(
    engine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert speak(engine, TEXT, "--play") == 2
    [line] = capsys.readouterr().err.splitlines()  # nothing was loaded for it
    assert "nothing here can play audio" in line


INTERRUPT = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
SWALLOWED = """\
try:
    import os, signal, time
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)
except KeyboardInterrupt:
    raise ImportError("numpy's core cannot be imported")
"""


@pytest.mark.parametrize("module", ["tts", "chat", "profile"])
@pytest.mark.parametrize(
    ("imported", "content"), [("secrets", INTERRUPT), ("numpy", INTERRUPT), ("numpy", SWALLOWED)]
)
def test_ctrl_c_during_imports_is_one_word(
    plain_folder: Path, tmp_path: Path, module: str, imported: str, content: str
) -> None:
    """Before the command begins (secrets), and in it (numpy, which makes other errors of it)."""
    (tmp_path / f"{imported}.py").write_text(content)
    command = [sys.executable, "-m", f"runtime.{module}", "--engine", str(plain_folder)]
    words = {"tts": [TEXT, "-o", str(tmp_path / "out.wav")], "chat": ["--question", "Who?"]}
    done = subprocess.run(
        [*command, *words.get(module, [])],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    scenario = Scenario(codes_a=range(900), frames_per_token=100.0)
    folder = write_bundle(tmp_path / "engine", scenario)
    output = str(tmp_path / "out.wav")
    command = [sys.executable, "-m", "runtime.tts", "--engine", str(folder), "-o", output]
    text = "Abcdefgh ij. " * 7_000
    process = subprocess.Popen(
        [*command, text],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs lack it
    )
    assert process.stderr is not None
    assert "ONNX Runtime" in process.stderr.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read().splitlines()[-1] == "interrupted"
    assert os.listdir(tmp_path) == ["engine"]
