"""`python -m export.build --target native`: what it leaves, how it is checked, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file, save_file

from calibration.codec_decoder import CodecDecoder
from calibration.language_model import LanguageModel
from calibration.methods.quantize import Recipe as CalibrationRecipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from commands.errors import UserError
from export.build import main
from export.native import comparison
from export.native.matrix import Matrix
from export.sources import SourceFolders, open_sources
from formats.weights import Array
from runtime.bundle import names
from runtime.bundle.loading import load_bundle
from runtime.engines.native.model import NativeModel
from tests.calibration.recorded import write_tokens
from tests.export.lm_exports import Recipe, tiny_checkpoint
from tests.export.native.packed import read_packed
from tests.speech_like import speak
from tests.tiny_codec import (
    OTHER_STREAMS,
    TINY_STREAMS,
    make_codec_checkpoint,
    make_other_codec_checkpoint,
)

pytestmark = pytest.mark.usefixtures("native_library")

KINDS = [
    (Recipe(3, dtype="bfloat16", streams=TINY_STREAMS), "mtp_head"),
    (Recipe(6, "mlp", speaker_aware=True, pad_bias=2.0, streams=TINY_STREAMS), "mtp_head"),
    (Recipe(6, "transformer", speaker_aware=True, streams=TINY_STREAMS), "mtp_head"),
    (Recipe(1, likely_end=4.0, streams=TINY_STREAMS), "ntp_head"),
    (Recipe(plain=True, streams=TINY_STREAMS), "ntp_head"),
    (Recipe(8, streams=OTHER_STREAMS), "mtp_head"),
    (Recipe(1, streams=OTHER_STREAMS), "ntp_head"),
]
FEW_BITS = KINDS[2][0]
SPEAKER = np.linspace(-1, 1, 256, dtype=np.float32)


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two codecs: "facodec" and "other"."""
    folder = tmp_path_factory.mktemp("codecs")
    make_codec_checkpoint(folder / "facodec")
    make_other_codec_checkpoint(folder / "other")
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out" / "engine"


def build(recipe: Recipe, codecs: Path, output: Path, *more: str | Path) -> int:
    output.parent.mkdir(exist_ok=True)
    codec = codecs / ("other" if recipe.streams == OTHER_STREAMS else "facodec")
    source = ["--model", tiny_checkpoint(recipe), "--codec", codec]
    return main([str(a) for a in ("--target", "native", *source, "--output", output, *more)])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("recipe", "head"), KINDS, ids=str)
def test_every_kind_of_model(
    recipe: Recipe, head: str, precision: str, codecs: Path, output: Path
) -> None:
    formats = ("--precision", precision, "--codec-precision", precision)
    assert build(recipe, codecs, output, *formats, "--text-head") == 0
    manifest = load_bundle(output).manifest
    optional = {"speaker_projection"} if recipe.speaker_aware else set()
    graphs = {"backbone", head, "text_head", "codec_decoder", "codec_encoder"} | optional
    assert manifest.graphs.keys() == graphs
    assert (manifest.engine.kind, manifest.engine.dialect) == ("native", "native")
    assert {spec.file for spec in manifest.graphs.values()} == {names.PACKED_WEIGHTS}
    assert all(spec.inputs and spec.outputs for spec in manifest.graphs.values())
    assert not any(spec.states for spec in manifest.graphs.values())
    assert manifest.graphs["codec_decoder"].precision == precision
    assert manifest.graphs["codec_encoder"].precision == "fp32"
    assert manifest.checks
    assert all(one.measured <= one.limit for one in manifest.checks)
    expected = {"manifest.json", "weights.safetensors", "embeddings.npy", "tokenizer.json"}
    expected |= {names.STORED_PREFIXES}
    assert {path.name for path in output.iterdir()} == expected


@pytest.fixture(scope="module")
def scales(codecs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrations of the model with heads of kind transformer and of its codec."""
    folder = tmp_path_factory.mktemp("scales")
    save_file({"speaker": SPEAKER}, folder / "anna.safetensors")
    model, codec = tiny_checkpoint(FEW_BITS), codecs / "facodec"
    sources = open_sources(SourceFolders(model, codec, {"anna": folder / "anna.safetensors"}))
    data = Data(tokens=write_tokens(folder, FEW_BITS.heads, utterances=4, frames=40))
    for precision in ("int8", "int4"):
        options = CalibrationOptions(CalibrationRecipe(precision), data, folder / precision)
        calibrate(LanguageModel(sources), options)
    options = CalibrationOptions(CalibrationRecipe("int8", "nearest"), data, folder / "codec")
    calibrate(CodecDecoder(sources), options)
    return folder


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_few_bits(precision: str, scales: Path, codecs: Path, output: Path) -> None:
    formats = ("--precision", precision, "--calibration", scales / precision)
    codec = ("--codec-calibration", scales / "codec")
    assert build(FEW_BITS, codecs, output, *formats, *codec, "--text-head") == 0
    manifest = load_bundle(output).manifest
    assert all(one.measured <= one.limit for one in manifest.checks)
    forms = {name: graph.precision for name, graph in manifest.graphs.items()}
    assert (forms["backbone"], forms["codec_decoder"]) == (precision, "int8")
    facts = read_packed(output / names.PACKED_WEIGHTS).facts
    assert facts["language_model"]["cache"] == "int8"
    matrices = facts["matrices"]
    assert matrices["head.5.layer.1.gate_up"]["format"] == precision
    assert matrices["codec.decoder.1.up"]["format"] == "int8"


def test_prefixes_are_stored_as_they_would_be_computed(codecs: Path, output: Path) -> None:
    assert build(KINDS[2][0], codecs, output, "--text-head") == 0
    stored = NativeModel(load_bundle(output), 1).read_prefixes()
    prefixes = read_packed(output / names.PACKED_WEIGHTS).facts["prefixes"]
    assert len(stored) == len(prefixes) == 2  # of sentences, and of questions
    assert prefixes[0][: len(prefixes[1])] == prefixes[1]
    again = output.parent / "again"
    assert build(KINDS[2][0], codecs, again, "--text-head", "--no-compare") == 0
    assert not (again / names.STORED_PREFIXES).exists()
    computed = NativeModel(load_bundle(again), 1).read_prefixes()
    for one, other in zip(stored, computed, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("cache", "stored"), [("fp16", "float16"), ("int8", "int8")])
@pytest.mark.parametrize("recipe", [KINDS[2][0], KINDS[3][0]], ids=str)
def test_the_cache_is_chosen(
    recipe: Recipe, cache: str, stored: str, codecs: Path, output: Path
) -> None:
    assert build(recipe, codecs, output, "--cache", cache, "--text-head") == 0
    bundle = load_bundle(output)
    assert read_packed(output / names.PACKED_WEIGHTS).facts["language_model"]["cache"] == stored
    assert f"cache {cache}" in NativeModel(bundle, 1).describe()
    assert all(one.measured <= one.limit for one in bundle.manifest.checks)


def test_the_file_is_limited_as_the_bundle_is(codecs: Path, output: Path) -> None:
    assert build(KINDS[0][0], codecs, output, "--max-positions", "300", "--no-compare") == 0
    manifest = load_bundle(output).manifest
    facts = read_packed(output / names.PACKED_WEIGHTS).facts["language_model"]
    assert manifest.language_model.max_positions == facts["max_positions"] == 300


def test_voices_and_embeddings(codecs: Path, output: Path, tmp_path: Path) -> None:
    recording = tmp_path / "anna.wav"
    soundfile.write(recording, speak(rate_hz=22_050), 22_050)
    save_file({"speaker": SPEAKER}, tmp_path / "ben.safetensors")
    voices = ("--voice", f"anna={recording}", f"ben={tmp_path / 'ben.safetensors'}")
    assert build(KINDS[1][0], codecs, output, *voices, "--no-compare", "--precision", "bf16") == 0
    manifest = load_bundle(output).manifest
    assert list(manifest.voices) == ["anna", "ben"]
    anna, ben = (load_file(output / file)["speaker"] for file in manifest.voices.values())
    assert anna.std() > 0
    np.testing.assert_array_equal(ben, SPEAKER)
    assert np.load(output / "embeddings.npy", mmap_mode="r").dtype == np.float16


def test_a_bundle_that_was_not_compared_says_so(
    codecs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(KINDS[0][0], codecs, output, "--no-compare") == 0
    assert "not compared with ONNX Runtime: --compare does it" in capsys.readouterr().out
    assert load_bundle(output).manifest.checks == ()


# What is refused.


def refused(capsys: pytest.CaptureFixture[str], output: Path, status: int, *words: str) -> None:
    """One line on stderr with all of `words`, status 2, and nothing left behind."""
    message = capsys.readouterr().err
    assert status == 2
    assert message.startswith("error: ")
    assert message.count("\n") == 1
    for word in words:
        assert word in message
    assert list(output.parent.iterdir()) == []


def test_without_the_library_nothing_is_begun(
    codecs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_there() -> None:
        raise UserError("the library is not there; build it: python native/build.py")

    monkeypatch.setattr(comparison, "load_library", none_there)
    status = build(KINDS[0][0], codecs, output)
    refused(capsys, output, status, "build it: python native/build.py", "--no-compare")


def test_scales_of_the_codec_and_its_precision_go_together(
    codecs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (
        ("--codec-precision", "int8"),
        ("--codec-precision", "bf16", "--codec-calibration", "scales"),
    ):
        status = build(KINDS[0][0], codecs, output, *options)
        refused(capsys, output, status, "go together", "calibration.codec --precision int8")


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_precisions_that_the_engine_lacks(
    precision: str, codecs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = build(KINDS[0][0], codecs, output, "--precision", precision)
    refused(capsys, output, status, f"--precision {precision}", "fp32, bf16, int8, int4")


def test_few_bits_need_a_calibration(
    codecs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = build(KINDS[0][0], codecs, output, "--precision", "int8")
    refused(capsys, output, status, "needs --calibration DIR")


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        ("layer.1.down", ("backbone = ONNX Runtime",)),
        ("head.1.output", ("codes unlike",)),
        ("speaker.output", ("speaker projection",)),
        ("codec.decoder.0.up", ("codec_decoder = ONNX Runtime",)),
        ("codec.speaker.0.ffn_1", ("codec_encoder: speaker",)),
    ],
)
def test_weights_that_are_packed_wrongly_are_found(
    damaged: str,
    words: tuple[str, ...],
    codecs: Path,
    output: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks = Matrix._packed

    def damage(self: Matrix) -> Iterator[Array]:
        for rows in blocks(self):
            yield rows[:, ::-1] if self.name == damaged else rows

    monkeypatch.setattr(Matrix, "_packed", damage)
    refused(capsys, output, build(KINDS[1][0], codecs, output), *words)
