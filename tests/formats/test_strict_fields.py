"""YAML files of settings that extend another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.errors import UserError
from formats.files.strict_fields import read_yaml

BASE = """
heads: 6
model: {layers: 2, prompts: {tts: a, tail: b}}
train: [{file: one}, {file: two}]
"""


def write(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        (folder / f"{name}.yaml").write_text(text)


def test_what_a_file_says_comes_before_what_it_extends(tmp_path: Path) -> None:
    more = "extends: base.yaml\nmodel: {prompts: {tts: c}, width: 4}\ntrain: [{file: three}]\n"
    write(tmp_path, base=BASE, more=more, most="extends: more.yaml\nheads: 3\n")
    assert read_yaml(tmp_path / "most.yaml") == {
        "heads": 3,
        "model": {"layers": 2, "prompts": {"tts": "c", "tail": "b"}, "width": 4},
        "train": [{"file": "three"}],
    }


def test_what_is_extended_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write(tmp_path, base=BASE)
    write(tmp_path / "inner", more="extends: ../base.yaml\n")
    assert read_yaml(tmp_path / "inner" / "more.yaml") == read_yaml(tmp_path / "base.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: more.yaml", r"more\.yaml: 'extends' leads back to this file"),
        ("extends: other.yaml", r"more\.yaml: 'extends' leads back to this file"),
        ("extends: missing.yaml", r"missing\.yaml: no such configuration file"),
        ("extends: empty.yaml", r"empty\.yaml: must be an object of keys, not None"),
        ("extends: [base.yaml]", r"more\.yaml: 'extends' must name a file, not \['base\.yaml'\]"),
    ],
)
def test_what_cannot_be_extended_is_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, base=BASE, empty="", other="extends: more.yaml", more=text)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "more.yaml")
