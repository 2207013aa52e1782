"""The codec's decoder in INT8 and FP8: from frames to scales, bundles and plans."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import save_file

from calibration.codec import main
from calibration.codec_decoder import CodecDecoder
from calibration.goals import SignalToNoise
from calibration.language_model import LanguageModel
from calibration.measurement.decoding import follow_decoder
from calibration.measurement.fidelity import compare_audio
from calibration.measurement.utterances import EmbeddedUtterance
from calibration.methods.quantize import Recipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from commands.errors import UserError
from export.build import main as build_main
from export.checks.codec_checks import decode, example_frames, example_speaker
from export.codec.decoder import build_codec_decoder
from export.graph.onnxruntime_version import check_onnxruntime
from export.graph.runner import GraphRunner
from export.options import ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from export.plans.inspection import count_products, inspect
from export.plans.library import open_library
from export.plans.network import parse
from export.plans.plans import build_plan
from export.plans.precision_plan import plan_precision
from export.quantization.convolutions import quantized_convolutions
from export.readers.codec_checkpoint import open_codec
from export.sources import SourceFolders, open_sources
from formats.calibration.reader import open_calibration
from formats.calibration.record import RECORD_FILE
from formats.number_formats import FormatName
from formats.tokens import read_utterances, write_utterances
from runtime.bundle.loading import load_bundle
from runtime.bundle.names import CODEC_DECODER, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import check_targets
from tests.calibration.recorded import record_of, write_tokens
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint
from tests.tolerances import limit

HEADS = 3
PRECISIONS: tuple[FormatName, ...] = ("int8", "fp8")
OLDEST = {"int8": 75, "fp8": 89}  # GPU that has the precision
CONVOLUTIONS = 16  # first, two upsampling, two stages of three units of two, last


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> SourceFolders:
    folder = tmp_path_factory.mktemp("sources")
    speaker = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    save_file({"speaker": speaker}, folder / "anna.safetensors")
    return SourceFolders(
        make_lm_checkpoint(folder / "model", heads=HEADS, streams=TINY_STREAMS),
        make_codec_checkpoint(folder / "codec"),
        {"anna": folder / "anna.safetensors"},
    )


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four utterances of some forty frames."""
    return write_tokens(tmp_path_factory.mktemp("tokens"), HEADS, utterances=4, frames=39)


@pytest.fixture(scope="module")
def scales(
    sources: SourceFolders, tokens: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("scales")
    for precision in PRECISIONS:
        recipe, data = Recipe(precision, "nearest"), Data(tokens=tokens)
        options = CalibrationOptions(recipe, data, folder / precision)
        calibrate(CodecDecoder(open_sources(sources)), options)
    return {precision: folder / precision for precision in PRECISIONS}


def build(sources: SourceFolders, scales: Path, output: Path, dialect: str = "portable") -> None:
    voices = tuple(f"{name}={file}" for name, file in sources.voices.items())
    source = Source(sources.model, sources.codec, voices)
    numbers = Numbers(dialect=dialect, codec_calibration=scales)
    build_bundle(ExportOptions(source, numbers, output=output))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_convolution_is_quantized_and_the_audio_stays_close(
    precision: FormatName, scales: dict[str, Path]
) -> None:
    record = record_of(scales[precision])
    assert len(record["linears"]) == CONVOLUTIONS
    assert record["excluded"] == {}
    assert record["method"]["positions"] == 39 + 40 + 41
    noise = 10 ** (-record["snr_db"] / 20)
    assert 1e-3 < noise <= limit("codec_decoder noise", precision, "portable")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_bundle_with_such_a_codec_passes_its_checks(
    precision: FormatName, scales: dict[str, Path], sources: SourceFolders, tmp_path: Path
) -> None:
    """Whose checks hold it against PyTorch, whole and in chunks."""
    build(sources, scales[precision], tmp_path / "engine")
    manifest = load_bundle(tmp_path / "engine").manifest
    assert manifest.graphs[CODEC_DECODER].precision == precision
    noise = [check for check in manifest.checks if check.name.endswith(": noise")]
    assert any("PyTorch" in check.name for check in noise)
    assert any("chunks" in check.name for check in noise)


def test_wrong_scales_fail_the_checks(
    scales: dict[str, Path], sources: SourceFolders, tmp_path: Path
) -> None:
    folder = tmp_path / "scales"
    shutil.copytree(scales["int8"], folder)
    record = record_of(folder)
    for linear in record["linears"].values():
        linear["activation_scale"] /= 8
    (folder / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=r"PyTorch, 13 frames: noise: .* > 0\.3"):
        build(sources, folder, tmp_path / "engine")


def test_the_most_sensitive_convolutions_are_left_out(
    scales: dict[str, Path], sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    everything = record_of(scales["fp8"])
    goal = SignalToNoise(everything["snr_db"] + 3)
    options = CalibrationOptions(Recipe("fp8", "nearest"), Data(tokens=tokens), tmp_path / "some")
    some = calibrate(CodecDecoder(open_sources(sources)), options, goal)
    assert some.snr_db is not None
    assert some.snr_db >= everything["snr_db"] + 3
    assert 0 < len(some.excluded) < CONVOLUTIONS
    assert {*some.excluded} | {*some.linears} == {*everything["linears"]}
    build(sources, tmp_path / "some", tmp_path / "engine")


def test_what_does_not_fit_is_refused(
    scales: dict[str, Path], sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="add --dialect portable"):
        build(sources, scales["int8"], tmp_path / "engine", "ort")
    recipe, data = Recipe("int8", "nearest"), Data(tokens=tokens)
    of_model = CalibrationOptions(recipe, data, tmp_path / "lm")
    calibrate(LanguageModel(open_sources(sources)), of_model)
    with pytest.raises(UserError, match=r"made for another model than .*codec"):
        build(sources, tmp_path / "lm", tmp_path / "engine")
    unknown = tmp_path / "unknown"
    shutil.copytree(scales["int8"], unknown)
    record = record_of(unknown)
    name = "decoder.model.0.weight"
    record["linears"]["x"] = record["linears"].pop(name)
    (unknown / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=r"has no tensor x\.scales"):
        build(sources, unknown, tmp_path / "engine")
    without_input = tmp_path / "without-input"
    shutil.copytree(scales["int8"], without_input)
    record = record_of(without_input)
    record["linears"][name]["activation_scale"] = None
    (without_input / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match="one for its input"):
        build(sources, without_input, tmp_path / "engine")
    no_voice = open_sources(SourceFolders(sources.model, sources.codec, {}))
    with pytest.raises(UserError, match="give --voice"):
        CodecDecoder(no_voice)
    with pytest.raises(UserError, match="cannot be met"):
        calibrate(
            CodecDecoder(open_sources(sources)),
            CalibrationOptions(recipe, data, tmp_path / "scales"),
            SignalToNoise(99),
        )
    assert not (tmp_path / "engine").exists()
    assert not (tmp_path / "scales").exists()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_such_a_decoder_becomes_a_plan(
    precision: FormatName, scales: dict[str, Path], sources: SourceFolders, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="plans are built by the extra tensorrt-rtx")
    codec = open_codec(sources.codec)
    weights = open_calibration(scales[precision], sources.codec, precision).weights
    graph = build_codec_decoder(
        codec, "portable", precision, formats=quantized_convolutions(weights)
    )
    spec = graph.save(tmp_path)
    network = parse(open_library(TENSORRT_RTX), CODEC_DECODER, spec, tmp_path)
    assert inspect(network, tmp_path, plan_precision(CODEC_DECODER, spec)) == []
    assert count_products(network)[precision] == CONVOLUTIONS
    targets = check_targets(TENSORRT_RTX, (OLDEST[precision],), precision)
    build_plan(network, targets, tmp_path / "decoder.plan")
    assert (tmp_path / "decoder.plan").read_bytes().startswith(b"vtrt")


def test_gpus_without_the_codecs_precision_are_refused(
    scales: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--target", "tensorrt-rtx", "--sm", "86", "--codec-calibration", str(scales["fp8"])]
    assert build_main([*words, "--output", str(tmp_path / "engine")]) == 2
    assert "a codec in fp8: Ampere 8.6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int8"], "give --texts FILE"),
        (["--precision", "int8", "--texts", "no.txt"], "no.txt: no such file"),
        (["--precision", "int8", "--texts", "no.txt", "--snr", "-1"], "between 0 and 100"),
        (["--precision", "fp8", "--activations", "entropy", "--tokens", "no"], "no"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output", str(tmp_path / "scales")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_noise_is_counted_in_decibels() -> None:
    signal = np.array([3.0, -4.0, 0.0, 5.0], np.float32)
    halves = [signal[:1], signal[1:]]
    noisy = [half * 1.1 for half in halves]
    assert compare_audio(halves, noisy).snr_db == pytest.approx(20.0, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 159, 160, 161, 300])
def test_all_audio_of_an_utterance_is_followed(tmp_path: Path, frames: int) -> None:
    """The last frames' audio comes out of calls behind them, as in an engine."""
    codec = open_codec(make_codec_checkpoint(tmp_path / "codec"))
    config, graph = codec.config, build_codec_decoder(codec, "portable")
    decoder = GraphRunner(tmp_path, graph.save(tmp_path))
    codes, speaker = example_frames(config, frames), example_speaker(config)
    utterance = EmbeddedUtterance(np.zeros((1, 1, 1), np.float32), 1, codes[0], speaker[0])
    audio = follow_decoder(decoder, utterance, config.delay_frames)
    expected = decode(decoder, config, codes, speaker)[0]
    assert audio.shape == expected.shape == (frames * config.hop_samples,)
    np.testing.assert_allclose(audio, expected, atol=1e-5)
    silent = replace(utterance, frames=np.zeros((0, 3), np.int64))
    assert follow_decoder(decoder, silent, config.delay_frames).shape == (0,)


def test_an_old_onnxruntime_is_told_before_the_model_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    (tmp_path / "texts").write_text("They know it.\nThe tide is out.\nRain fell.\nWe wait.\n")
    words = ["--precision", "int8", "--texts", str(tmp_path / "texts")]
    assert main([*words, "--output", str(tmp_path / "scales")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ONNX Runtime 1.23.2 cannot run portable graphs")
    assert printed.err.endswith("which needs Python 3.11 or newer\n")
    assert "speak" not in printed.out


def test_sentences_without_speech_are_refused(sources: SourceFolders, tmp_path: Path) -> None:
    check_onnxruntime()
    tokens = write_tokens(tmp_path, HEADS, utterances=4, frames=5)
    recorded = [*read_utterances(tokens, HEADS)]
    silent = [replace(one, frames=np.zeros((0, 3), np.int64)) for one in recorded[:3]]
    write_utterances(tokens, [*silent, recorded[3]], HEADS)
    options = CalibrationOptions(
        Recipe("int8", "nearest"), Data(tokens=tokens), tmp_path / "scales"
    )
    with pytest.raises(UserError, match="to calibrate on have no speech at all"):
        calibrate(CodecDecoder(open_sources(sources)), options)
    assert not (tmp_path / "scales").exists()


def test_no_speech_at_all_has_no_ratio() -> None:
    nothing = [np.zeros(0, np.float32)]
    with pytest.raises(UserError, match="held-out sentences have no speech at all"):
        compare_audio(nothing, nothing)
