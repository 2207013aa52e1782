"""Speaker embeddings on disk: which files hold one, and which do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from commands.errors import UserError
from formats.speaker_files import read_speaker, write_speaker

SPEAKER = np.arange(5, dtype=np.float32)


def test_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "voices" / "anna.safetensors"
    write_speaker(path, SPEAKER.astype(np.float64))
    found = read_speaker(path, 5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, SPEAKER)


@pytest.mark.parametrize(
    "tensors",
    [
        {"speaker": SPEAKER, "other": np.zeros(3, np.float32)},
        {"spk_emb": SPEAKER[None, :, None]},
        {"speaker": SPEAKER.astype(np.float16)},
        {"speaker": SPEAKER.astype(np.float64)},
    ],
)
def test_files_of_others(tmp_path: Path, tensors: dict[str, Any]) -> None:
    save_file(tensors, tmp_path / "s.safetensors")
    np.testing.assert_array_equal(read_speaker(tmp_path / "s.safetensors", 5), SPEAKER)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": SPEAKER, "b": SPEAKER}, 'holds 2 tensors, none called "speaker"'),
        ({}, "holds 0 tensors"),
        ({"speaker": SPEAKER[:4]}, "must hold 5 finite numbers"),
        ({"speaker": SPEAKER + np.float32("nan")}, "must hold 5 finite numbers"),
        ({"speaker": np.arange(5)}, "holds whole numbers"),
        ({"speaker": np.zeros(300_000, np.float32)}, "larger than 1048576 bytes"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, tensors: dict[str, Any], message: str) -> None:
    path = tmp_path / "s.safetensors"
    save_file(tensors, path)
    with pytest.raises(UserError, match=message) as raised:
        read_speaker(path, 5)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_file_in_bfloat16(tmp_path: Path) -> None:
    path, entry = tmp_path / "s.safetensors", {"dtype": "BF16", "shape": [5]}
    values = SPEAKER.astype(ml_dtypes.bfloat16).tobytes()
    header = json.dumps({"speaker": entry | {"data_offsets": [0, len(values)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + values)
    np.testing.assert_array_equal(read_speaker(path, 5), SPEAKER)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=64))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError):
        read_speaker(path, 5)
    with pytest.raises(UserError, match="no such file"):
        read_speaker(tmp_path / "none", 5)
