"""Whether a model can have learnt to write answers, so that --text-head is of use.

In: a checkpoint or a bundle. Out: why it cannot answer questions, or None if it might. Whether its
weights have learnt it is not checked.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

from export.bundle.manifest import describe_chat
from export.checks.frontend_check import describe_symbols
from export.readers.checkpoint import Checkpoint
from runtime.bundle.manifest import ChatSpec, Manifest
from runtime.text.frontends import HIBARI
from runtime.text.symbols import HeldSymbols


def why_no_answers(checkpoint: Checkpoint) -> str | None:
    """Why a text head would be of no use to this model; None if it might be."""
    frontend = checkpoint.config.text_frontend.kind
    return _obstacle(frontend, describe_chat(checkpoint), checkpoint.tokenizer)


def tell_no_answers(checkpoint: Checkpoint) -> None:
    """Print a warning if the model cannot have learnt to write."""
    if (why := why_no_answers(checkpoint)) is not None:
        print(
            f"warning: {checkpoint.folder}: {why}, so it cannot answer and --text-head is of no "
            "use; a model that was trained on questions is samples/demo_chat/6-heads (docs/chat.md)"
        )


def may_answer(manifest: Manifest, folder: Path) -> bool:
    """Whether a bundle in `folder` has a text head that might be of use."""
    if manifest.chat is None:
        return False
    tokenizer = Tokenizer.from_file(str(folder / manifest.tokenizer))
    return _obstacle(manifest.prompt.text_frontend["kind"], manifest.chat, tokenizer) is None


def _obstacle(frontend: str, chat: ChatSpec, tokenizer: Tokenizer) -> str | None:
    if frontend == HIBARI:
        return "it reads phonemes, not questions"
    template = chat.template.replace("{question}", "") + chat.before_answer + chat.after_answer
    lacking = HeldSymbols(tokenizer).find_missing(template)
    if lacking:
        symbols = describe_symbols(lacking)
        return f"its tokenizer has no symbol for {symbols} of the prompt that questions stand in"
    return None
