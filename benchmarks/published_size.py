"""Checkpoints of the published size with random weights, to measure the speed of a device.

In: nothing. Out: `DIR/model` (Qwen2.5-0.5B's shapes with N linear heads, bfloat16) and `DIR/codec`
(FACodec as published), which `python -m export.build` takes, and `DIR/tokens.jsonl`, a little
random speech for `python -m calibration.run`. They speak noise, at the cost of a real model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser, command_parser
from commands.options import add_count, add_output
from commands.run import run_command
from formats.checkpoint.language_model_config import LanguageModelConfig

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:?!\n"
WEIGHT_STD = 0.02
UTTERANCES, UTTERANCE_FRAMES = 4, 16
VOCABULARY = 154_743  # Qwen2.5's 151,665 tokens and 3,078 for speech


def published_config(heads: int) -> LanguageModelConfig:
    """Qwen2.5-0.5B's shapes with linear heads."""
    return LanguageModelConfig(
        vocab_size=VOCABULARY,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        rope_theta=1e6,
        max_position_embeddings=32_768,
        medusa_num_heads=heads,
    )


def write_model(folder: Path, heads: int) -> None:
    """A random language model in the published layout."""
    import torch

    from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
    from train.language_model.checkpoint import make_model, save_checkpoint

    tokenizer = build_phoneme_tokenizer([ALPHABET], mtp=heads > 1)
    config = published_config(heads)
    torch.set_default_dtype(torch.bfloat16)
    model = make_model(config, read_speech_tokens(tokenizer, str(folder)))
    torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, WEIGHT_STD)
    save_checkpoint(model, tokenizer, folder, "bfloat16")


def write_codec(folder: Path) -> None:
    """A random codec of the published size."""
    from formats.checkpoint.codec_config import CodecConfig
    from train.codec_model.checkpoint import save_codec
    from train.codec_model.facodec import FACodec

    save_codec(FACodec(CodecConfig()).eval(), folder)


def write_tokens(path: Path, heads: int) -> None:
    """The fewest tokens that a calibration accepts: enough to measure its cost, not its quality."""
    import numpy as np

    from formats.checkpoint.codec_config import CodecConfig
    from formats.tokens import TokenizedUtterance, write_utterances

    random, streams = np.random.default_rng(0), CodecConfig().streams
    shape = (UTTERANCE_FRAMES, streams.count)
    utterances = (
        TokenizedUtterance(f"u{n}", "Yes.", random.integers(0, streams.sizes, shape))
        for n in range(UTTERANCES)
    )
    write_utterances(path, utterances, heads)


def run(arguments: argparse.Namespace) -> None:
    """Write everything into the output folder."""
    import torch

    torch.manual_seed(0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_model(arguments.output / "model", arguments.heads)
    write_codec(arguments.output / "codec")
    write_tokens(arguments.output / "tokens.jsonl", arguments.heads)
    print(f"wrote model, codec and tokens.jsonl in {arguments.output}")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.published_size", "Write checkpoints of the published size with random weights."
    )
    add_count(parser, "--heads", "codes that a step makes", default=12)
    add_output(parser, "folder to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
