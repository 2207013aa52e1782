"""Rows of exported models: each says exactly what it says by itself, whatever its company.

Sixteen rows join and leave at random over 200 steps, with settings and noise of their own, for
every kind of head and both dialects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export.options import Capacity, ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from runtime import TTS
from tests.random_rows import random_requests, speak_alone, speak_together
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

ROWS = 16
STEPS = 200
MODELS: dict[str, dict[str, Any]] = {
    "6 linear heads": {"heads": 6, "end_bias": 1.0, "pad_bias": 2.0},
    "12 mlp heads": {"heads": 12, "head_kind": "mlp"},
    "3 transformer heads": {"heads": 3, "head_kind": "transformer", "speaker_aware": True},
    "next token": {"heads": 1},
}


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_codec_checkpoint(tmp_path_factory.mktemp("codec"))


@pytest.mark.parametrize("dialect", ["ort", "portable", "basic"])
@pytest.mark.parametrize("name", MODELS)
def test_rows_equal_their_solo_runs(codec: Path, tmp_path: Path, name: str, dialect: str) -> None:
    model = make_lm_checkpoint(tmp_path / "model", **MODELS[name], streams=TINY_STREAMS)
    options = ExportOptions(
        Source(model, codec),
        Numbers(dialect=dialect),
        Capacity(max_positions=400, rows=ROWS),
        output=tmp_path / "engine",
    )
    build_bundle(options)
    tts = TTS.load(options.output, threads=1)
    assert tts.decoder.rows == ROWS
    requests = random_requests(tts, 300, seed=1)
    together = speak_together(tts.decoder, requests, ROWS, STEPS, seed=1)
    assert sum(spoken.steps for spoken in together) > 8 * STEPS, "few steps had company"
    for asked, found in zip(requests, together, strict=True):
        if found.steps:
            assert found == speak_alone(tts.decoder, asked, found.steps)
