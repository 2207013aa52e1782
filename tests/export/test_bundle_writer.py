"""Bundles appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import msgspec
import pytest

from commands.errors import UserError
from export.bundle.writer import bundle_folder, publish_bundle
from formats.files import folders
from runtime.bundle import names
from runtime.bundle.loading import load_bundle
from runtime.bundle.manifest import (
    CodecSpec,
    EngineSpec,
    GraphSpec,
    LanguageModelSpec,
    LengthBound,
    Manifest,
    PromptSpec,
    SamplingDefaults,
    TensorSpec,
)

FAILURES = [
    UserError("a check failed"),
    KeyboardInterrupt(),
    PermissionError(errno.EACCES, "Permission denied"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError("65536 requested and 63488 written"),  # numpy's words for a full disk
]
SYSTEM_FAILURES = FAILURES[1:]


def name_of(failure: BaseException) -> str:
    return "-".join(str(failure).split()) or type(failure).__name__


def reported(failure: BaseException) -> type[BaseException]:
    """A full disk is something the user can mend."""
    return UserError if type(failure) is OSError else type(failure)


def a_manifest() -> Manifest:
    token = TensorSpec(names.SPEAKER_TOKEN, "float32", (names.ROWS, 1, 64))
    speaker = TensorSpec(names.SPEAKER, "float32", (names.ROWS, 256))
    graph = GraphSpec("backbone.onnx", "fp32", inputs=(speaker,), outputs=(token,))
    return Manifest(
        schema_version=names.SCHEMA_VERSION,
        engine=EngineSpec("onnxruntime", "ort"),
        language_model=LanguageModelSpec("mtp", 3, "linear", 64, 2, 2, 16, 128, True),
        prompt=PromptSpec("{text}<sosp>", bos_id=1, placeholder_id=2),
        sampling=SamplingDefaults(),
        length=LengthBound(),
        codec=CodecSpec((1024, 1024, 1024), 16_000, 200, 256, 28),
        graphs={names.SPEAKER_PROJECTION: graph},
        tokenizer="tokenizer.json",
        embeddings="embeddings.npy",
        voices={"anna": "voices/anna.safetensors"},
        default_voice="anna",
        files={},
        built_with={},
    )


def fill(folder: Path, content: str = "new") -> None:
    (folder / "voices").mkdir()
    for name in ("backbone.onnx", "tokenizer.json", "embeddings.npy", "voices/anna.safetensors"):
        (folder / name).write_text(content)


def write_bundle(output: Path, content: str = "new") -> None:
    with bundle_folder(output) as folder:
        fill(folder, content)
        publish_bundle(folder, a_manifest(), output)


def files_in(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_written_bundle_loads(tmp_path: Path) -> None:
    write_bundle(tmp_path / "engine")
    bundle = load_bundle(tmp_path / "engine")
    assert bundle.manifest.default_voice == "anna"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine"]
    assert (tmp_path / "engine").stat().st_mode & 0o777 == 0o755


def test_the_manifest_names_every_file_with_size_and_hash(tmp_path: Path) -> None:
    write_bundle(tmp_path / "engine")
    written = msgspec.json.decode((tmp_path / "engine" / "manifest.json").read_bytes())
    assert sorted(written["files"]) == [
        "backbone.onnx",
        "embeddings.npy",
        "tokenizer.json",
        "voices/anna.safetensors",
    ]
    (tmp_path / "engine" / "embeddings.npy").write_text("neW")
    with pytest.raises(UserError, match=r"embeddings\.npy: content differs"):
        load_bundle(tmp_path / "engine")


def test_an_old_bundle_is_replaced(tmp_path: Path) -> None:
    write_bundle(tmp_path / "engine", "old")
    write_bundle(tmp_path / "engine", "new")
    assert (tmp_path / "engine" / "backbone.onnx").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine"]


@pytest.mark.parametrize("failure", FAILURES, ids=name_of)
@pytest.mark.parametrize("with_old_bundle", [False, True])
def test_a_failure_while_building_changes_nothing(
    tmp_path: Path, failure: BaseException, with_old_bundle: bool
) -> None:
    if with_old_bundle:
        write_bundle(tmp_path / "engine", "old")
    before = files_in(tmp_path)

    def build_and_fail() -> None:
        with bundle_folder(tmp_path / "engine") as folder:
            fill(folder)
            raise failure

    with pytest.raises(reported(failure)):
        build_and_fail()
    assert files_in(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == int(with_old_bundle)


@pytest.mark.parametrize("failure", SYSTEM_FAILURES, ids=name_of)
@pytest.mark.parametrize("flushes", [0, 2, 5])
def test_a_failure_while_publishing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, flushes: int
) -> None:
    write_bundle(tmp_path / "engine", "old")
    before = files_in(tmp_path)
    calls: list[Path] = []

    def flush(path: Path) -> None:
        if len(calls) == flushes:
            raise failure
        calls.append(path)

    monkeypatch.setattr(folders, "_flush", flush)
    with pytest.raises(reported(failure)):
        write_bundle(tmp_path / "engine", "new")
    assert files_in(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine"]


@pytest.mark.parametrize("failure", SYSTEM_FAILURES, ids=name_of)
@pytest.mark.parametrize("failing_rename", [0, 1])
def test_the_old_bundle_returns_when_the_swap_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, failing_rename: int
) -> None:
    write_bundle(tmp_path / "engine", "old")
    monkeypatch.setattr(folders, "_exchange", lambda *_: False)  # as on Windows: two renames
    before, rename, calls = files_in(tmp_path), Path.rename, []

    def failing(path: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing_rename + 1:
            raise failure
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(reported(failure)):
        write_bundle(tmp_path / "engine", "new")
    assert files_in(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["engine"]


@pytest.mark.parametrize("failure", FAILURES[-2:], ids=name_of)
def test_a_full_disk_is_said(tmp_path: Path, failure: OSError) -> None:
    with (
        pytest.raises(UserError, match="engine: the disk is full"),
        bundle_folder(tmp_path / "engine"),
    ):
        raise failure


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no bundle"), bundle_folder(tmp_path / "thesis"):
        pytest.fail("the export must not begin")
    assert files_in(tmp_path) == {"thesis/chapter.txt": b"years of work"}


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "engine").write_text("a file")
    with pytest.raises(UserError, match="is no bundle"), bundle_folder(tmp_path / "engine"):
        pytest.fail("the export must not begin")


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "engine"

    def build_too_late() -> None:
        with bundle_folder(output) as folder:
            fill(folder)
            output.mkdir()
            publish_bundle(folder, a_manifest(), output)

    with pytest.raises(UserError, match="is no bundle"):
        build_too_late()
    assert list(output.iterdir()) == []


def test_a_missing_parent_folder_is_named(tmp_path: Path) -> None:
    output = tmp_path / "engines" / "one"
    with pytest.raises(UserError, match=r"no folder .*engines; make it"), bundle_folder(output):
        pytest.fail("the export must not begin")


def test_a_name_that_no_engine_can_open_is_refused_before_the_work(tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"caf\xe9")
    with (
        pytest.raises(UserError, match=r"caf\\xe9: has a name that is not UTF-8; rename it"),
        bundle_folder(output),
    ):
        pytest.fail("the export must not begin")
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    write_bundle(tmp_path / "engine-1", "old")
    (tmp_path / "engine").symlink_to("engine-1")
    write_bundle(tmp_path / "engine", "new")
    assert (tmp_path / "engine").is_symlink()
    assert (
        json.loads((tmp_path / "engine-1" / "manifest.json").read_text())["schema_version"]
        == names.SCHEMA_VERSION
    )
    assert (tmp_path / "engine-1" / "backbone.onnx").read_text() == "new"
