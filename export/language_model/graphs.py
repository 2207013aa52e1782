"""Which graphs a language model becomes.

In: a checkpoint. Out: its `Graph`s one after another, so that only one is in memory while it is
saved. It does not know how each of them is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from export.graph.graph import Graph
from export.graph.precisions import Precision, WeightFormats
from export.language_model.backbone import build_backbone
from export.language_model.mtp_head import build_mtp_head
from export.language_model.ntp_head import build_ntp_head
from export.language_model.speaker_projection import build_speaker_projection
from export.language_model.text_head import build_text_head
from export.readers.checkpoint import Checkpoint


def language_model_graphs(
    checkpoint: Checkpoint,
    dialect: str,
    precision: Precision = "fp32",
    formats: WeightFormats | None = None,
    *,
    with_text_head: bool = False,
) -> Iterator[Graph]:
    """Backbone and speech head; the others where the checkpoint or the caller asks for them."""
    yield build_backbone(checkpoint, dialect, precision, formats)
    build_head = build_mtp_head if checkpoint.config.kind == "mtp" else build_ntp_head
    yield build_head(checkpoint, dialect, precision, formats)
    if checkpoint.config.spk_aware:
        yield build_speaker_projection(checkpoint, dialect, precision, formats)
    if with_text_head:
        yield build_text_head(checkpoint, dialect, precision, formats)
