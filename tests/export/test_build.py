"""`python -m export.build --target onnxruntime`: what it leaves, and what it refuses."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from commands.errors import UserError
from export import emulate, sources
from export import target as targets
from export.build import main
from export.checks import check
from export.graph.model_graph import ModelGraph
from export.graph.onnxruntime_version import check_onnxruntime
from export.graph.runner import GraphRunner
from export.options import ExportOptions, Source
from export.pipeline import build_bundle
from formats.speaker_files import SPEAKER_TENSOR
from runtime.bundle import names
from runtime.bundle.loading import load_bundle
from runtime.bundle.manifest import Range, SamplingDefaults
from runtime.speech.synthesis import TTS
from tests.speech_like import speak
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

ROOT = Path(__file__).parent.parent.parent
COMPARISON = ("compute in PyTorch", "compare language model", "compare codec")
SPEAKER = np.linspace(-1, 1, 256, dtype=np.float32)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A codec, models and voices that all fit together."""
    folder = tmp_path_factory.mktemp("inputs")
    make_codec_checkpoint(folder / "codec")
    make_lm_checkpoint(folder / "three", heads=3, streams=TINY_STREAMS)
    make_lm_checkpoint(
        folder / "six", heads=6, head_kind="mlp", speaker_aware=True, streams=TINY_STREAMS
    )
    make_lm_checkpoint(folder / "ntp", heads=1, streams=TINY_STREAMS)
    make_lm_checkpoint(folder / "plain", plain=True, streams=TINY_STREAMS)
    make_lm_checkpoint(folder / "half", heads=3, dtype="float16", streams=TINY_STREAMS)
    make_lm_checkpoint(folder / "endless", heads=3, end_bias=-100.0, streams=TINY_STREAMS)
    save_file({"speaker": SPEAKER}, folder / "ben.safetensors")
    save_file({"embedding": SPEAKER[None][0]}, folder / "unnamed.safetensors")
    soundfile.write(folder / "anna.wav", np.stack([speak(rate_hz=22_050)] * 2, axis=1), 22_050)
    soundfile.write(folder / "quiet.wav", np.pad(0.1 * speak(rate_hz=22_050), 40_000), 22_050)
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "engine"


@pytest.fixture(autouse=True)
def _without_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests but one are about something else."""
    monkeypatch.setattr(check, "parity_is_possible", lambda: False)


def build(inputs: Path, output: Path, model: str, *more: str | Path) -> int:
    if "portable" in more:
        check_onnxruntime()
    output.parent.mkdir(exist_ok=True)
    source = ["--model", inputs / model, "--codec", inputs / "codec"]
    arguments = ["--target", "onnxruntime", *source, "--output", output, *more]
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], output: Path, status: int, *words: str) -> None:
    """One line on stderr with all of `words`, status 2, and nothing left behind."""
    message = capsys.readouterr().err
    assert status == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert list(output.parent.iterdir()) == []


# What is written.


@pytest.mark.parametrize(
    ("model", "graphs"),
    [
        ("three", {"backbone", "mtp_head", "codec_decoder", "codec_encoder"}),
        (
            "six",
            {"backbone", "mtp_head", "speaker_projection", "codec_decoder", "codec_encoder"},
        ),
        ("ntp", {"backbone", "ntp_head", "codec_decoder", "codec_encoder"}),
        ("plain", {"backbone", "ntp_head", "codec_decoder", "codec_encoder"}),
    ],
)
@pytest.mark.parametrize("dialect", ["ort", "portable", "basic"])
def test_every_kind_of_model(
    inputs: Path, output: Path, model: str, graphs: set[str], dialect: str
) -> None:
    assert build(inputs, output, model, "--dialect", dialect) == 0
    manifest = load_bundle(output).manifest
    assert manifest.graphs.keys() == graphs
    assert manifest.engine.dialect == dialect
    assert manifest.voices == {}
    assert manifest.default_voice is None
    assert all(one.measured <= one.limit for one in manifest.checks)
    assert sorted(path.name for path in output.parent.iterdir()) == ["engine"]


def test_the_manifest_describes_the_model(inputs: Path, output: Path) -> None:
    assert build(inputs, output, "six", "--heads", "6", "--max-positions", "300") == 0
    manifest = load_bundle(output).manifest
    model = manifest.language_model
    assert (model.kind, model.heads, model.head_kind) == ("mtp", 6, "mlp")
    assert (model.hidden_size, model.layers, model.kv_heads, model.head_dim) == (64, 3, 2, 16)
    assert (model.max_positions, model.speaker_aware) == (300, True)
    assert manifest.prompt.template.endswith("<sosp>")
    assert "<|placeholder|>" in manifest.prompt.template
    tokenizer = json.loads((output / "tokenizer.json").read_text(encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    assert manifest.prompt.placeholder_id == ids["<|placeholder|>"]
    assert manifest.prompt.bos_id == ids["<|im_start|>"]
    assert manifest.codec.hop_samples == 10
    assert manifest.codec.delay_frames == 32
    assert manifest.sampling == SamplingDefaults()
    assert {"python", "onnxruntime", "onnx-ir"} <= manifest.built_with.keys()


def test_a_model_can_say_how_it_is_best_sampled(inputs: Path, output: Path, tmp_path: Path) -> None:
    model = shutil.copytree(inputs / "three", tmp_path / "three")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"sampling": {"top_p": 0.4}}))
    options = ExportOptions(Source(model, inputs / "codec"), output=tmp_path / "engine")
    assert build_bundle(options).sampling == SamplingDefaults(top_p=0.4)


@pytest.mark.parametrize(("model", "dtype"), [("three", "<f4"), ("half", "<f2")])
def test_embeddings_are_those_of_the_checkpoint(
    inputs: Path, output: Path, model: str, dtype: str
) -> None:
    assert build(inputs, output, model) == 0
    table = np.load(output / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    weights = load_file(inputs / model / "model.safetensors")
    assert table.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(table, weights["lm_model.model.embed_tokens.weight"])


def test_voices_from_recordings_and_tensors(inputs: Path, output: Path) -> None:
    voices = (f"anna={inputs / 'anna.wav'}", f"ben={inputs / 'ben.safetensors'}")
    unnamed = f"carl={inputs / 'unnamed.safetensors'}"
    assert build(inputs, output, "six", "--voice", *voices, "--voice", unnamed) == 0
    manifest = load_bundle(output).manifest
    assert list(manifest.voices) == ["anna", "ben", "carl"]
    assert manifest.default_voice == "anna"
    anna, ben, carl = (
        load_file(output / file)[SPEAKER_TENSOR] for file in manifest.voices.values()
    )
    np.testing.assert_array_equal(ben, SPEAKER)
    np.testing.assert_array_equal(carl, SPEAKER)
    assert anna.shape == (256,)
    assert np.isfinite(anna).all()
    assert anna.std() > 0


def test_silence_around_a_recording_does_not_change_the_voice(inputs: Path, output: Path) -> None:
    voices = [f"{name}={inputs / name}.wav" for name in ("anna", "quiet")]
    assert build(inputs, output, "six", "--voice", *voices) == 0
    files = load_bundle(output).manifest.voices.values()
    anna, quiet = (load_file(output / file)[SPEAKER_TENSOR] for file in files)
    assert np.linalg.norm(quiet - anna) < 0.02 * np.linalg.norm(anna)


def test_a_recording_without_speech(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = output.parent.parent / "noise.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal(20_000)
    soundfile.write(recording, noise, 16_000)
    status = build(inputs, output, "three", "--voice", f"anna={recording}")
    refused(capsys, output, status, "noise.wav", "holds no speech")


def test_the_text_head_is_there_when_asked_for(inputs: Path, output: Path) -> None:
    assert build(inputs, output, "three", "--text-head") == 0
    assert names.TEXT_HEAD in load_bundle(output).manifest.graphs


def test_parity_figures_are_printed_and_stored(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(check, "parity_is_possible", lambda: True)
    assert build(inputs, output, "six") == 0
    stored = {one.name for one in load_bundle(output).manifest.checks}
    printed = capsys.readouterr().out
    for name in ("backbone = PyTorch, 17 positions", "codec_decoder = PyTorch, 13 frames"):
        assert name in stored
        assert name in printed
    assert "not compared" not in printed


def test_a_missing_pytorch_is_said(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(inputs, output, "three") == 0
    assert "not compared with PyTorch" in capsys.readouterr().out


def test_the_comparison_can_be_left_out(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "parity_is_possible", lambda: True)
    assert build(inputs, output, "three", "--no-compare") == 0
    assert not [one for one in load_bundle(output).manifest.checks if "PyTorch" in one.name]
    printed = capsys.readouterr().out
    assert "check language model ..." in printed
    assert "compare language model" not in printed
    assert "not compared with PyTorch: --compare does it" in printed


def test_the_comparison_says_what_it_does(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(check, "parity_is_possible", lambda: True)
    assert build(inputs, output, "three") == 0
    printed = capsys.readouterr().out
    begun = [printed.index(f"{step} ...") for step in COMPARISON]
    assert begun == sorted(begun)
    for said in ("--no-compare leaves it out", "the demo's size", "at the published size"):
        assert printed.index(said) < begun[0]


def test_a_comparison_that_cannot_be_is_refused_before_any_work(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = build(inputs, output, "three", "--compare")
    refused(capsys, output, status, "--compare needs torch and transformers", "[export,train]")


def test_the_printed_command_speaks(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out" / "my 'own' engine"
    voice = inputs / "ben.safetensors"
    assert build(inputs, output, "three", "--voice", f"ben={voice}", "--text-head") == 0
    lines = capsys.readouterr().out.splitlines()
    monkeypatch.chdir(tmp_path)
    for begin, module, file in (("speak: ", "tts", "out.wav"), ("ask:   ", "chat", "answer.wav")):
        [command] = [line.removeprefix(begin) for line in lines if line.startswith(begin)]
        words = shlex.split(command)
        assert words[:5] == ["python", "-m", f"runtime.{module}", "--engine", str(output)]
        assert "--voice" not in words
        assert words[-1] == file
    speak = shlex.split(lines[-2].removeprefix("speak: "))
    subprocess.run([sys.executable, *speak[1:], "--max-steps", "3"], check=True)
    assert (tmp_path / "out.wav").is_file()


@pytest.mark.parametrize(
    ("dialect", "said"), [("portable", "not a calibration"), ("ort", "add --dialect portable")]
)
def test_a_codecs_calibration_is_looked_at_before_graphs_are_written(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], dialect: str, said: str
) -> None:
    scales = output.parent.parent
    options = ("--dialect", dialect, "--codec-calibration", scales)
    status = build(inputs, output, "three", *options)
    printed = capsys.readouterr()
    assert status == 2
    assert said in printed.err
    assert "write" not in printed.out


def rewrite_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"text_frontend": {"kind": "hibari", "language": "en-us"}}, "it reads phonemes"),
        ({"prompts": {"chat": "¿{question}[Assistant]{answer}<sosp>"}}, "has no symbol for ¿ of"),
        ({"prompts": {"chat": "[Human]{question}[Assistant]{answer}<sosp>"}}, None),
    ],
)
def test_a_model_that_cannot_have_learnt_to_write_is_told(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    why: str | None,
) -> None:
    model = output.parent.parent / "model"
    shutil.copytree(inputs / "three", model)
    rewrite_config(model, **changes)
    assert build(inputs, output, str(model)) == 0
    assert "--text-head" not in capsys.readouterr().out
    assert build(inputs, output, str(model), "--text-head") == 0
    printed = capsys.readouterr().out
    warnings = [line for line in printed.splitlines() if "--text-head is of no use" in line]
    assert len(warnings) == (why is not None)
    assert why is None or why in warnings[0]
    assert ("\nask:   " in printed) == (why is None)
    assert "\nspeak: " in printed


def test_the_printed_command_names_a_voice_where_there_is_none(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(inputs, output, "three", "--text-head") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].endswith("voices: none, so name a recording with --voice")
    for line in lines[-2:]:
        assert f"--engine {output} --voice RECORDING.wav " in line


def test_the_demo_voice_is_the_default(
    inputs: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = output.parent.parent / "demo_voice"
    for source, target in (("codec", "codec"), ("six", "6-heads"), ("three", "12-heads")):
        shutil.copytree(inputs / source, demo / target)
    (demo / "voices").mkdir()
    shutil.copy(inputs / "ben.safetensors", demo / "voices" / "ben.safetensors")
    monkeypatch.setattr(sources, "DEMO_VOICE", demo)
    output.parent.mkdir()
    assert main(["--target", "onnxruntime", "--heads", "6", "--output", str(output)]) == 0
    manifest = load_bundle(output).manifest
    assert manifest.language_model.heads == 6
    assert manifest.default_voice == "ben"


@pytest.mark.parametrize(("lacking", "kind"), [("", "native"), ("no compiler", "onnxruntime")])
def test_the_first_line_says_what_a_bundle_is_for(
    lacking: str,
    kind: str,
    inputs: Path,
    output: Path,
    native_library: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(targets, "_find_lacking", lambda: lacking)
    output.parent.mkdir()
    source = ["--model", inputs / "three", "--codec", inputs / "codec"]
    assert main([str(word) for word in (*source, "--output", output)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert load_bundle(output).manifest.engine.kind == kind
    assert first.startswith("for ONNX Runtime " if lacking else "for the native engine ")
    assert first.endswith(lacking or "(--target onnxruntime: for ONNX Runtime)")


def test_an_engine_is_replaced(inputs: Path, output: Path) -> None:
    assert build(inputs, output, "three") == 0
    assert build(inputs, output, "six") == 0
    assert load_bundle(output).manifest.language_model.heads == 6


# What is refused.


@pytest.mark.parametrize(
    ("model", "heads", "words"),
    [
        ("six", "3", ("has 6 heads, not 3", "--heads 6")),
        ("three", "1", ("has 3 heads, not 1",)),
        ("ntp", "12", ("next-token model (--heads 1), not 12",)),
    ],
)
def test_another_head_count(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    heads: str,
    words: tuple[str, ...],
) -> None:
    refused(capsys, output, build(inputs, output, model, "--heads", heads), *words)


def test_a_plugin_that_has_no_place_is_refused_at_once(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = build(inputs, output, "three", "--dialect", "basic", "--codec-activation", "plugin")
    printed = capsys.readouterr()
    assert status == 2
    assert "needs the portable dialect (TensorRT 10.15 or newer), not basic" in printed.err
    assert "write" not in printed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--voice", "anna"), ("write NAME=FILE",)),
        (("--voice", "../anna=anna.wav"), ("a name is letters",)),
        (("--voice", "anna=none.wav"), ("none.wav: not found",)),
        (("--voice", "a=1.wav", "a=2.wav"), ("two voices called a",)),
        (("--max-positions", "100000"), ("--max-positions is 128 to 2048",)),
        (("--max-positions", "3"), ("--max-positions is 128 to 2048",)),
    ],
)
def test_bad_arguments(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    refused(capsys, output, build(inputs, output, "three", *arguments), *words)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"speaker": SPEAKER[:7]}, ("[7]", "256 finite numbers")),
        ({"a": SPEAKER, "b": SPEAKER}, ("2 tensors",)),
        ({"speaker": np.arange(256)}, ("whole numbers", "type float")),
        ({"speaker": np.full(256, np.nan, np.float32)}, ("NaN",)),
    ],
)
def test_bad_voices(
    inputs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    tensors: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    voice = output.parent.parent / "voice.safetensors"
    save_file(tensors, voice)
    status = build(inputs, output, "three", "--voice", f"anna={voice}")
    refused(capsys, output, status, "voice.safetensors", *words)


def test_an_empty_recording(inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = output.parent.parent / "empty.wav"
    recording.touch()
    status = build(inputs, output, "three", "--voice", f"anna={recording}")
    refused(capsys, output, status, "empty.wav", "0 bytes")


def test_no_codec(inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output.parent.mkdir()
    words = ["--target", "onnxruntime", "--model", str(inputs / "three")]
    status = main([*words, "--output", str(output)])
    refused(capsys, output, status, "--codec DIR")


@pytest.mark.parametrize("option", ["--model", "--codec"])
def test_a_directory_that_is_not_there(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    status = build(inputs, output, "three", option, inputs / "nowhere")
    refused(capsys, output, status, "nowhere: no such directory", option)


def test_a_demo_voice_that_does_not_exist(
    output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = output.parent.parent / "demo_voice"
    (demo / "12-heads").mkdir(parents=True)
    monkeypatch.setattr(sources, "DEMO_VOICE", demo)
    output.parent.mkdir()
    words = ["--target", "onnxruntime", "--output", str(output)]
    refused(capsys, output, main([*words, "--heads", "9"]), "9 heads", "can be 12")
    shutil.rmtree(demo)
    refused(capsys, output, main(words), "clone the repository")


def broken(inputs: Path, output: Path, file: str, content: bytes | None) -> Path:
    """Copies of model and codec, one file of which is replaced, or removed."""
    folder = output.parent.parent / "broken"
    for name in ("codec", "three"):
        shutil.copytree(inputs / name, folder / name)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "file",
    [
        "three/config.json",
        "three/tokenizer.json",
        "three/model.safetensors",
        "codec/codec.json",
        "codec/codec.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage"])
def test_damaged_files(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], file: str, damage: str
) -> None:
    whole = (inputs / file).read_bytes()
    content = {
        "missing": None,
        "empty": b"",
        "truncated": whole[: len(whole) * 2 // 3],
        "garbage": b"\xff\x00garbage" * 20,
    }[damage]
    folder = broken(inputs, output, file, content)
    where = str(folder / Path(file).parent)
    refused(capsys, output, build(folder, output, "three"), where)


def test_a_hostile_pickle(inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    folder, mark = broken(inputs, output, "three/model.safetensors", None), output.parent / "ran"

    class Hostile:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(mark),)

    torch.save({"lm_model.model.norm.weight": Hostile()}, folder / "three" / "pytorch_model.bin")
    refused(capsys, output, build(folder, output, "three"), "pytorch_model.bin")


def test_a_checkpoint_without_speech_tokens(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = (inputs / "three" / "tokenizer.json").read_text(encoding="utf-8")
    content = tokenizer.replace('"<sosp>"', '"<other>"').encode()
    folder = broken(inputs, output, "three/tokenizer.json", content)
    refused(capsys, output, build(folder, output, "three"), "<sosp>")


def test_weights_that_are_not_finite(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but running the graphs can find these."""
    folder = broken(inputs, output, "codec/codec.json", (inputs / "codec/codec.json").read_bytes())
    weights = load_file(folder / "codec" / "codec.safetensors")
    weights["decoder.model.0.bias"][0] = np.nan
    save_file(weights, folder / "codec" / "codec.safetensors")
    status = build(folder, output, "three")
    refused(
        capsys, output, status, "fail their checks", "codec_decoder: values that are not finite"
    )


def test_a_codec_of_other_codebooks(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = output.parent.parent / "other"
    shutil.copytree(inputs / "three", folder / "three")
    make_codec_checkpoint(folder / "codec", codebook_size=512)
    refused(capsys, output, build(folder, output, "three"), "512, 512, 512 codes", "1024")


def test_a_codec_of_other_speakers(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = output.parent.parent / "other"
    shutil.copytree(inputs / "six", folder / "six")
    make_codec_checkpoint(folder / "codec", latent_channels=32)
    refused(capsys, output, build(folder, output, "six"), "32 channels", "256 (spk_emb_dim)")


def test_an_output_that_is_no_bundle(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output.mkdir(parents=True)
    (output / "thesis.txt").write_text("years of work")
    assert build(inputs, output, "three") == 2
    assert "is no bundle" in capsys.readouterr().err
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("failure", "status"),
    [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "No space left on device"), 2)],
)
@pytest.mark.parametrize("graph", ["backbone", "codec_encoder"])
def test_interrupted_exports_leave_the_old_engine(
    inputs: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    status: int,
    graph: str,
) -> None:
    assert build(inputs, output, "three") == 0
    before, save = (output / "manifest.json").read_bytes(), ModelGraph.save

    def failing(self: ModelGraph, folder: Path, rows: int) -> Any:
        if self.name == graph:
            raise failure
        return save(self, folder, rows)

    monkeypatch.setattr(ModelGraph, "save", failing)
    assert build(inputs, output, "six") == status
    assert (output / "manifest.json").read_bytes() == before
    assert [path.name for path in output.parent.iterdir()] == ["engine"]
    load_bundle(output)


def test_a_graph_that_disagrees_with_itself_is_refused(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = GraphRunner.run

    def noisy(self: GraphRunner, feeds: Any) -> Any:
        outputs = run(self, feeds)
        if names.AUDIO in outputs:
            outputs[names.AUDIO] = outputs[names.AUDIO] + 1e-3 * np.random.default_rng().random()
        return outputs

    monkeypatch.setattr(GraphRunner, "run", noisy)
    refused(capsys, output, build(inputs, output, "three"), "chunks of 7 against whole")


# The command.


def test_help_teaches_and_is_light() -> None:
    code = "import sys; from export.build import main\ntry: main(['--help'])\nfinally: \
print(sorted({'numpy', 'onnxruntime', 'onnx_ir', 'torch'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_an_unknown_option_has_status_2() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--no-such-option"])
    assert caught.value.code == 2


# Half precision.


@pytest.fixture
def half_engine(inputs: Path, output: Path, request: pytest.FixtureRequest) -> Path:
    """An engine in the precision that the test is parametrized with; no rounding makes it stop."""
    more = ("--dialect", "portable", "--precision", request.param, "--max-positions", "200")
    voice = ("--voice", f"ben={inputs / 'ben.safetensors'}")
    assert build(inputs, output, "endless", *more, *voice) == 0
    return output


@pytest.mark.parametrize("half_engine", ["fp16", "bf16"], indirect=True)
def test_half_precision_speaks_where_rounding_is_emulated(
    half_engine: Path, tmp_path: Path
) -> None:
    graphs = load_bundle(half_engine).manifest.graphs
    precision = graphs[names.BACKBONE].precision
    assert graphs[names.MTP_HEAD].precision == precision
    assert graphs[names.BACKBONE].profiles == {
        names.PREFILL: {names.ROWS: Range(1, 1, 16), names.POSITIONS: Range(1, 64, 200)},
        names.STEP: {names.ROWS: Range(1, 1, 16), names.POSITIONS: Range(1, 1, 1)},
    }
    assert emulate.main([str(half_engine), "--output", str(tmp_path / "emulated")]) == 0
    utterance = TTS.load(tmp_path / "emulated").synthesize("So.", max_steps=9)
    assert len(utterance.frames) == 9
    assert np.isfinite(utterance.audio).all()


@pytest.mark.parametrize("half_engine", ["bf16"], indirect=True)
def test_bfloat16_is_refused_on_the_cpu(half_engine: Path) -> None:
    with pytest.raises(UserError, match=r"no bfloat16 arithmetic on the CPU.*export.emulate"):
        TTS.load(half_engine)


def test_emulating_float32_is_refused(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(inputs, output, "three") == 0
    status = emulate.main([str(output), "--output", str(output.parent / "emulated")])
    assert status == 2
    assert "has no graph in half precision" in capsys.readouterr().err
    assert not (output.parent / "emulated").exists()


def test_emulating_packed_weights_is_refused(
    tiny_native_engine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert emulate.main([str(tiny_native_engine), "--output", str(tmp_path / "emulated")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    assert "is for native and holds no graphs; export the model again with --dialect" in message


def test_the_ort_dialect_refuses_half_precision(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = build(inputs, output, "three", "--precision", "fp16")
    refused(capsys, output, status, "ort dialect has no fp16", "--dialect")


@pytest.mark.parametrize(
    ("model", "fixed_capacity", "positions"),
    [("three", False, 2048), ("three", True, 512 + 800), ("six", True, 512 + 400)],
)
def test_fixed_caches_are_no_larger_than_speech_needs(
    inputs: Path, model: str, fixed_capacity: bool, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "USUAL_SECONDS", 0.5)  # 800 frames
    folders = sources.SourceFolders(inputs / model, inputs / "codec", {})
    opened = sources.open_sources(folders, fixed_capacity=fixed_capacity)
    assert opened.checkpoint.config.max_position_embeddings == positions


def test_the_source_of_plans_is_told_whatever_its_name() -> None:
    """The manifest is UTF-8; a checkpoint's folder need not be."""
    told = ExportOptions(Source(Path(os.fsdecode(b"caf\xe9")))).origin()
    assert told == r"--model 'caf\xe9'"
    assert msgspec.json.decode(msgspec.json.encode(told)) == told
