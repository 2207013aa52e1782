"""Calibration from a tiny model to a bundle that speaks, and calibrations that are refused."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from calibration.arguments import check_data
from calibration.goals import Budget
from calibration.language_model import LanguageModel
from calibration.methods.quantize import Recipe
from calibration.pipeline import CalibrationOptions, Data, calibrate
from calibration.run import main, make_parser
from commands.errors import UserError
from export.bundle.next_command import calibration_command
from export.graph.precisions import Precision
from export.options import ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from export.sources import SourceFolders, open_sources
from formats.calibration.reader import open_calibration
from formats.calibration.record import AGAIN, RECORD_FILE, TENSORS_FILE
from formats.files.hashing import sha256_file
from runtime import TTS
from runtime.bundle.loading import load_bundle
from runtime.bundle.names import BACKBONE, NTP_HEAD
from tests.calibration.recorded import record_of, write_tokens
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint
from tests.tolerances import limit

ROOT = Path(__file__).parents[2]
HEADS = 6
QKV = "model.layers.0.self_attn.qkv.weight"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> SourceFolders:
    folder = tmp_path_factory.mktemp("sources")
    model = make_lm_checkpoint(
        folder / "model", heads=HEADS, head_kind="mlp", speaker_aware=True, streams=TINY_STREAMS
    )
    speaker = np.random.default_rng(0).standard_normal(256).astype(np.float32)
    save_file({"speaker": speaker}, folder / "anna.safetensors")
    codec = make_codec_checkpoint(folder / "codec")
    return SourceFolders(model, codec, {"anna": folder / "anna.safetensors"})


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight utterances of some twenty frames."""
    return write_tokens(tmp_path_factory.mktemp("tokens"), HEADS, utterances=8, frames=19)


@pytest.fixture(scope="module")
def int4(sources: SourceFolders, tokens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPTQ of everything that blocks of 32 fit."""
    output = tmp_path_factory.mktemp("int4") / "scales"
    options = CalibrationOptions(Recipe("int4"), Data(tokens=tokens), output)
    calibrate(LanguageModel(open_sources(sources)), options)
    return output


def test_every_product_is_quantized_or_excluded_with_a_reason(int4: Path) -> None:
    record = record_of(int4)
    names = record["linears"].keys() | record["excluded"].keys()
    assert len(names) == 3 * 4 + 1 + HEADS  # layers, first head layers as one, second ones
    down = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(3)]
    assert record["excluded"] == dict.fromkeys(down, "112 input channels are no multiple of 32")
    assert record["linears"]["speech_heads.head.2.weight[5]"]["has_codes"]
    assert record["method"]["utterances"] == 6
    tensors = load_file(int4 / TENSORS_FILE)
    assert tensors["model.layers.0.self_attn.qkv.weight.codes"].nbytes == 128 * 64 // 2
    assert (int4 / TENSORS_FILE).stat().st_mode == (int4 / RECORD_FILE).stat().st_mode


def test_calibration_is_deterministic(
    int4: Path, sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    options = CalibrationOptions(Recipe("int4"), Data(tokens=tokens), tmp_path / "again")
    calibrate(LanguageModel(open_sources(sources)), options)
    assert (tmp_path / "again" / RECORD_FILE).read_bytes() == (int4 / RECORD_FILE).read_bytes()


@pytest.mark.parametrize(
    ("recipe", "dialect"),
    [
        (Recipe("int8"), "ort"),
        (Recipe("int8", "nearest", "percentile"), "portable"),
        (Recipe("fp8"), "portable"),
        (Recipe("int4", "awq"), "ort"),
        (Recipe("int4"), "portable"),
        (Recipe("int8", "nearest", "percentile"), "basic"),
        (Recipe("fp8"), "basic"),
        (Recipe("int4", block=64), "basic"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.precision}-{value.chosen}",
)
def test_quantized_models_stay_close(
    recipe: Recipe, dialect: str, sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    options = CalibrationOptions(recipe, Data(tokens=tokens), tmp_path / "scales")
    record = calibrate(LanguageModel(open_sources(sources), dialect), options)
    assert record.kl_divergence is not None
    assert 1e-6 < record.kl_divergence <= limit("scores", recipe.precision, dialect)


def test_the_most_sensitive_weights_are_left_out(
    sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    subject, recipe, data = (
        LanguageModel(open_sources(sources)),
        Recipe("int4", "nearest"),
        Data(tokens=tokens),
    )
    everything = calibrate(subject, CalibrationOptions(recipe, data, tmp_path / "all"))
    assert everything.kl_divergence is not None
    budget = Budget("kl", everything.kl_divergence / 2)
    some = calibrate(subject, CalibrationOptions(recipe, data, tmp_path / "some"), budget)
    assert some.kl_divergence is not None
    assert some.kl_divergence <= budget.value
    over = [name for name, reason in some.excluded.items() if reason.endswith("over budget")]
    rows = json.loads((tmp_path / "some" / "sensitivity.json").read_text(encoding="utf-8"))
    assert over == [row["weight"] for row in rows[: len(over)]]
    assert 0 < len(over) < len(everything.linears)


def build(
    sources: SourceFolders,
    calibration: Path | None,
    output: Path,
    precision: Precision,
    dialect: str = "ort",
) -> None:
    voices = tuple(f"{name}={file}" for name, file in sources.voices.items())
    numbers = Numbers(precision, dialect, calibration)
    build_bundle(
        ExportOptions(Source(sources.model, sources.codec, voices), numbers, output=output)
    )


def test_a_quantized_bundle_speaks(int4: Path, sources: SourceFolders, tmp_path: Path) -> None:
    build(sources, int4, tmp_path / "engine", "int4")
    tts = TTS.load(tmp_path / "engine")
    assert "int4" in tts.describe()
    spoken = tts.synthesize("They know it.", max_steps=9)
    assert len(spoken.frames) > 0
    assert np.isfinite(spoken.audio).all()


NEXT_TOKEN: tuple[tuple[Recipe, str], ...] = (
    (Recipe("int8"), "portable"),
    (Recipe("fp8"), "portable"),
    (Recipe("int4"), "portable"),
    (Recipe("int8"), "basic"),
    (Recipe("int4", block=64), "basic"),
    (Recipe("int4"), "ort"),
)


@pytest.fixture(scope="module")
def next_token(
    sources: SourceFolders, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SourceFolders, Path]:
    """A next-token model of the same codec, and recorded frames in its own format."""
    folder = tmp_path_factory.mktemp("next-token")
    tokens = write_tokens(folder, heads=1, utterances=4, frames=9, seed=2)
    model = make_lm_checkpoint(folder / "model", heads=1, streams=TINY_STREAMS)
    return SourceFolders(model, sources.codec, sources.voices), tokens


@pytest.mark.parametrize(
    ("recipe", "dialect"),
    NEXT_TOKEN,
    ids=lambda value: value if isinstance(value, str) else value.precision,
)
def test_next_token_models_are_calibrated_and_exported(
    recipe: Recipe, dialect: str, next_token: tuple[SourceFolders, Path], tmp_path: Path
) -> None:
    """The export refuses graphs that, rounded as an engine rounds, are too far from PyTorch."""
    sources, tokens = next_token
    options = CalibrationOptions(recipe, Data(tokens=tokens), tmp_path / "scales")
    record = calibrate(LanguageModel(open_sources(sources), dialect), options)
    assert {*record.linears, *record.excluded} >= {"speech_output", QKV}
    assert "speech_output" in record.linears
    assert record.kl_divergence is not None
    assert record.kl_divergence > 1e-6
    build(sources, tmp_path / "scales", tmp_path / "engine", recipe.precision, dialect)
    bundle = load_bundle(tmp_path / "engine")
    assert {bundle.graph(name).precision for name in (BACKBONE, NTP_HEAD)} == {recipe.precision}
    if dialect == "ort":
        spoken = TTS.load(tmp_path / "engine").synthesize("They know it.", max_steps=9)
        assert np.isfinite(spoken.audio).all()


def test_precision_and_calibration_go_together(
    int4: Path, sources: SourceFolders, tmp_path: Path
) -> None:
    faults: list[tuple[Path | None, Precision, str]] = [
        (None, "int4", "needs --calibration"),
        (int4, "fp32", "no use"),
        (int4, "int8", "is for int4, not int8"),
    ]
    for calibration, precision, message in faults:
        with pytest.raises(UserError, match=message):
            build(sources, calibration, tmp_path / "engine", precision)


def test_the_suggested_calibration_is_one_that_can_be_typed(
    sources: SourceFolders, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        build(sources, None, tmp_path / "engine", "int4")
    command = str(refused.value).partition("make one with: ")[2]
    assert shlex.split(command) == [
        *("python", "-m", "calibration.run", "--precision", "int4"),
        *("--model", str(sources.model), "--codec", str(sources.codec)),
        *("--voice", f"anna={sources.voices['anna']}"),
        *("--texts", "samples/calibration.txt", "--output", "scales-int4"),
    ]
    arguments = make_parser().parse_args(shlex.split(command)[3:])
    check_data(arguments)
    assert all((ROOT / text).is_file() for text in arguments.texts)


def test_the_suggestion_for_the_demo_voice_names_its_heads() -> None:
    assert calibration_command("fp8", Source(heads=3)) == (
        "python -m calibration.run --precision fp8 --heads 3 "
        "--texts samples/calibration.txt --output scales-fp8"
    )


def test_to_calibrate_again_takes_texts() -> None:
    for words in ("calibration.run", "calibration.codec", "--precision", "--texts", "--output"):
        assert words in AGAIN


def change_record(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        record = record_of(folder)
        change(record)
        (folder / RECORD_FILE).write_text(json.dumps(record), encoding="utf-8")

    return apply


def change_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], object]:
    """Changes tensors, and the record's hash with them."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / TENSORS_FILE)
        change(tensors)
        save_file(tensors, folder / TENSORS_FILE)
        digest = sha256_file(folder / TENSORS_FILE)
        change_record(lambda record: record.update(tensors_sha256=digest))(folder)

    return apply


def test_a_calibration_that_fails_leaves_the_old_one(
    int4: Path, sources: SourceFolders, tokens: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "scales"
    shutil.copytree(int4, folder)
    options = CalibrationOptions(Recipe("int4", "nearest"), Data(tokens=tokens), folder)
    with pytest.raises(UserError, match="--budget kl=1e-12 cannot be met with anything quantized"):
        calibrate(LanguageModel(open_sources(sources)), options, Budget("kl", 1e-12))
    assert {path.name for path in folder.iterdir()} == {RECORD_FILE, TENSORS_FILE}
    for file in (RECORD_FILE, TENSORS_FILE):
        assert (folder / file).read_bytes() == (int4 / file).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["scales"]


def first_linear(record: dict) -> dict:
    return record["linears"][QKV]


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no record": (lambda folder: (folder / RECORD_FILE).unlink(), "not a calibration"),
    "not JSON": (lambda folder: (folder / RECORD_FILE).write_text("{"), "not a valid"),
    "too large": (
        lambda folder: (folder / RECORD_FILE).write_bytes(b" " * (5 * 2**20)),
        "larger than",
    ),
    "unknown key": (change_record(lambda record: record.update(extra=1)), "not a valid"),
    "newer schema": (change_record(lambda record: record.update(schema_version=2)), "schema 2"),
    "another model": (change_record(lambda record: record.update(model_sha256="0")), "another mo"),
    "no tensors": (lambda folder: (folder / TENSORS_FILE).unlink(), "missing, or not the one"),
    "other tensors": (
        lambda folder: save_file({"x": np.zeros(1)}, folder / TENSORS_FILE),
        "missing, or not the one",
    ),
    "block of zero": (
        change_record(lambda record: first_linear(record).update(block=0)),
        "not a valid",
    ),
    "odd block": (
        change_record(lambda record: first_linear(record).update(block=7)),
        "blocks of 7",
    ),
    "negative scale": (
        change_record(lambda record: first_linear(record).update(activation_scale=-1.0)),
        "not a valid",
    ),
    "missing scales": (
        change_tensors(lambda tensors: tensors.pop(f"{QKV}.scales")),
        "has no tensor",
    ),
    "other shape": (
        change_tensors(lambda tensors: tensors.update({f"{QKV}.scales": np.ones(3, np.float32)})),
        r"is float32 \[3\]",
    ),
    "scales of zero": (
        change_tensors(lambda tensors: tensors[f"{QKV}.scales"].fill(0.0)),
        "not positive",
    ),
    "NaN": (
        change_tensors(lambda tensors: tensors[f"{QKV}.scales"].fill(np.nan)),
        "not positive",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damaged_and_foreign_calibrations_are_refused(
    name: str, int4: Path, sources: SourceFolders, tmp_path: Path
) -> None:
    folder = tmp_path / "scales"
    shutil.copytree(int4, folder)
    damage, message = HOSTILE[name]
    damage(folder)
    with pytest.raises(UserError, match=message) as refused:
        open_calibration(folder, sources.model, "int4")
    assert "\n" not in str(refused.value)


def test_weights_that_the_model_does_not_have_are_refused(
    int4: Path, sources: SourceFolders, tmp_path: Path
) -> None:
    folder = tmp_path / "scales"
    shutil.copytree(int4, folder)
    change_record(lambda record: record["linears"].update({"x": first_linear(record)}))(folder)

    def add(tensors: dict[str, np.ndarray]) -> None:
        for kind in ("scales", "codes"):
            tensors[f"x.{kind}"] = tensors[f"{QKV}.{kind}"]

    change_tensors(add)(folder)
    with pytest.raises(UserError, match="x is no weight of this model"):
        build(sources, folder, tmp_path / "engine", "int4")
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "int8"], "give --texts FILE"),
        (["--precision", "fp8", "--texts", "no.txt"], "add --dialect portable"),
        (["--precision", "int8", "--texts", "no.txt"], "no.txt: no such file"),
        (["--precision", "int8", "--method", "gptq", "--texts", "no.txt"], "smoothquant or near"),
        (["--precision", "int4", "--block", "7", "--texts", "no.txt"], "--block 7"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--output", str(tmp_path / "scales")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_too_few_sentences_are_named_before_the_model_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("# everyday\nThey know it.\nSo do we.\nShe left.\n")
    given = ["--precision", "int8", "--texts", str(texts), "--output", str(tmp_path / "scales")]
    assert main(given) == 2
    assert capsys.readouterr() == ("", "error: 3 sentences are too few: give 4 or more\n")
