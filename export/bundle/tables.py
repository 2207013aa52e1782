"""The tables that a runtime reads beside the graphs: the tokenizer and the input embeddings.

In: a checkpoint, and the precision of the model that reads the embeddings. Out: `tokenizer.json`
and `embeddings.npy`. The embeddings have one row for each token. They are in float32 for models in
fp32, unless the checkpoint is in float16, and in float16 for all other models; even so they are a
third of a small model's INT4 bundle. A runtime maps the file and reads only the rows of its
prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from commands.errors import UserError
from export.readers.checkpoint import EMBEDDINGS, Checkpoint
from formats.precisions import Precision
from formats.safetensors_reader import StoredTensor
from formats.weights import Array

TOKENIZER_FILE, EMBEDDINGS_FILE = "tokenizer.json", "embeddings.npy"
_ROWS_AT_A_TIME = 8192


def write_tables(checkpoint: Checkpoint, folder: Path, precision: Precision = "fp32") -> None:
    """Write both into a bundle's folder. Raises `UserError`: a value is beyond float16."""
    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
    write_embeddings(checkpoint, folder, precision)


def embedding_type(checkpoint: Checkpoint, precision: Precision) -> np.dtype[np.floating]:
    """The type of input embeddings for a model of this precision."""
    is_half = checkpoint.tensors[EMBEDDINGS].dtype == np.float16
    return np.dtype("<f4" if precision == "fp32" and not is_half else "<f2")


def write_embeddings(checkpoint: Checkpoint, folder: Path, precision: Precision = "fp32") -> None:
    """Write `folder/embeddings.npy` in blocks of rows.

    float16 has more places than bfloat16, so a bfloat16 checkpoint loses precision only in values
    below float16's smallest normal number, 6e-5. The error is 3e-8 at most.

    Raises:
        UserError: a value is beyond float16.
    """
    stored, dtype = checkpoint.tensors[EMBEDDINGS], embedding_type(checkpoint, precision)
    header = {"descr": dtype.str, "fortran_order": False, "shape": stored.shape}
    with (folder / EMBEDDINGS_FILE).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in _blocks(stored, dtype):
            file.write(block.tobytes())


def _blocks(stored: StoredTensor, dtype: np.dtype[np.floating]) -> Iterator[Array]:
    table = stored.read()
    for start in range(0, len(table), _ROWS_AT_A_TIME):
        rows = table[start : start + _ROWS_AT_A_TIME]
        with np.errstate(over="ignore"):  # checked below
            block = rows.astype(dtype)
        if np.isinf(block).any() and not np.isinf(rows).any():
            largest = np.abs(rows.astype(np.float32)).max()
            raise UserError(
                f"{stored.where}: {largest:.3g} is beyond float16; export with --precision fp32"
            )
        yield block
