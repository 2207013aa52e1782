"""Which codes count as unlike PyTorch's: those that fit worse, not the other side of a tie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.checks.codec_checks import example_audio
from export.checks.codec_parity import _hear
from export.checks.limits import ENCODED_CODES
from tests.tiny_codec import make_codec_checkpoint
from train.codec_model.checkpoint import load_codec
from train.codec_model.facodec import FACodec

SAMPLES = 400


@pytest.fixture
def codec(tmp_path: Path) -> FACodec:
    return load_codec(make_codec_checkpoint(tmp_path / "codec"))


def hear(codec: FACodec, found: np.ndarray) -> float:
    audio = torch.from_numpy(example_audio(codec.config, SAMPLES))
    with torch.inference_mode():
        return _hear(codec, audio, found)[0]


def encode(codec: FACodec) -> np.ndarray:
    with torch.inference_mode():
        codes, _ = codec.encode(torch.from_numpy(example_audio(codec.config, SAMPLES)))
    return codes.numpy().copy()


def test_its_own_codes_are_right(codec: FACodec) -> None:
    assert hear(codec, encode(codec)) == 0


@pytest.mark.parametrize("column", [0, 1, 2])
def test_one_wrong_code_is_found(codec: FACodec, column: int) -> None:
    codes = encode(codec)
    codes[0, 3, column] = (codes[0, 3, column] + 1) % codec.config.codebook_size
    assert hear(codec, codes) > ENCODED_CODES  # one of 120


def test_a_frame_too_early_or_missing_is_found(codec: FACodec) -> None:
    codes = encode(codec)
    assert hear(codec, np.roll(codes, 1, axis=1)) > 0.3
    assert hear(codec, codes[:, :-1]) == 1
    codes[0, 0, 0] = codec.config.codebook_size
    assert hear(codec, codes) == 1


@pytest.mark.parametrize("column", [0, 2])
def test_the_other_side_of_a_tie_is_as_good(codec: FACodec, column: int) -> None:
    """And what the next codebook finds in what this one leaves is then another thing, too."""
    codes = encode(codec)
    books = [*codec.decoder.content_quantizer.codebooks, *codec.decoder.prosody_quantizer.codebooks]
    best = int(codes[0, 5, column])
    with torch.no_grad():
        entries = books[column]._codebook.weight
        twin = (best + 1) % len(entries)
        entries[twin] = 300 * entries[best] * (1 + 1e-6)  # another length, so another remainder
    expected = encode(codec)
    other = expected.copy()
    other[0, 5, column] = twin if expected[0, 5, column] == best else best
    if column == 0:
        with torch.inference_mode():
            audio = torch.from_numpy(example_audio(codec.config, SAMPLES))
            latents = codec.encoder(audio, codec.encoder.mel_transform(audio))[:, 5:6]
            first, second = books[0], books[1]
            left = latents - first.decode(torch.from_numpy(other[:, 5:6, 0]))
            other[0, 5, 1] = int(second.encode(left)[0, 0])
        assert other[0, 5, 1] != expected[0, 5, 1]
    assert hear(codec, other) == 0
