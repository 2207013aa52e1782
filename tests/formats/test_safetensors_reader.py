"""Safetensors files from anywhere: right ones are read exactly, others cannot hurt."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from commands.errors import UserError
from formats.safetensors_reader import read_safetensors, read_sharded_safetensors


def write(path: Path, header: Any, data: bytes = b"\0" * 24) -> Path:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (2, 3), offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def refuse(path: Path, part: str) -> None:
    with pytest.raises(UserError) as error:
        read_safetensors(path)
    assert part in str(error.value)
    assert str(path) in str(error.value)


def test_reads_what_the_library_wrote(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1.5, -2.0], np.float16),
        "c": np.array(7, np.int64),
        "empty": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "pt"})
    tensors = read_safetensors(tmp_path / "x.safetensors")
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        assert tensors[name].shape == array.shape
        np.testing.assert_array_equal(tensors[name].read(), array)
        assert tensors[name].read().dtype == array.dtype


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (entry(dtype="F8_E4M3"), "has type 'F8_E4M3'"),
        (entry(dtype=None), "has type None"),
        (entry(shape=[2, -3]), "damaged header"),
        (entry(shape="23"), "damaged header"),
        (entry(shape=[2, True]), "damaged header"),
        (entry(offsets=[0]), "damaged header"),
        (entry(offsets=[0, 28]), "outside the file"),
        (entry(offsets=[24, 0]), "outside the file"),
        (entry(offsets=[0, 20]), "does not fit shape"),
        (entry(shape=[2**62, 2**62]), "does not fit shape"),
        ({"w": 3}, "damaged header"),
        ([1, 2], "must hold a JSON object"),
        (b"{", "not a safetensors file"),
        (b"{{", "damaged JSON"),
        (b"[" * 100_000, "damaged JSON"),
    ],
    ids=str,
)
def test_damaged_headers(tmp_path: Path, header: Any, message: str) -> None:
    refuse(write(tmp_path / "x.safetensors", header), message)


@pytest.mark.parametrize("content", [b"", b"\1\2", b"\xff" * 8, b"\0" * 8])
def test_not_a_safetensors_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    refuse(tmp_path / "x.safetensors", "not a safetensors file")


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_mutations_give_arrays_or_a_user_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float16)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(UserError):
        for tensor in read_safetensors(path).values():
            assert tensor.read().shape == tensor.shape


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "no weight_map"),
        ({"weight_map": {"a": "../x.safetensors"}}, "not a file beside it"),
        ({"weight_map": {"a": "/etc/passwd"}}, "not a file beside it"),
        ({"weight_map": {"a": "gone.safetensors"}}, "not a file beside it"),
        ({"weight_map": {"b": "x.safetensors"}}, "no shard holds b"),
    ],
)
def test_damaged_index(tmp_path: Path, index: Any, message: str) -> None:
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises(UserError, match=message):
        read_sharded_safetensors(path)
