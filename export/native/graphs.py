"""The graphs that a native bundle stands for, as its manifest describes them.

In: a manifest and the precision of each graph. Out: the same manifest with an entry for each graph:
the file of the weights, and the tensors that go in and out. There are no states, because the engine
keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from formats.precisions import Precision
from runtime.bundle.interfaces import Tensor, interface_of
from runtime.bundle.manifest import DType, GraphSpec, LanguageModelSpec, Manifest, TensorSpec
from runtime.bundle.names import (
    BACKBONE,
    CODEC_DECODER,
    CODEC_ENCODER,
    MTP_HEAD,
    NTP_HEAD,
    PACKED_WEIGHTS,
    SPEAKER_PROJECTION,
    TEXT_HEAD,
)


def name_graphs(
    model: LanguageModelSpec,
    precision: Precision,
    codec_precision: Precision,
    *,
    with_text_head: bool,
) -> dict[str, GraphSpec]:
    """Entries without tensors."""
    precisions = {
        BACKBONE: precision,
        MTP_HEAD if model.kind == "mtp" else NTP_HEAD: precision,
        **({SPEAKER_PROJECTION: precision} if model.speaker_aware else {}),
        **({TEXT_HEAD: precision} if with_text_head else {}),
        CODEC_DECODER: codec_precision,
        CODEC_ENCODER: "fp32",
    }
    return {name: GraphSpec(PACKED_WEIGHTS, p, (), ()) for name, p in precisions.items()}


def describe_graphs(manifest: Manifest) -> Manifest:
    """The manifest with the tensors of all its graphs."""
    graphs = {name: _describe(manifest, name) for name in manifest.graphs}
    return msgspec.structs.replace(manifest, graphs=graphs)


def _describe(manifest: Manifest, name: str) -> GraphSpec:
    wanted = interface_of(manifest, name)
    return msgspec.structs.replace(
        manifest.graphs[name], inputs=_specify(wanted.inputs), outputs=_specify(wanted.outputs)
    )


def _specify(tensors: Mapping[str, Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, dtype=cast(DType, tensor.dtypes[0]), shape=tensor.shape)
        for name, tensor in tensors.items()
    )
