"""A model and a codec of other streams than FACodec's, exported: the engine speaks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.options import Capacity, ExportOptions, Numbers, Source
from export.pipeline import build_bundle
from runtime import TTS, Sampling
from tests.tiny_codec import OTHER_STREAMS, other_codec_config
from tests.tiny_models import make_lm_checkpoint
from tests.tiny_weights import make_codec
from train.codec_model.checkpoint import save_codec


@pytest.mark.parametrize("dialect", ["ort", "portable", "basic"])
@pytest.mark.parametrize("heads", [1, 8])
def test_an_engine_speaks_other_streams(heads: int, dialect: str, tmp_path: Path) -> None:
    config = other_codec_config()
    save_codec(make_codec(config), tmp_path / "codec")
    model = make_lm_checkpoint(
        tmp_path / "model", heads=heads, end_bias=-4.0, streams=OTHER_STREAMS
    )
    engine = tmp_path / "engine"
    manifest = build_bundle(
        ExportOptions(
            Source(model, tmp_path / "codec"),
            Numbers(dialect=dialect),
            Capacity(max_positions=256, rows=3),
            output=engine,
            compare=False,
        )
    )
    assert manifest.codec.streams == OTHER_STREAMS.sizes
    assert manifest.codec.frames_per_second == OTHER_STREAMS.frames_per_second
    assert manifest.engine.rows == 3
    tts = TTS.load(engine)
    speaker = np.random.default_rng(0).standard_normal(config.speaker_channels).astype(np.float32)
    spoken = [
        tts.synthesize("So.", voice=speaker, sampling=Sampling(seed=seed), max_steps=16)
        for seed in range(4)
    ]
    frames = np.concatenate([one.frames for one in spoken])
    assert len(frames) > 0
    assert frames.shape[1] == OTHER_STREAMS.count
    assert (frames < OTHER_STREAMS.sizes).all()
    assert all(len(one.audio) == config.hop_samples * len(one.frames) for one in spoken)
