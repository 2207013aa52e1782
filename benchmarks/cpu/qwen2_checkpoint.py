"""A random Qwen2 checkpoint in Hugging Face's layout, for peers that read nothing else.

In: nothing. Out: a folder with `config.json`, weights in bfloat16 and a tokenizer of single signs.
The shapes are those of the published size. The vocabulary is tiny, so that the product with it
costs nothing: a step of it is the backbone's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.arguments import CommandParser, command_parser
from commands.options import add_output
from commands.run import run_command

VOCABULARY, CONTEXT = 32, 4096
GEOMETRY: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "rope_theta": 1e6,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": VOCABULARY - 1,
}


def write_model(folder: Path) -> None:
    """Weights as a fresh model has them."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = Qwen2Config(**GEOMETRY)
    config.rope_theta = GEOMETRY["rope_theta"]  # where older versions of transformers look for it
    Qwen2ForCausalLM(config).save_pretrained(folder)


def write_tokenizer(folder: Path) -> None:
    """One token for each sign; nobody asks it for anything but its existence."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    signs = {chr(ord("A") + number): number for number in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(signs, unk_token="A"))
    last = chr(ord("A") + VOCABULARY - 1)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=last).save_pretrained(folder)


def run(arguments: argparse.Namespace) -> None:
    """Write both into the output folder."""
    write_model(arguments.output)
    write_tokenizer(arguments.output)
    print(f"wrote {arguments.output}")


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.cpu.qwen2_checkpoint", "Write a random Qwen2 of the published size."
    )
    add_output(parser, "folder to write")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
