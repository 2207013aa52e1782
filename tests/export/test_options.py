"""Options of an export: the words they write lead to the same options again."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from export.build import make_parser, read_options
from export.options import (
    CODEC_ACTIVATIONS,
    Capacity,
    ExportOptions,
    Numbers,
    PlanOptions,
    ReadyBundle,
    Source,
)
from formats.number_formats import FORMATS
from formats.precisions import (
    CACHE_FORMATS,
    CODEC_FEW_BITS,
    FEW_BITS,
    NATIVE_CODEC_PRECISIONS,
    NATIVE_PRECISIONS,
    PRECISIONS,
)
from runtime.bundle.names import DIALECTS, GPU_TARGETS, NATIVE, PORTABLE

PATHS = st.sampled_from(["scales", "my model", "it's", "a/b", "ä"]).map(Path)
MAYBE_PATH = st.none() | PATHS
MAYBE_COUNT = st.none() | st.integers(1, 4000)
SOURCES = st.builds(
    Source,
    model=MAYBE_PATH,
    codec=MAYBE_PATH,
    voices=st.lists(st.sampled_from(["anna=a b.wav", "ben=b.safetensors"])).map(tuple),
    heads=MAYBE_COUNT,
)
NUMBERS = st.builds(
    Numbers,
    precision=st.sampled_from(PRECISIONS),
    dialect=st.sampled_from(DIALECTS),
    calibration=MAYBE_PATH,
    codec_calibration=MAYBE_PATH,
    codec_activation=st.sampled_from(CODEC_ACTIVATIONS),
)
CAPACITIES = st.builds(Capacity, max_positions=MAYBE_COUNT, rows=st.none() | st.integers(1, 256))
NATIVE_NUMBERS = st.builds(
    Numbers,
    precision=st.sampled_from(NATIVE_PRECISIONS),
    dialect=st.just(NATIVE),
    calibration=MAYBE_PATH,
    codec_calibration=MAYBE_PATH,
    codec_precision=st.sampled_from(NATIVE_CODEC_PRECISIONS),
    cache=st.none() | st.sampled_from(CACHE_FORMATS),
)
TARGET = st.sampled_from(GPU_TARGETS)
GPUS = st.lists(st.sampled_from([75, 89, 120])).map(tuple)
READY = st.builds(ReadyBundle, folder=PATHS, precision=st.none() | st.sampled_from(PRECISIONS))


def parse(words: list[str]) -> ExportOptions:
    return read_options(make_parser().parse_args(words))


@given(
    SOURCES, NUMBERS | NATIVE_NUMBERS, CAPACITIES, st.booleans(), PATHS, st.none() | st.booleans()
)
def test_words_lead_to_the_same_bundle(
    source: Source,
    numbers: Numbers,
    capacity: Capacity,
    text_head: bool,
    output: Path,
    compare: bool | None,
) -> None:
    options = ExportOptions(source, numbers, capacity, text_head, output, compare)
    assert parse(options.to_words()) == options


@given(SOURCES, NUMBERS, CAPACITIES, st.booleans(), TARGET, GPUS)
def test_words_lead_to_the_same_plans(
    source: Source,
    numbers: Numbers,
    capacity: Capacity,
    text_head: bool,
    target: str,
    gpus: tuple[int, ...],
) -> None:
    plans = PlanOptions(target, gpus)
    options = ExportOptions(source, numbers, capacity, text_head, plans=plans).graphs(Path("x"))
    assert options.plans is None
    options = ExportOptions(source, options.numbers, capacity, text_head, plans=plans)
    assert parse(options.to_words()) == options


@given(TARGET, GPUS, READY, PATHS)
def test_words_lead_to_the_same_plans_of_a_bundle(
    target: str, gpus: tuple[int, ...], ready: ReadyBundle, output: Path
) -> None:
    options = ExportOptions(output=output, plans=PlanOptions(target, gpus, ready))
    assert parse(options.to_words()) == options


@given(SOURCES, NUMBERS, CAPACITIES, st.booleans())
def test_the_origin_of_plans_names_the_same_model(
    source: Source, numbers: Numbers, capacity: Capacity, text_head: bool
) -> None:
    """`--target`, `--precision` and `--output` are added to it."""
    options = ExportOptions(source, numbers, capacity, text_head)
    words = ["--precision", numbers.precision, "--dialect", numbers.dialect]
    assert parse([*words, *shlex.split(options.origin())]) == options


def test_the_origin_of_plans_of_a_bundle_is_the_bundle() -> None:
    plans = PlanOptions("tensorrt", bundle=ReadyBundle(Path("my bundle"), "fp16"))
    assert ExportOptions(plans=plans).origin() == "--bundle 'my bundle'"


def test_the_defaults_are_those_of_the_command() -> None:
    assert parse(["--target", "onnxruntime"]) == ExportOptions()


@pytest.mark.parametrize(("words", "precision"), [("", "fp16"), ("--precision bf16", "bf16")])
def test_plans_are_in_half_precision_and_of_portable_graphs(words: str, precision: str) -> None:
    options = parse(["--target", "tensorrt-rtx", *words.split()])
    assert (options.numbers.precision, options.numbers.dialect) == (precision, PORTABLE)
    assert options.plans == PlanOptions("tensorrt-rtx")


def test_scales_of_a_codec_are_for_int8_in_a_native_bundle() -> None:
    numbers = parse(["--target", "native", "--codec-calibration", "scales"]).numbers
    assert (numbers.dialect, numbers.precision, numbers.codec_precision) == (NATIVE, "fp32", "int8")


@pytest.mark.parametrize(
    ("target", "option", "wanted"),
    [
        ("onnxruntime", "--sm 89", "tensorrt-rtx or --target tensorrt"),
        ("native", "--bundle b", "tensorrt-rtx or --target tensorrt"),
        ("native", "--print-trtexec", "tensorrt-rtx or --target tensorrt"),
        ("native", "--dialect ort", "onnxruntime or --target tensorrt-rtx or --target tensorrt"),
        ("native", "--codec-activation plugin", "onnxruntime or --target tensorrt-rtx"),
        ("onnxruntime", "--codec-precision bf16", "native"),
        ("tensorrt", "--codec-precision fp32", "native"),
    ],
)
def test_options_of_another_target_are_refused(target: str, option: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"{option.split()[0]} goes with --target {wanted}"):
        parse(["--target", target, *option.split()])


@pytest.mark.parametrize(
    "words",
    [
        *("--heads 6", "--model m", "--codec c", "--voice a=b", "--calibration s", "--text-head"),
        *("--codec-calibration s", "--codec-activation plugin", "--max-positions 9", "--compare"),
    ],
)
def test_options_that_would_change_a_bundle_are_refused(words: str) -> None:
    with pytest.raises(UserError, match=f"{words.split()[0]} cannot change it"):
        parse(["--target", "tensorrt", "--bundle", "b", *words.split()])


def test_precisions_are_those_of_the_number_formats() -> None:
    assert {*FEW_BITS} == {*FORMATS}
    assert {*CODEC_FEW_BITS} <= {*FEW_BITS} <= {*PRECISIONS}
