"""The codec's graphs against the PyTorch modules they were made from.

In: a folder with saved graphs and the codec directory. Out: `Check`s at several lengths. torch is
imported when the comparison runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.checks import limits
from export.checks.codec_checks import (
    CHUNK_SIZES,
    audio_check,
    decode,
    example_audio,
    example_frames,
    example_speaker,
)
from export.graph.runner import GraphRunner
from formats.weights import Array
from runtime.bundle.manifest import Check, GraphSpec
from runtime.bundle.names import AUDIO, CODEC_DECODER, CODEC_ENCODER, CODEC_FRAMES, SPEAKER

if TYPE_CHECKING:
    import torch

    from train.codec_model.facodec import FACodec
    from train.codec_model.vector_quantizer import ResidualQuantizer

NEAR_TIE = 1e-4  # of a cosine: codes that fit almost as well as the best one count as equal
AUDIO_FRAMES = (1, 13, 40)
ENCODED_HOPS = (0, 13.5, 50)  # added to the shortest recording; need not be whole


def check_codec_parity(folder: Path, graphs: Mapping[str, GraphSpec], codec: Path) -> list[Check]:
    """Compare decoded audio, codes and speaker embedding with `train.codec_model.facodec`."""
    from train.codec_model.checkpoint import load_codec

    model = load_codec(codec)
    return [
        *_decoder_parity(GraphRunner(folder, graphs[CODEC_DECODER]), model),
        *_encoder_parity(GraphRunner(folder, graphs[CODEC_ENCODER]), model),
    ]


def _decoder_parity(decoder: GraphRunner, model: FACodec) -> list[Check]:
    import torch

    checks = []
    for length in AUDIO_FRAMES:
        frames, speaker = example_frames(model.config, length), example_speaker(model.config)
        with torch.inference_mode():
            expected = model.decode(torch.from_numpy(frames), torch.from_numpy(speaker)).numpy()
        for sizes, how in (((), ""), (CHUNK_SIZES, " in chunks")):
            audio = decode(decoder, model.config, frames, speaker, sizes)
            name = f"codec_decoder = PyTorch, {length} frames{how}"
            allowed = limits.AUDIO, limits.AUDIO_NOISE
            checks.append(audio_check(name, decoder, audio, expected, allowed))
    return checks


def _encoder_parity(encoder: GraphRunner, model: FACodec) -> list[Check]:
    import torch

    checks = []
    config = model.config
    for hops in ENCODED_HOPS:
        samples = config.mel.least_samples + int(hops * config.hop_samples)
        audio = example_audio(config, samples)
        outputs = encoder.run({AUDIO: audio})
        with torch.inference_mode():
            differing, speaker = _hear(model, torch.from_numpy(audio), outputs[CODEC_FRAMES])
        difference = float(np.abs(outputs[SPEAKER] - speaker).max())
        length = f"{samples} samples"
        checks += [
            Check(
                f"codec_encoder: codes unlike PyTorch's, {length}", differing, limits.ENCODED_CODES
            ),
            Check(
                f"codec_encoder: speaker = PyTorch, {length}", difference, limits.ENCODED_SPEAKER
            ),
        ]
    return checks


def _hear(model: FACodec, audio: torch.Tensor, found: Array) -> tuple[float, Array]:
    """Compare found codes (1, T, K) with PyTorch's result for `audio` [1, n].

    Returns the share of the found codes that fit worse than the best ones, and PyTorch's speaker
    [1, C].
    """
    import torch

    log_mel = model.encoder.mel_transform(audio)
    latents = model.encoder(audio, log_mel)
    speaker = np.asarray(model.decoder.embed_speaker(latents).numpy())
    sizes = np.array(model.config.streams.sizes)
    if found.shape[1] != latents.shape[1] or not ((found >= 0) & (found < sizes)).all():
        return 1.0, speaker
    codes = torch.from_numpy(found)
    prosody = model.decoder.encode_prosody(log_mel, latents.shape[1])
    content, last = model.decoder.content_quantizer, model.decoder.prosody_quantizer
    columns = len(content.codebooks)
    lost = (
        *_losses(content, latents, codes[..., :columns]),
        *_losses(last, prosody, codes[..., columns:]),
    )
    return float((torch.stack(lost) > NEAR_TIE).float().mean()), speaker


def _losses(
    quantizer: ResidualQuantizer, latents: torch.Tensor, codes: torch.Tensor
) -> Iterator[torch.Tensor]:
    """How much worse each code (1, T, K) fits than the best one, [1, T] for each codebook.

    Each codebook gets what the found codes before it leave over. A code on the other side of a tie
    therefore does not make later ones look wrong.
    """
    from torch.nn.functional import normalize

    for column, layer in enumerate(quantizer.codebooks):
        chosen = codes[..., column]
        fit = normalize(layer.in_proj(latents), dim=-1) @ normalize(layer.codebook, dim=-1).t()
        yield fit.amax(-1) - fit.gather(-1, chosen[..., None])[..., 0]
        latents = latents - layer.decode(chosen)
