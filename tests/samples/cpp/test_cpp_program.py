"""The C++ program: it speaks as Python does, to the sample, and refuses what it cannot do."""

from __future__ import annotations

import re
import shutil
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime import TTS, Sampling
from runtime.audio.sound import to_pcm16
from runtime.speech.schedule import soon_heard

ROOT = Path(__file__).parents[3]
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
TEXT = "They know it."
MAX_STEPS = 40

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def compile_program(output: Path, sources: Sequence[Path], *flags: str) -> None:
    folders = (ROOT / "native/include", ROOT / "native/engine")
    command = [str(COMPILER), "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{folder}" for folder in folders] + [str(source) for source in sources]
    done = subprocess.run([*command, *flags, "-o", str(output)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def speak(native_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("cpp") / "speak"
    sources = sorted((ROOT / "samples/cpp").glob("*.cpp"))
    folder = native_library.parent
    libraries = (f"-L{folder}", "-lslm", f"-Wl,-rpath,{folder}")
    compile_program(program, [*sources, ROOT / "native/engine/weights/json.cpp"], *libraries)
    return program


@pytest.fixture(scope="module")
def tts(tiny_native_engine: Path) -> TTS:
    return TTS.load(tiny_native_engine, threads=1)


def run(speak: Path, *words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(speak), *map(str, words)], capture_output=True)


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_the_same_samples_as_python(
    speak: Path, tts: TTS, tiny_native_engine: Path, tmp_path: Path, seed: int
) -> None:
    spoken = tts.synthesize(TEXT, sampling=Sampling(seed=seed), max_steps=MAX_STEPS)
    options = ("--seed", seed, "--max-steps", MAX_STEPS)
    raw = run(speak, tiny_native_engine, TEXT, *options)
    assert raw.returncode == 0, raw.stderr.decode()
    assert len(raw.stdout) > 0
    assert raw.stdout == to_pcm16(spoken.audio)
    file = tmp_path / "speech.wav"
    assert run(speak, tiny_native_engine, TEXT, *options, "-o", file).returncode == 0
    with wave.open(str(file)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (tts.sample_rate, 1)
        assert sound.readframes(sound.getnframes()) == raw.stdout


def test_settings_are_those_of_python(speak: Path, tts: TTS, tiny_native_engine: Path) -> None:
    settings = Sampling(temperature=0.8, top_k=9, top_p=0.7, repetition_penalty=1.3, seed=3)
    spoken = tts.synthesize(TEXT, sampling=settings, max_steps=MAX_STEPS)
    drawn = ("--temperature", 0.8, "--top-k", 9, "--top-p", 0.7, "--repetition-penalty", 1.3)
    said = run(speak, tiny_native_engine, TEXT, *drawn, "--seed", 3, "--max-steps", MAX_STEPS)
    assert said.stdout == to_pcm16(spoken.audio)
    greedy = tts.synthesize(TEXT, sampling=Sampling(do_sample=False), max_steps=MAX_STEPS)
    said = run(speak, tiny_native_engine, TEXT, "--greedy", "--max-steps", MAX_STEPS)
    assert said.stdout == to_pcm16(greedy.audio)


def test_tokens_are_those_of_python(speak: Path, tts: TTS, tiny_native_engine: Path) -> None:
    said = run(speak, tiny_native_engine, TEXT, "--print-tokens").stdout.split()
    ids = [int(word) for word in said]
    assert tuple(ids) == tts.prompts.read(TEXT).ids
    options = ("--seed", 1, "--max-steps", 9)
    given = run(speak, tiny_native_engine, "--tokens", ",".join(map(str, ids)), *options)
    assert given.stdout == run(speak, tiny_native_engine, TEXT, *options).stdout


def test_the_length_bound_is_that_of_python(
    speak: Path, tts: TTS, tiny_native_engine: Path
) -> None:
    spoken = tts.synthesize(TEXT, sampling=Sampling(seed=5))
    said = run(speak, tiny_native_engine, TEXT, "--seed", 5)
    assert said.stdout == to_pcm16(spoken.audio)
    assert (b"was cut" in said.stderr) != spoken.finished


@pytest.mark.parametrize(("seed", "is_long"), [(0, True), (1, False)])
def test_hastened_speech_is_that_of_python(
    speak: Path, tts: TTS, tiny_native_engine: Path, seed: int, is_long: bool
) -> None:
    """Short speech ends before the first chunk has to be estimated."""
    codec, sampling = tts.bundle.manifest.codec, Sampling(seed=seed)
    exact = to_pcm16(tts.synthesize(TEXT, sampling=sampling).audio)
    for look_ahead in (0, 2, codec.delay_frames):
        schedule = soon_heard(codec, look_ahead)
        chunks = [*tts.stream(TEXT, sampling=sampling, schedule=schedule)]
        said = run(speak, tiny_native_engine, TEXT, "--seed", seed, "--look-ahead", look_ahead)
        assert said.stdout == b"".join(to_pcm16(chunk.audio) for chunk in chunks)
        assert (said.stdout != exact) == (is_long and look_ahead < codec.delay_frames)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{bundle}"], "give a bundle, and a text"),
        (["{bundle}", "x", "--seed", "-1"], "whole number of 0 or more"),
        (["{bundle}", "x", "--greedy", "--top-k", "5"], "--greedy draws nothing"),
        (["{bundle}", "x", "--voice", "nobody"], "the bundle has no voice 'nobody'"),
        (["{bundle}", "x", "--volume", "11"], "there is no option --volume"),
        (["{bundle}", "x", "--look-ahead", "-1"], "whole number of 0 or more"),
        (["{bundle}", "x", "--look-ahead", "2147483648"], "whole number of 0 or more"),
        (["{bundle}", "x", "--look-ahead", "500"], "--look-ahead 500: this codec's audio depends"),
        (["{bundle}", "x", "--look-ahead", "2", "-o", "x.wav"], "--look-ahead is for listeners"),
        (["{bundle}", "--tokens", "1,,2"], "whole number"),
        (["{bundle}", "--tokens", "999999999"], "token 999999999 is not in"),
        (["nowhere", "x"], "nowhere/manifest.json"),
    ],
)
def test_refusals(speak: Path, tiny_native_engine: Path, words: list[str], message: str) -> None:
    said = run(speak, *(word.format(bundle=tiny_native_engine) for word in words))
    assert (said.returncode, said.stdout) == (2, b"")
    assert message in said.stderr.decode()


def test_a_library_of_another_interface_is_refused(
    speak: Path, tiny_native_engine: Path, tmp_path: Path
) -> None:
    """Its functions are there, but nothing beside its number is asked for: they would fail."""
    header = (ROOT / "native/include/slm.h").read_text(encoding="utf-8")
    functions = set(re.findall(r"^SLM_API [^(;]*?(slm_\w+)\(", header, re.MULTILINE))
    assert len(functions) > 20
    bodies = dict.fromkeys(functions, "__builtin_trap();") | {"slm_interface": "return 2;"}
    lines = [f'extern "C" int {name}() {{ {body} }}' for name, body in bodies.items()]
    source, library = tmp_path / "other.cpp", tmp_path / "libslm.so"
    source.write_text("\n".join(lines), encoding="utf-8")
    compile_program(library, [source], "-shared", "-fPIC")
    words = [str(speak), str(tiny_native_engine), TEXT]
    environment = {"LD_LIBRARY_PATH": str(tmp_path)}
    said = subprocess.run(words, capture_output=True, text=True, env=environment)
    message = "error: the library has interface 2, and this program needs 1; build both again\n"
    assert (said.returncode, said.stderr) == (2, message)
