"""The tables that a runtime reads beside the graphs: the tokenizer and the input embeddings."""

from __future__ import annotations

from pathlib import Path

from export.bundle.embedding_table import write_embeddings
from export.bundle.manifest import TOKENIZER_FILE
from export.readers.checkpoint import Checkpoint
from formats.precisions import Precision


def write_tables(checkpoint: Checkpoint, folder: Path, precision: Precision = "fp32") -> None:
    """Write both into a bundle's folder. precision: of the model that reads the embeddings."""
    (folder / TOKENIZER_FILE).write_text(checkpoint.tokenizer.to_str(), encoding="utf-8")
    write_embeddings(checkpoint, folder, precision)
