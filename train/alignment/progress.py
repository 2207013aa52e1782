"""What `train.align` has done so far, on disk beside its output, so that it can go on.

In: a plan that names recordings and options. Out: the aligner, as far as it is trained, and the
durations that were found, each file complete or absent. Knows nothing of audio.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.errors import UserError
from formats.files.atomic import write_atomically
from train.data.token_parts import check_plan

Durations = dict[Path, tuple[int, ...]]
_ALIGNER_FILE = "aligner.pt"


class AlignProgress:
    """A folder, made when the first thing is kept."""

    def __init__(self, output: Path, plan: Mapping[str, Any]) -> None:
        self.folder = output.with_name(f".{output.name}.unfinished")
        self._plan = plan
        if self.folder.is_dir():
            check_plan(self.folder, plan)

    def load_aligner(self) -> dict[str, Any] | None:
        """The state that `save_aligner` was given last."""
        import torch

        path = self.folder / _ALIGNER_FILE
        if not path.is_file():
            return None
        try:
            return torch.load(path, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(f"{path}: cannot be read ({error}); delete it to learn anew") from None

    def save_aligner(self, state: dict[str, Any]) -> None:
        """Keep how far the learning is."""
        import torch

        check_plan(self.folder, self._plan)
        partial = self.folder / f"{_ALIGNER_FILE}.partial"
        torch.save(state, partial)
        partial.replace(self.folder / _ALIGNER_FILE)

    def load_durations(self, first: int) -> Durations | None:
        """What was found for the chunk of recordings that begins with number `first`."""
        path = self._chunk(first)
        if not path.is_file():
            return None
        found = json.loads(path.read_text(encoding="utf-8"))
        return {Path(name): tuple(counts) for name, counts in found.items()}

    def save_durations(self, first: int, durations: Durations) -> None:
        """Keep what was found for a chunk."""
        check_plan(self.folder, self._plan)
        found = {str(path): counts for path, counts in durations.items()}
        write_atomically(self._chunk(first), json.dumps(found).encode())

    def remove(self) -> None:
        """Everything is in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _chunk(self, first: int) -> Path:
        return self.folder / f"durations-{first:07d}.json"
