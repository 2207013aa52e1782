"""Checkpoints of the published size with random weights, to measure what a device can do.

In: nothing. Out: `DIR/model` (Qwen2.5-0.5B's shapes with N linear heads, bfloat16) and `DIR/codec`
(FACodec as published), which `python -m export.build` takes, and `DIR/tokens.jsonl`, a little
random speech for `python -m calibration.run`. They speak noise, at full cost.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.arguments import CommandParser
from commands.run import run_cli

ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:?!\n"
WEIGHT_STD = 0.02
UTTERANCES, UTTERANCE_FRAMES = 4, 16
VOCABULARY = 154_743  # Qwen2.5's 151,665 tokens and 3,078 for speech


def write_model(folder: Path, heads: int) -> None:
    """A random language model in the published layout."""
    import torch

    from formats.checkpoint.language_model_config import LanguageModelConfig
    from formats.checkpoint.tokenizer import build_phoneme_tokenizer, read_speech_tokens
    from train.language_model.checkpoint import make_model, save_checkpoint

    tokenizer = build_phoneme_tokenizer([ALPHABET], mtp=heads > 1)
    config = LanguageModelConfig(
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
    """As few and as short utterances as calibration takes: enough for its cost, not for quality."""
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


def write_checkpoints(argv: Sequence[str] | None) -> None:
    parser = CommandParser(
        prog="python -m benchmarks.published_size", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--heads", type=int, default=12, metavar="N")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    arguments = parser.parse_args(argv)

    import torch

    torch.manual_seed(0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_model(arguments.output / "model", arguments.heads)
    write_codec(arguments.output / "codec")
    write_tokens(arguments.output / "tokens.jsonl", arguments.heads)
    print(f"wrote model, codec and tokens.jsonl in {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(write_checkpoints, argv)


if __name__ == "__main__":
    sys.exit(main())
