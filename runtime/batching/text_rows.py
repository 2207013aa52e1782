"""What is to be spoken: one row a text, and the name of its file.

In: ids and texts as they come, which may be hostile. Out: rows that were checked against each
other. It knows neither tables nor engines.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from commands.errors import UserError
from runtime.speech.sampling import MAX_SEED

MAX_PLAIN_CHARACTERS = 100  # of an id that is a file's name as it is
MAX_ID_CHARACTERS = 1_000
HASH_DIGITS = 12  # of 16 values each: among a million ids none is expected to meet another

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # Windows


@dataclass(frozen=True)
class TextRow:
    """A text to speak.

    where: the row in messages. voice: a voice of the bundle; None: what the command says. seed:
    the row's own; None: one that is made of the command's and the id.
    """

    where: str
    id: str
    text: str
    voice: str | None = None
    seed: int | None = None

    def with_seed(self, seed: int) -> int:
        """The seed that it is spoken with. It does not depend on other rows."""
        if self.seed is not None:
            return self.seed
        digest = hashlib.sha256(f"{seed}\0{self.id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") & MAX_SEED

    @property
    def file_stem(self) -> str:
        """The name of its file, without the ending: the id if every system can take it for a name.
        Otherwise what can be read of it, and a hash, so that different ids have different names."""
        is_plain = len(self.id) <= MAX_PLAIN_CHARACTERS and _PLAIN.fullmatch(self.id)
        if is_plain and not self.id.endswith(".") and not _RESERVED.fullmatch(self.id):
            return self.id
        readable = re.sub(r"[^A-Za-z0-9]+", "_", self.id)[:40].strip("_")
        digest = hashlib.sha256(self.id.encode()).hexdigest()[:HASH_DIGITS]
        return f"{readable or 'row'}-{digest}"


def check_row(row: TextRow) -> None:
    """Refuse what cannot be written down. What cannot be spoken fails later, and by itself.

    Raises:
        UserError: an empty or endless id, or half a character.
    """
    if not row.id or len(row.id) > MAX_ID_CHARACTERS:
        raise UserError(f"{row.where}: an id has 1 to {MAX_ID_CHARACTERS} characters; give another")
    for value in (row.id, row.text, row.voice or ""):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(f"{row.where}: holds half a character; write it anew") from None


def check_rows(rows: Iterable[TextRow]) -> list[TextRow]:
    """The same rows, each checked, and none with the id or the file of another.

    Raises:
        UserError: two ids that are equal, or whose files some systems cannot tell apart.
    """
    known: dict[str, TextRow] = {}
    for row in rows:
        check_row(row)
        other = known.setdefault(row.file_stem.casefold(), row)
        if other is not row:
            same = "have the same id" if other.id == row.id else "would be one file"
            raise UserError(
                f"{row.where} and {other.where}: {row.id!r} and {other.id!r} {same}; "
                "give one of them another id"
            )
    return list(known.values())
