"""Threads: as many as the process may use, fewer for small graphs, and none that spins."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import TTS
from runtime.bundle.loading import load_bundle
from runtime.bundle.names import BACKBONE, CODEC_DECODER, CODEC_ENCODER, MTP_HEAD
from runtime.engines.onnxruntime import threads
from runtime.engines.onnxruntime.graphs import OnnxRuntimeGraph
from runtime.engines.onnxruntime.threads import (
    ENGINES_CHOICE,
    LARGE_WEIGHTS_BYTES,
    MAX_DEFAULT_THREADS,
    Threads,
    choose_threads,
    count_cores,
    cpu_quota,
    whole_processors,
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Linux machine: `.has(processors)`, its control groups' folder, and the file of our own."""
    cpus, groups, own = tmp_path / "cpu", tmp_path / "cgroup", tmp_path / "own"
    for path in (cpus, groups):
        path.mkdir()
    own.write_text("0::/\n")
    monkeypatch.setattr(threads, "_CPU_FOLDER", cpus)
    monkeypatch.setattr(threads, "_CGROUP_FOLDER", groups)
    monkeypatch.setattr(threads, "_OWN_CGROUPS", own)

    def has(count: int, per_core: int = 2) -> None:
        for number in range(count):
            first = number - number % per_core
            topology = cpus / f"cpu{number}" / "topology"
            topology.mkdir(parents=True)
            (topology / "thread_siblings_list").write_text(f"{first}-{first + per_core - 1}\n")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)), raising=False)

    return SimpleNamespace(has=has, groups=groups, own=own)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.mark.parametrize(
    ("processors", "per_core", "large"),
    [(1, 1, 1), (2, 1, 2), (2, 2, 1), (8, 2, 4), (128, 2, MAX_DEFAULT_THREADS)],
)
def test_the_default_is_the_physical_cores(
    machine: SimpleNamespace, processors: int, per_core: int, large: int
) -> None:
    machine.has(processors, per_core)
    assert choose_threads(None) == Threads(large, 1)


def test_cores_that_the_process_may_not_use_do_not_count(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has(8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5})
    assert choose_threads(None) == Threads(2, 1)
    assert choose_threads(3) == Threads(3, 3)
    assert choose_threads(4) == Threads(3, 3, asked_for=4)


@pytest.mark.parametrize(
    ("quota", "large"),
    [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("", 4)],
)
def test_a_containers_quota(machine: SimpleNamespace, quota: str, large: int) -> None:
    machine.has(4, 1)
    write(machine.groups, cpu__max=quota)
    assert choose_threads(None) == Threads(large, 1)
    assert choose_threads(4) == Threads(large, large, asked_for=None if large == 4 else 4)


def test_the_quota_of_a_group_that_holds_ours(machine: SimpleNamespace) -> None:
    machine.own.write_text("0::/user.slice/job:7/ours\n")
    write(machine.groups / "user.slice/job:7/ours", cpu__max="max 100000")
    write(machine.groups / "user.slice/job:7", cpu__max="300000 100000")
    write(machine.groups / "user.slice", cpu__max="700000 100000")
    assert cpu_quota() == 3.0


@pytest.mark.parametrize("group", ["/ours", "/gone"])
def test_version_1_of_control_groups(machine: SimpleNamespace, group: str) -> None:
    """Inside a container the path is the host's, and only the root is there."""
    machine.own.write_text(f"4:memory:{group}\n2:cpu,cpuacct:{group}\n0::/\n")
    root = machine.groups / "cpu,cpuacct"
    no_limit = {"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}
    limit = no_limit | {"cpu__cfs_quota_us": "150000\n"}
    write(root, **(no_limit if group == "/ours" else limit))
    write(root / "ours", **limit)
    write(machine.groups / "memory" / "ours", **(limit | {"cpu__cfs_quota_us": "1000\n"}))
    assert cpu_quota() == 1.5


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, macOS: ONNX Runtime counts the cores."""
    monkeypatch.setattr(threads, "_CPU_FOLDER", tmp_path / "none")
    monkeypatch.setattr(threads, "_OWN_CGROUPS", tmp_path / "none")
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert choose_threads(None) == Threads(ENGINES_CHOICE, 1)
    assert str(choose_threads(None)) == "a thread for each core, 1 for small graphs"
    assert choose_threads(64) == Threads(6, 6, asked_for=64)
    assert count_cores([0]) is None


@given(st.floats(min_value=0, exclude_min=True))
def test_a_quota_leaves_at_least_one(quota: float) -> None:
    assert 1 <= whole_processors(quota) <= max(1, quota)


def test_large_graphs_and_the_codec_share_their_work(plain_folder: Path) -> None:
    bundle = load_bundle(plain_folder)
    chosen = Threads(4, 1)
    names = (BACKBONE, MTP_HEAD, CODEC_DECODER, CODEC_ENCODER)
    assert [chosen.of(bundle, name) for name in names] == [1, 1, 4, 4]
    spec = bundle.graph(BACKBONE)
    record = bundle.manifest.files[spec.file]
    heavy = SimpleNamespace(size_bytes=LARGE_WEIGHTS_BYTES)
    files = bundle.manifest.files | {spec.file: heavy}
    large = SimpleNamespace(graph=bundle.graph, manifest=SimpleNamespace(files=files))
    assert chosen.of(large, BACKBONE) == 4  # type: ignore[arg-type]
    assert record.size_bytes < LARGE_WEIGHTS_BYTES


def test_what_is_said(machine: SimpleNamespace, plain_folder: Path) -> None:
    machine.has(2, 1)
    said = [TTS.load(plain_folder, threads=count).describe() for count in (None, 2, 64)]
    assert said[0].endswith("on the CPU, 2 threads, 1 for small graphs")
    assert said[1].endswith("on the CPU, 2 threads")
    assert said[2].endswith("on the CPU, 2 threads instead of 64: this process may use no more")


def test_sessions_wait_asleep(machine: SimpleNamespace, plain_folder: Path) -> None:
    machine.has(2, 1)
    bundle = load_bundle(plain_folder)
    for name, expected in ((BACKBONE, 1), (CODEC_DECODER, 2)):
        options = OnnxRuntimeGraph(bundle, name, None)._session.get_session_options()
        assert options.intra_op_num_threads == expected
        for pool in ("intra", "inter"):
            key = f"session.{pool}_op.allow_spinning"
            assert options.get_session_config_entry(key) == "0"
