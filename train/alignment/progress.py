"""What `train.align` has done so far, on disk beside its output, so that it can continue.

In: the inputs of the run: recordings and options. Out: the aligner as far as it is trained, and the
durations that were found; each file is complete or absent. It does not know audio.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.atomic import replacing, write_text
from formats.files.unfinished_work import (
    Inputs,
    begin_work,
    check_work,
    remove_work,
    unfinished_folder,
)

Durations = dict[Path, tuple[int, ...]]
_ALIGNER_FILE = "aligner.pt"


class AlignProgress:
    """A folder that is made when the first result is kept."""

    def __init__(self, output: Path, inputs: Inputs) -> None:
        self.folder = unfinished_folder(output)
        self._inputs = inputs
        check_work(self.folder, inputs)

    def load_aligner(self) -> dict[str, Any] | None:
        """The state that was saved last, or None."""
        import torch

        path = self.folder / _ALIGNER_FILE
        if not path.is_file():
            return None
        try:
            return torch.load(path, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete it to learn again") from None

    def save_aligner(self, state: dict[str, Any]) -> None:
        """Keep the state of the training."""
        import torch

        begin_work(self.folder, self._inputs)
        with replacing(self.folder / _ALIGNER_FILE) as partial:
            torch.save(state, partial)

    def load_durations(self, first: int) -> Durations | None:
        """The durations of the chunk that begins with recording number `first`, or None."""
        path = self._chunk(first)
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return {Path(name): tuple(counts) for name, counts in found.items()}

    def save_durations(self, first: int, durations: Durations) -> None:
        """Keep the durations of a chunk."""
        begin_work(self.folder, self._inputs)
        found = {str(path): counts for path, counts in durations.items()}
        write_text(self._chunk(first), json.dumps(found))

    def remove(self) -> None:
        """Remove the folder: the output is in its place."""
        remove_work(self.folder)

    def _chunk(self, first: int) -> Path:
        return self.folder / f"durations-{first:07d}.json"
