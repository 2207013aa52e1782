"""Bytes of a step from shapes alone: those that the native engine counts in its bundles."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.floors import least_real_time_factor, step_bytes
from benchmarks.estimate import main
from benchmarks.published_size import published_config
from export.native.bundle import build_native_bundle
from export.native.layout import Format
from export.options import Capacity, ExportOptions, Numbers, Source
from formats.checkpoint.codec_config import CodecConfig
from formats.checkpoint.language_model_config import read_lm_config
from runtime.bundle.loading import load_bundle
from runtime.bundle.names import NATIVE
from runtime.engines.native.model import NativeModel
from tests.tiny_codec import other_codec_config, tiny_codec_config
from tests.tiny_models import make_lm_checkpoint
from tests.tiny_weights import make_codec
from train.codec_model.checkpoint import save_codec

DEMO = Path("samples/demo_voice/6-heads")


@pytest.mark.parametrize(
    ("heads", "form", "counted"),
    [  # slm_facts.step_bytes of bundles of benchmarks.published_size
        (12, "int8", 369_999_488),
        (12, "int4", 207_924_992),
        (6, "int4", 204_744_320),
        (3, "int4", 203_153_984),
        # An fp32 bundle of a bfloat16 checkpoint has bfloat16 weights, and a float32 code table.
        (12, "fp16", 738_396_416 - 12 * 896 * 2),
    ],
)
def test_bytes_of_the_published_size(heads: int, form: Format, counted: int) -> None:
    assert step_bytes(published_config(heads), form) == counted


@pytest.mark.parametrize(
    ("heads", "head_kind", "codec"),
    [
        (6, "linear", tiny_codec_config()),
        (6, "mlp", tiny_codec_config()),
        (3, "transformer", tiny_codec_config()),
        (1, "linear", tiny_codec_config()),
        (8, "linear", other_codec_config()),
    ],
)
def test_bytes_of_every_kind_of_head(
    native_library: Path, tmp_path: Path, heads: int, head_kind: str, codec: CodecConfig
) -> None:
    model = make_lm_checkpoint(
        tmp_path / "model", heads=heads, head_kind=head_kind, streams=codec.streams
    )
    save_codec(make_codec(codec), tmp_path / "codec")
    options = ExportOptions(
        Source(model, tmp_path / "codec"),
        Numbers("fp32", NATIVE),
        Capacity(256, rows=1),
        output=tmp_path / "bundle",
        compare=False,
    )
    build_native_bundle(options)
    facts = NativeModel(load_bundle(tmp_path / "bundle"), threads=1).facts
    assert step_bytes(read_lm_config(model), "fp32") == facts.step_bytes


def test_steps_a_second_follow_from_streams_and_heads() -> None:
    assert least_real_time_factor(0.010, published_config(12)) == pytest.approx(0.2)
    assert least_real_time_factor(0.010, published_config(3)) == pytest.approx(0.8)


def test_published_bandwidths_are_those_of_their_wires() -> None:
    for device in DEVICES:
        assert device.bits * device.gbit_per_pin / 8 == pytest.approx(device.published, rel=5e-3)


def test_an_estimate_of_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", str(DEMO), "--gb-per-second", "20"]) == 0
    said = capsys.readouterr().out
    size = step_bytes(read_lm_config(DEMO), "int8")
    assert f"int8 {size / 1e6:.1f} MB" in said
    assert "40 steps for a second of speech" in said
    assert "Computed, not measured" in said
    [row] = [line.split() for line in said.splitlines() if line.startswith("yours, 20 GB/s")]
    assert float(row[3 + 2]) == pytest.approx(1e3 * size / 20e9, rel=5e-3)
    assert main(["--model", str(DEMO)]) == 0
    assert all(device.name in capsys.readouterr().out for device in DEVICES[:1])


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--model", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
