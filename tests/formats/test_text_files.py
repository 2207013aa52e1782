"""Lines of text files in any encoding, and where they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands.errors import UserError
from formats.files.text_files import read_lines, read_text

# What UTF-8 can hold, but what `read_lines` takes for another encoding or for layout.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n\ufeff"))


@given(lines=st.lists(_TEXTS, max_size=5), ending=st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_are_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], ending: str
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes("".join(line + ending for line in lines).encode("utf-8-sig"))
    expected = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    assert list(read_lines(path)) == expected
    assert read_text(path) == "".join(f"{line}\n" for line in lines)


@given(content=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(content)
    try:
        read_text(path)
    except UserError as error:
        assert "line " in str(error)  # noqa: PT017  # reading rightly is right, too


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("latin-1", "WINDOWS-1252"),
        ("cp1252", "WINDOWS-1252"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_the_command_that_converts_is_said(tmp_path: Path, encoding: str, named: str) -> None:
    path = tmp_path / "my texts.csv"
    path.write_bytes("Plain first.\nCafé, naïve, façade.\n".encode(encoding))
    command = f"iconv -f {named} -t UTF-8 '{path}' > converted"
    with pytest.raises(UserError) as error:
        list(read_lines(path))
    assert command in str(error.value)
    assert ("line 2" if named == "WINDOWS-1252" else "line 1") in str(error.value)


def test_what_is_no_text_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "song"
    path.write_bytes(
        bytes([0xFF, 0xFB, 0x90, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7] * 9)
    )
    with pytest.raises(UserError, match=": is not text"):
        read_text(path)
