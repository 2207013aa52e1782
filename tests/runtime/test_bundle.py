"""Loading a bundle: every fault is found before any other library sees a byte."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.errors import UserError
from runtime.bundle.loading import load_bundle
from runtime.bundle.manifest import encode_manifest, parse_manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE, MAX_MANIFEST_BYTES


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own."""
    return Path(shutil.copytree(plain_folder, tmp_path / "engine"))


def change_manifest(folder: Path, *keys: Any, value: Any) -> None:
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    place = manifest
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))


def refuse(folder: Path, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as refusal:
        load_bundle(folder)
    assert str(folder) in str(refusal.value)


def test_a_whole_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.path("embeddings.npy") == folder / "embeddings.npy"
    assert bundle.graph("backbone").file == "backbone.onnx"
    with pytest.raises(UserError, match="has no text_head graph"):
        bundle.graph("text_head")


def test_the_manifest_survives_encoding(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert parse_manifest(encode_manifest(manifest), "memory") == manifest


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    refuse(tmp_path, "not a bundle")
    refuse(tmp_path / "missing", "not a bundle")


@pytest.mark.parametrize("file", ["backbone.onnx", "embeddings.npy", "voices/plain.safetensors"])
def test_damaged_files(folder: Path, file: str) -> None:
    path = folder / file
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refuse(folder, f"{len(whole) - 1} bytes instead of {len(whole)}")
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    refuse(folder, "content differs from its hash")
    path.unlink()
    refuse(folder, "missing from the bundle")


def test_links_are_refused(folder: Path) -> None:
    table = folder / "embeddings.npy"
    table.rename(folder.parent / "elsewhere.npy")
    table.symlink_to(folder.parent / "elsewhere.npy")
    refuse(folder, "is a link")


def test_linked_folders_are_refused(folder: Path) -> None:
    (folder / "voices").rename(folder.parent / "voices")
    (folder / "voices").symlink_to(folder.parent / "voices")
    refuse(folder, "is a link")


def test_a_linked_snapshot_is_refused_with_the_command_that_copies_it(
    folder: Path, tmp_path: Path
) -> None:
    """A hub's cache: snapshots of links to files that are called after their hashes."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "it's 1"
    blobs.mkdir()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob = blobs / f"{len([*blobs.iterdir()]):040x}"
        path.rename(blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    with pytest.raises(UserError, match="is a link, as in a hub's cache") as refusal:
        load_bundle(snapshot)
    command = shlex.split(str(refusal.value).rpartition("copy it with: ")[2])
    assert command == ["cp", "-rL", str(snapshot), "DIR"]
    subprocess.run([*command[:-1], str(tmp_path / "copy")], check=True)
    assert load_bundle(tmp_path / "copy").manifest == read_manifest(snapshot)


def test_a_folder_with_a_name_that_is_not_utf8_is_refused(folder: Path) -> None:
    """Inference engines cannot open what is in it."""
    other = folder.rename(folder.with_name(os.fsdecode(b"caf\xe9")))
    with pytest.raises(UserError, match=r"caf\\xe9: has a name that is not UTF-8; rename it"):
        load_bundle(other)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/../../b", "", ".", "a//b", "C:\\x", "a\nb", ".hidden"]
)
def test_names_outside_the_folder_are_refused(folder: Path, name: str) -> None:
    record = {"size_bytes": 1, "sha256": "0" * 64}
    change_manifest(folder, "files", name, value=record)
    refuse(folder, "unsafe file name")


def test_a_file_without_a_hash_is_refused(folder: Path) -> None:
    change_manifest(folder, "tokenizer", value="other.json")
    refuse(folder, "no hash for other.json")


@pytest.mark.parametrize(("version", "word"), [(3, "newer"), (1, "older"), (0, "older")])
def test_other_schemas_are_refused(folder: Path, version: int, word: str) -> None:
    change_manifest(folder, "schema_version", value=version)
    refuse(folder, f"schema {version} is {word}")


def test_an_older_bundle_names_the_command_that_makes_a_new_one(folder: Path) -> None:
    change_manifest(folder, "schema_version", value=1)
    refuse(folder, "make the bundle again: python -m export.build --heads 3 --output DIR .another")
    plans = {"kind": "tensorrt", "plans": {"source_options": "--model m --codec c"}}
    change_manifest(folder, "engine", value=plans)
    refuse(folder, "python -m export.build --target tensorrt --model m --codec c --output DIR")


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    os.truncate(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES + 1)
    refuse(folder, "larger than")


@pytest.mark.parametrize(
    ("keys", "value", "complaint"),
    [
        (("language_model", "heads"), "three", "Expected `int`"),
        (("language_model", "kind"), "rnn", "Invalid enum value 'rnn'"),
        (("language_model", "heads"), 0, "Expected `int` >= 1"),
        (("length", "frames_per_token"), -1.0, "Expected `float` > 0"),
        (("surprise",), 1, "unknown field `surprise`"),
        (("codec",), {}, "missing required field"),
    ],
)
def test_the_schema_is_strict(
    folder: Path, keys: tuple[str, ...], value: object, complaint: str
) -> None:
    change_manifest(folder, *keys, value=value)
    refuse(folder, complaint)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_content_is_one_error(content: bytes) -> None:
    with pytest.raises(UserError):
        parse_manifest(content, "memory")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), value=JSON)
def test_any_changed_field_is_one_error_or_none(
    plain_folder: Path, data: st.DataObject, value: object
) -> None:
    manifest = json.loads((plain_folder / MANIFEST_FILE).read_text())
    place, key = manifest, data.draw(st.sampled_from(sorted(manifest)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
    place[key] = value
    with suppress(UserError):
        parse_manifest(json.dumps(manifest).encode(), "memory")
