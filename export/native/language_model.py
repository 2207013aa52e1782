"""A language model, packed: everything that the file of weights has of it, and facts about it.

In: a checkpoint, and the number formats of its products. Out: matrices and tensors in the order in
which a step reads them, and the facts of the metadata. docs/native-engine.md has the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from export.graph.precisions import QUANTIZED
from export.graph.rotary import rotary_frequencies
from export.native.decoder_layers import backbone_layers
from export.native.heads import code_table, speaker_projection, speech_heads, text_head
from export.native.matrix import Matrix
from export.native.products import Products
from export.native.weight_file import Tensor, float_tensor
from export.native.widths import filled_tensor
from export.readers.checkpoint import Checkpoint
from formats.precisions import CacheFormat, Precision
from formats.weights import as_weight
from runtime.bundle.manifest import LanguageModelSpec

CACHE_NAMES: Mapping[CacheFormat, str] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


def pack_language_model(
    checkpoint: Checkpoint, products: Products, precision: Precision, *, with_text_head: bool
) -> Iterator[Matrix | Tensor]:
    """All of it."""
    config, is_fitted = checkpoint.config, precision in QUANTIZED
    frequencies = rotary_frequencies(config.head_dim, config.rope_theta)
    yield float_tensor("rotary.frequencies", as_weight("frequencies", frequencies))
    yield from backbone_layers(checkpoint, products, is_fitted=is_fitted)
    yield filled_tensor("final_norm", checkpoint.weight("model.norm.weight"))
    yield from speech_heads(checkpoint, products, is_fitted=is_fitted)
    yield code_table(checkpoint, precision)
    if config.spk_aware:
        yield from speaker_projection(checkpoint)
    if with_text_head:
        yield from text_head(checkpoint, products)


def language_model_facts(
    checkpoint: Checkpoint,
    spec: LanguageModelSpec,
    precision: Precision,
    cache: CacheFormat,
    *,
    with_text_head: bool,
) -> dict[str, Any]:
    """Facts of the metadata. spec: the manifest's."""
    config = checkpoint.config
    has_layers = spec.head_kind == "transformer"
    vocabulary, _ = checkpoint.tensors[checkpoint.output_embeddings].shape
    channels, hidden = config.spk_emb_dim, config.speaker_hidden_size
    return {
        "language_model": {
            "kind": spec.kind,
            "heads": spec.heads,
            "head_kind": spec.head_kind,
            "hidden_size": spec.hidden_size,
            "intermediate_size": config.intermediate_size,
            "layers": spec.layers,
            "query_heads": config.num_attention_heads,
            "kv_heads": spec.kv_heads,
            "head_dim": spec.head_dim,
            "max_positions": spec.max_positions,
            "rms_norm_epsilon": config.rms_norm_eps,
            "head_layers": config.head_transformers_layer if has_layers else 0,
            "precision": precision,
            "cache": CACHE_NAMES[cache],
        },
        "streams": config.streams.sizes,
        "speaker": {"channels": channels, "hidden": hidden} if spec.speaker_aware else None,
        "text_head": {"vocabulary": vocabulary} if with_text_head else None,
    }
