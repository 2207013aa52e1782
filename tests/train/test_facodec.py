"""The codec's modules: shapes, receptive field, batches, mel analysis, numbers of the original."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from formats.checkpoint.codec_config import CodecConfig, decoder_reach_frames
from tests.tiny_codec import tiny_codec_config
from tests.tiny_weights import make_codec
from tests.train.published_codec import published_state
from train.codec_model.checkpoint import load_strictly
from train.codec_model.facodec import FACodec
from train.codec_model.mel import mel_basis

LIBROSA = [0.01126728, 0.024415132, 0.014444176, 0.0033306333, 5.1186576]  # of its elements below
SMALL: dict[str, Any] = {"latent_channels": 16, "decoder_channels": 8}


def random_frames(count: int, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, 1024, (batch, count, 3), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("content_encoder", ["waveform", "mel"])
def test_shapes(content_encoder: str) -> None:
    codec = make_codec(tiny_codec_config(content_encoder=content_encoder))
    frames, speaker = codec.encode(torch.randn(2, 130))
    assert (frames.shape, frames.dtype) == ((2, 13, 3), torch.int64)
    assert speaker.shape == (2, 256)
    audio = codec.decode(frames, speaker)
    assert audio.shape == (2, 130)
    assert audio.abs().max() <= 1


@pytest.mark.parametrize(
    ("activation", "ratios"),
    [("snake", (5, 2)), ("snake", (2, 3, 4)), ("alias_free", (5, 2)), ("alias_free", (3, 4))],
)
def test_receptive_field(activation: str, ratios: tuple[int, ...]) -> None:
    """A changed frame changes no audio beyond the receptive field. Without filters, whose last
    taps are too small to be seen, it changes audio right up to it."""
    ends = {"decoder_ratios": ratios, "encoder_ratios": ratios}
    config = tiny_codec_config(**SMALL, **ends, activation=activation)
    codec = make_codec(config).double()
    reach, hop = max(decoder_reach_frames(config)), config.hop_samples
    middle = reach + 3
    frames = random_frames(2 * middle + 1)
    changed = frames.clone()
    changed[0, middle] = (changed[0, middle] + 1) % 1024
    speaker = torch.randn(1, 16, dtype=torch.float64)
    with torch.no_grad():
        differs = (codec.decode(frames, speaker) != codec.decode(changed, speaker))[0]
    touched = differs.nonzero()[:, 0] // hop - middle
    widest = max(-int(touched.min()), int(touched.max()))
    assert widest <= reach
    if activation == "snake":
        assert widest == reach
    else:
        assert widest > reach // 2


def test_chunks_with_context_equal_the_whole() -> None:
    config = tiny_codec_config(**SMALL, activation="snake")
    codec = make_codec(config)
    reach, hop = max(decoder_reach_frames(config)), config.hop_samples
    frames, speaker = random_frames(3 * reach + 7), torch.randn(1, 16)
    with torch.no_grad():
        whole = codec.decode(frames, speaker)
        part = codec.decode(frames[:, 2 : 2 * reach + 5], speaker)
    torch.testing.assert_close(
        part[:, reach * hop : (reach + 3) * hop],
        whole[:, (reach + 2) * hop : (reach + 5) * hop],
        rtol=0,
        atol=1e-6,
    )


def test_items_of_a_batch_do_not_depend_on_each_other() -> None:
    """The published position table is indexed by batch item; ours must not be."""
    codec = make_codec(tiny_codec_config())
    audio = torch.randn(3, 90, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        frames, speakers = codec.encode(audio)
        for row in range(3):
            alone, speaker = codec.encode(audio[row : row + 1])
            assert torch.equal(alone[0], frames[row])
            torch.testing.assert_close(speaker[0], speakers[row], rtol=0, atol=1e-5)


def test_audio_that_ends_within_a_frame() -> None:
    codec = make_codec(tiny_codec_config())
    frames, _ = codec.encode(torch.randn(1, 137))
    assert frames.shape[1] in (13, 14)


def test_mel_basis_is_slaneys() -> None:
    """Values of librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=0, fmax=8000)."""
    basis = mel_basis(16_000, 1024, 80, 8_000.0)
    assert basis.shape == (80, 513)
    assert basis.dtype == np.float32
    found = [basis[0, 1], basis[10, 26], basis[40, 110], basis[79, 493], basis.sum()]
    np.testing.assert_allclose(found, LIBROSA, rtol=1e-5)


def test_numbers_of_the_original_implementation(tmp_path: Path) -> None:
    """golden_facodec.json: outputs of the published FACodecEncoderV2 and FACodecDecoderV2."""
    golden = json.loads((Path(__file__).parent / "golden_facodec.json").read_text())
    codec = FACodec(CodecConfig(encoder_channels=2, decoder_channels=32))
    tensors = {
        f"{part}.{name}": tensor
        for part, state in published_state(codec).items()
        for name, tensor in state.items()
    }
    load_strictly(codec, tensors, tmp_path)
    counter = torch.arange(20)
    frames = torch.stack([37 * counter % 1024, 91 * counter % 1024, 53 * counter % 1024], dim=-1)
    with torch.no_grad():
        codes, speaker = codec.eval().encode(chirp())
        audio = codec.decode(frames[None], speaker)[0]
    expected = torch.tensor(golden["frames"])
    assert (codes[0] == expected).float().mean() >= 0.95, "near ties may fall to either side"
    torch.testing.assert_close(speaker[0, ::32], torch.tensor(golden["speaker"]), rtol=0, atol=1e-4)
    samples = torch.tensor(golden["audio"])
    torch.testing.assert_close(audio[7::397], samples, rtol=0, atol=1e-4 * golden["peak"])


def chirp() -> torch.Tensor:
    time = torch.arange(20 * 200) / 16_000
    rising = 0.5 * torch.sin(2 * torch.pi * (120 + 400 * time) * time) * torch.sin(9 * time)
    return (rising + 0.2 * torch.sin(2 * torch.pi * 2500 * time * time))[None]


def test_any_number_of_codebooks_of_any_size() -> None:
    config = tiny_codec_config(
        content_codebooks=3, prosody_codebooks=2, stream_sizes=(48, 20, 33, 17, 5)
    )
    codec = make_codec(config)
    frames, speaker = codec.encode(torch.randn(2, 1000))
    assert frames.shape == (2, 100, 5)
    assert (frames < torch.tensor(config.streams.sizes)).all()
    assert codec.decode(frames, speaker).shape == (2, 1000)
    prosody, content = codec.decoder.prosody_quantizer, codec.decoder.content_quantizer
    assert [len(book.codebook) for book in prosody.codebooks] == [17, 5]
    assert [len(book.codebook) for book in content.codebooks] == [48, 20, 33]
    for column in range(5):  # each column matters
        changed = frames.clone()
        changed[..., column] = (changed[..., column] + 1) % config.streams.sizes[column]
        embedded = codec.decoder.embed_frames(frames)
        assert not torch.allclose(codec.decoder.embed_frames(changed), embedded)
