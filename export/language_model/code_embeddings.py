"""The input embeddings of speech codes: what a head looks up to feed its draw back.

In: a checkpoint. Out: a table with one row per code of the three codebooks, then `<eosp>` and
`<|speech_pad|>`, and the row of a drawn code. It does not know how many codes a step has.
"""

from __future__ import annotations

from export.graph.graph import Graph
from export.graph.writer import Value
from export.readers.checkpoint import EMBEDDINGS, Checkpoint
from formats.checkpoint.language_model_config import TOKENS_PER_FRAME
from formats.checkpoint.tokenizer import CODEBOOK_SIZE
from formats.weights import Weight

# In the own vocabulary of every head, after its codes.
END_CODE = CODEBOOK_SIZE  # <eosp>
PAD_CODE = CODEBOOK_SIZE + 1  # <|speech_pad|>

# In the table, after all codes.
END_ROW = TOKENS_PER_FRAME * CODEBOOK_SIZE
PAD_ROW = END_ROW + 1


def code_embeddings(checkpoint: Checkpoint) -> Weight:
    """(3·1024 + 2, H); without the last row if the tokenizer has no `<|speech_pad|>`."""
    tokens = checkpoint.tokens
    pad = [] if tokens.pad is None else [tokens.pad]
    ids = [token for codebook in tokens.codes for token in codebook] + [tokens.end, *pad]
    return checkpoint.rows("code_embeddings", ids, of=EMBEDDINGS)


def code_rows(graph: Graph, codes: Value, codebooks: Value) -> Value:
    """Table rows of local `codes` (N) that belong to `codebooks` (N), 0 to 2."""
    op = graph.op
    of_code = op.Add(codes, op.Mul(codebooks, CODEBOOK_SIZE))
    of_special = op.Add(codes, END_ROW - END_CODE)
    return op.Where(op.Less(codes, CODEBOOK_SIZE), of_code, of_special)
