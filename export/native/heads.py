"""The heads of a language model, packed, and what they look up.

In: a checkpoint and the number formats of its products. Out: matrices and tensors by the names of
docs/native-engine.md. Calibrations know all heads as one product, or as parts of a batch, with as
many entries for each head as the largest stream has (`export.language_model.head_scores`); here
each head has its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from export.bundle.tables import embedding_type
from export.language_model.code_embeddings import code_embeddings
from export.language_model.ntp_head import speech_output
from export.native.decoder_layers import head_layers
from export.native.matrix import Matrix, float_matrix
from export.native.products import Products, make_matrix
from export.native.weight_file import Tensor, float_tensor
from export.native.widths import filled_tensor
from export.readers.checkpoint import Checkpoint
from formats.precisions import Precision
from formats.weights import Weight, as_weight
from runtime.bundle.interfaces import MTP_SPECIAL, NTP_SPECIAL

Parts = Iterator[Matrix | Tensor]


def speech_heads(checkpoint: Checkpoint, products: Products, *, is_fitted: bool) -> Parts:
    """`head.0.…` and following."""
    config = checkpoint.config
    if config.kind == "ntp":
        yield from _streams_of_next_token(checkpoint, products)
    elif config.head_implement == "linear":
        entries = config.streams.largest + MTP_SPECIAL
        yield from _side_by_side(checkpoint, products, "head", "output", entries)
    elif config.head_implement == "mlp":
        yield from _side_by_side(checkpoint, products, "head.0", "inner", 2 * config.hidden_size)
        yield from _batch(checkpoint, products, "head.2")
    else:
        yield from head_layers(checkpoint, products, is_fitted=is_fitted)
        for head in range(config.heads):
            for kind in ("weight", "bias"):
                norm = checkpoint.weight(f"speech_heads.{head}.head_norm.{kind}")
                yield filled_tensor(f"head.{head}.norm.{kind}", norm)
        yield from _batch(checkpoint, products, "head_proj")


def code_table(checkpoint: Checkpoint, precision: Precision) -> Tensor:
    """`code_embeddings`: the rows that any head can draw. A pad that nothing draws is zeros."""
    table, config = code_embeddings(checkpoint), checkpoint.config
    rows = config.streams.total + (MTP_SPECIAL if config.kind == "mtp" else NTP_SPECIAL)
    table = table.padded(rows, 0.0) if table.shape[0] < rows else _rows(table, slice(rows))
    dtype = "F32" if embedding_type(checkpoint, precision).itemsize == 4 else "F16"
    return float_tensor("code_embeddings", table, dtype)


def speaker_projection(checkpoint: Checkpoint) -> Parts:
    """`speaker.inner` and `speaker.output`, in float32 at every precision."""
    for name, module in (("inner", "0"), ("output", "2")):
        weight, bias = _of_module(checkpoint, f"spk_emb_proj.{module}")
        yield float_matrix(f"speaker.{name}", "fp32", weight, bias)


def text_head(checkpoint: Checkpoint, products: Products) -> Parts:
    """`text_head` and the tokens that it never writes."""
    weight = checkpoint.weight(checkpoint.output_embeddings)
    yield make_matrix("text_head", weight, products.usual, products.find(weight))
    never = np.zeros(weight.shape[0], np.uint8)
    never[list(checkpoint.tokens.never_written)] = 1
    yield Tensor("text_head.never", "U8", never.shape, lambda: [never])


def _streams_of_next_token(checkpoint: Checkpoint, products: Products) -> Parts:
    """Codes and `<eosp>` of each stream."""
    whole, streams = speech_output(checkpoint), checkpoint.config.streams
    entries = streams.largest + NTP_SPECIAL
    for stream, size in enumerate(streams.sizes):
        rows = slice(stream * entries, stream * entries + size + NTP_SPECIAL)
        weight = _rows(whole, rows)
        bias = as_weight("no_bias", np.zeros(weight.shape[0]))
        quantized = products.find(whole, rows)
        yield make_matrix(f"head.{stream}.output", weight, products.exact, quantized, bias)


def _side_by_side(
    checkpoint: Checkpoint, products: Products, module: str, name: str, outputs: int
) -> Parts:
    """A module of all heads that calibrations know as one product, with `outputs` for each."""
    heads = checkpoint.config.heads
    for head in range(heads):
        weight, bias = _of_module(checkpoint, f"speech_heads.{head}.{module}")
        whole = Weight(
            f"speech_heads.{module}.weight", (heads * outputs, weight.shape[1]), weight.read
        )
        quantized = products.find(whole, slice(head * outputs, head * outputs + weight.shape[0]))
        yield make_matrix(f"head.{head}.{name}", weight, products.exact, quantized, bias)


def _batch(checkpoint: Checkpoint, products: Products, module: str) -> Parts:
    """The last module of all heads, which calibrations know as parts of a batch."""
    heads, entries = checkpoint.config.heads, checkpoint.config.streams.largest + MTP_SPECIAL
    batch = f"speech_heads.{module}.weight"
    for head in range(heads):
        weight, bias = _of_module(checkpoint, f"speech_heads.{head}.{module}")
        whole = weight.padded(entries, 0.0)
        rows = slice(weight.shape[0])
        quantized = products.find_in_batch(batch, heads, head, whole, rows)
        yield make_matrix(f"head.{head}.output", weight, products.exact, quantized, bias)


def _of_module(checkpoint: Checkpoint, name: str) -> tuple[Weight, Weight]:
    """(weight, bias)."""
    return checkpoint.weight(f"{name}.weight"), checkpoint.weight(f"{name}.bias")


def _rows(weight: Weight, rows: slice) -> Weight:
    count = len(range(weight.shape[0])[rows])
    return Weight(weight.name, (count, *weight.shape[1:]), lambda: weight.read()[rows])
