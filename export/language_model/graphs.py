"""Which graphs a language model becomes.

In: a checkpoint. Out: its `ModelGraph`s one after another, so that only one is in memory at a time.
It does not know how each of them is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from export.graph.model_graph import ModelGraph
from export.graph.precisions import GraphNumbers
from export.language_model.backbone import build_backbone
from export.language_model.mtp_head import build_mtp_head
from export.language_model.ntp_head import build_ntp_head
from export.language_model.speaker_projection import build_speaker_projection
from export.language_model.text_head import build_text_head
from export.readers.checkpoint import Checkpoint


def language_model_graphs(
    checkpoint: Checkpoint, numbers: GraphNumbers, *, with_text_head: bool = False
) -> Iterator[ModelGraph]:
    """Backbone and speech head, then a speaker projection if the checkpoint has one."""
    yield build_backbone(checkpoint, numbers)
    build_head = build_mtp_head if checkpoint.config.kind == "mtp" else build_ntp_head
    yield build_head(checkpoint, numbers)
    if checkpoint.config.spk_aware:
        yield build_speaker_projection(checkpoint, numbers)
    if with_text_head:
        yield build_text_head(checkpoint, numbers)
