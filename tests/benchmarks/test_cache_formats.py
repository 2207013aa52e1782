"""`python -m benchmarks.cache_formats`: what caches cost, and refusals in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cache_formats import main
from export.options import ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from formats.precisions import CacheFormat
from runtime.bundle.names import NATIVE


@pytest.fixture(scope="module")
def engines(tiny_source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bundles of one model: graphs, native ones with exact and with coarse caches."""
    folder = tmp_path_factory.mktemp("caches")
    graphs = ExportOptions(tiny_source, compare=False, output=folder / "graphs")
    build_bundle(graphs)
    caches: tuple[CacheFormat, ...] = ("fp32", "int8")
    for cache in caches:
        numbers = Numbers(dialect=NATIVE, cache=cache)
        build_bundle(replace(graphs, numbers=numbers, output=folder / cache))
    return folder


def run(engines: Path, source: Source, *names: str, reference: str = "graphs") -> int:
    texts = engines / "texts.txt"
    texts.write_text("They know it.\nIs the door open?\n")
    others = [word for name in names for word in ("--engine", str(engines / name))]
    model = ["--model", str(source.model), "--reference", str(engines / reference)]
    return main([*model, *others, "--texts", str(texts)])


def test_few_bits_cost_something_and_float32_nothing(
    engines: Path, tiny_source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(engines, tiny_source, "fp32", "int8") == 0
    exact, coarse = (line.split("|")[2:-1] for line in capsys.readouterr().out.splitlines()[-2:])
    assert [exact[0].strip(), coarse[0].strip()] == ["fp32", "int8"]
    assert float(exact[1]) == 0
    assert float(coarse[1]) > 0
    assert float(coarse[3].split("±")[0]) == float(coarse[1])


def test_others_are_refused(
    engines: Path, tiny_source: Source, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(engines, tiny_source, "graphs") == 2
    assert "is for onnxruntime, not for native" in capsys.readouterr().err
    assert run(engines, tiny_source, "fp32", reference="fp32") == 2
    assert "is for native, not for onnxruntime" in capsys.readouterr().err
