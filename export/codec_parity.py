"""The codec's graphs against the PyTorch modules they were made from.

In: a folder with saved graphs and the codec directory. Out: `Check`s at several lengths. torch
is imported here only; call this when it is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.codec_checks import (
    CHUNK_SIZES,
    audio_check,
    decode,
    example_audio,
    example_frames,
    example_speaker,
)
from export.graph_runner import GraphRunner
from export.weights import Array
from runtime.bundle import (
    AUDIO,
    CODEC_DECODER,
    CODEC_ENCODER,
    CODEC_FRAMES,
    SPEAKER,
    Check,
    GraphSpec,
)

if TYPE_CHECKING:
    from train.facodec import FACodec

AUDIO_LIMIT = 1e-4  # of the peak
AUDIO_NOISE = 0.3  # in few bits: the demo codec's INT8 has 0.06, its FP8 0.08
SAME_DIRECTION = 1e-5  # entries of a codebook nearer than this mean the same
CODES_LIMIT = 1e-3  # part of the codes: near ties fall to either side
SPEAKER_LIMIT = 1e-4
AUDIO_FRAMES = (1, 13, 40)
ENCODED_HOPS = (0, 13.5, 50)  # above the shortest recording, which need not end on a hop


def check_codec_parity(folder: Path, graphs: Mapping[str, GraphSpec], codec: Path) -> list[Check]:
    """Compare decoded audio, codes and speaker embedding with `train.facodec`."""
    from train.codec_checkpoint import load_codec

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
            limits = AUDIO_LIMIT, AUDIO_NOISE
            checks.append(audio_check(name, decoder, audio, expected, limits))
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
            codes, speaker = (tensor.numpy() for tensor in model.encode(torch.from_numpy(audio)))
        differing = _differing_codes(model, outputs[CODEC_FRAMES], codes)
        difference = float(np.abs(outputs[SPEAKER] - speaker).max())
        length = f"{samples} samples"
        checks += [
            Check(f"codec_encoder: codes unlike PyTorch's, {length}", differing, CODES_LIMIT),
            Check(f"codec_encoder: speaker = PyTorch, {length}", difference, SPEAKER_LIMIT),
        ]
    return checks


def _differing_codes(model: FACodec, codes: Array, expected: Array) -> float:
    """Part of the codes (1, T, 3) that mean something else than the expected ones.

    A codebook that was trained on little data holds entries of equal direction, and which of
    them is found first is arbitrary.
    """
    import torch
    from torch.nn.functional import normalize

    if codes.shape != expected.shape:
        return 1.0
    decoder = model.decoder
    books = [*decoder.content_quantizer.codebooks, *decoder.prosody_quantizer.codebooks]
    distances = []
    for column, book in enumerate(books):
        entries = normalize(book.codebook.detach(), dim=1)
        found, wanted = (torch.from_numpy(c[0, :, column]) for c in (codes, expected))
        distances.append((entries[found] - entries[wanted]).norm(dim=1))
    return float((torch.stack(distances) > SAME_DIRECTION).float().mean())
