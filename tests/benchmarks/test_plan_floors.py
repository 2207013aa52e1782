"""The table of plans: its caches are those of exported graphs, its rows those that can be built."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.device_page.bandwidths import DEVICES
from benchmarks.device_page.floors import step_bytes
from benchmarks.device_page.page import COMPUTED
from benchmarks.device_page.plan_floors import (
    COLUMNS,
    HEADS,
    SYSTEMS,
    cache_bytes,
    moved_bytes,
    plan_floor_table,
    plan_step_bytes,
)
from benchmarks.published_size import published_config
from export.build import main
from formats.checkpoint.language_model_config import read_lm_config
from runtime.bundle.manifest import read_manifest
from runtime.bundle.names import BACKBONE, BASIC, PORTABLE, ROWS
from runtime.engines.graph import state_bytes
from runtime.engines.tensorrt.gpu_targets import TARGETS
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint


@pytest.mark.parametrize("dialect", [BASIC, PORTABLE])
def test_caches_are_those_of_an_exported_graph(tmp_path: Path, dialect: str) -> None:
    make_codec_checkpoint(tmp_path / "codec", activation="snake", transformer_layers=1)
    make_lm_checkpoint(tmp_path / "model", heads=6, streams=TINY_STREAMS)
    sources = ["--model", str(tmp_path / "model"), "--codec", str(tmp_path / "codec")]
    numbers = ["--dialect", dialect, "--precision", "fp16", "--max-positions", "200"]
    output = ["--no-compare", "--output", str(tmp_path / "engine")]
    assert main([*sources, *numbers, *output]) == 0
    graph = read_manifest(tmp_path / "engine").graphs[BACKBONE]
    config = read_lm_config(tmp_path / "model")
    assert cache_bytes(config, 200) == state_bytes(graph, {ROWS: 1})


def test_what_a_step_moves_of_its_caches() -> None:
    config = published_config(HEADS)
    keys = 24 * 2 * 2048 * 64 * 2  # layers, heads, positions, numbers, bytes
    assert cache_bytes(config, 2048) == 2 * keys
    # Read, written and read again; the keys once more, with twice the bytes.
    assert moved_bytes(config, BASIC, 2048) == 3 * (2 * keys) + 2 * keys
    assert moved_bytes(config, PORTABLE, 2048) == keys
    jetpack_6 = next(system for system in SYSTEMS if system.software == "JetPack 6.2")
    assert plan_step_bytes(jetpack_6, "fp16") == step_bytes(config, "fp16") + 8 * keys


def test_larger_blocks_have_fewer_scales() -> None:
    config = published_config(HEADS)
    weights = 24 * (896 * (1152 + 896 + 2 * 4864) + 4864 * 896) + HEADS * 1040 * 896
    saved = step_bytes(config, "int4") - step_bytes(config, "int4", block=64)
    assert saved == weights * 2 // 64


def test_every_row_can_be_built() -> None:
    known = {device.name for device in DEVICES}
    for system in SYSTEMS:
        assert system.device in known
        assert system.kind in TARGETS[system.sm].libraries
        reduced = {*TARGETS[system.sm].reduced}
        assert all(reduced & {*title.split(", ")} for title, _ in COLUMNS)
    dialects = {system.software: system.dialect for system in SYSTEMS}
    assert dialects["JetPack 6.1, 6.2"] == dialects["JetPack 7.0, 7.1"] == BASIC
    assert dialects["JetPack 7.2"] == dialects["driver for CUDA 13"] == PORTABLE


def test_the_table_says_that_it_is_computed() -> None:
    table = plan_floor_table()
    assert table.startswith(COMPUTED)
    assert "| Jetson Orin Nano 8 GB | 68 | JetPack 6.1, 6.2 | 10.3 | basic |" in table
    assert table.count("\n| ") == len(SYSTEMS) + 2
