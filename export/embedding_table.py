"""The input embeddings as a file that a runtime maps into memory.

In: a checkpoint. Out: `embeddings.npy`, one row per token, in float16 where the checkpoint is and
in float32 otherwise. Only the rows of a prompt are ever read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.checkpoint import EMBEDDINGS, Checkpoint

EMBEDDINGS_FILE = "embeddings.npy"
_ROWS_AT_A_TIME = 8192


def write_embeddings(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `folder/embeddings.npy` in blocks of rows."""
    stored = checkpoint.tensors[EMBEDDINGS]
    dtype = np.dtype("<f2" if stored.dtype == np.float16 else "<f4")
    table = stored.read()
    header = {"descr": dtype.str, "fortran_order": False, "shape": stored.shape}
    with (folder / EMBEDDINGS_FILE).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(table), _ROWS_AT_A_TIME):
            file.write(table[start : start + _ROWS_AT_A_TIME].astype(dtype).tobytes())
