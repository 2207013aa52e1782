"""Unfinished work: the same inputs go on with it, others do not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from commands.errors import UserError
from formats.files.unfinished_work import (
    INPUTS_FILE,
    begin_work,
    check_work,
    differing_inputs,
    remove_work,
    unfinished_folder,
)

INPUTS: dict[str, Any] = {"codec": "9f86", "limits": (0.3, math.inf), "names": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return unfinished_folder(tmp_path / "tokens")


def test_it_lies_hidden_beside_the_output(folder: Path, tmp_path: Path) -> None:
    assert folder == tmp_path / ".tokens.unfinished"


def test_the_same_inputs_go_on(folder: Path) -> None:
    begin_work(folder, INPUTS)
    (folder / "part").touch()
    begin_work(folder, INPUTS)
    assert (folder / "part").is_file()
    assert differing_inputs(folder, INPUTS) == []
    remove_work(folder)
    assert not folder.exists()
    assert differing_inputs(folder, INPUTS) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"codec": "60af"}, "another codec;"),
        ({"codec": "60af", "limits": (0.3, 9.0)}, "another codec and another limits;"),
        ({"frontend": "hibari"}, "another frontend;"),
    ],
)
def test_other_inputs_are_refused(folder: Path, change: dict[str, Any], named: str) -> None:
    begin_work(folder, INPUTS)
    with pytest.raises(UserError, match=named):
        begin_work(folder, INPUTS | change)
    without = {name: value for name, value in INPUTS.items() if name != "names"}
    with pytest.raises(UserError, match="another names;"):
        check_work(folder, without)


def test_work_of_unknown_inputs_is_refused(folder: Path) -> None:
    folder.mkdir()
    check_work(folder, INPUTS)  # empty
    (folder / "part").touch()
    with pytest.raises(UserError, match="does not say what it was made from"):
        begin_work(folder, INPUTS)
    (folder / INPUTS_FILE).write_text("{cut")
    with pytest.raises(UserError, match="was begun with another codec"):
        begin_work(folder, INPUTS)
