"""Speak from an exported bundle: `from runtime import TTS, Sampling`.

Names are imported when they are first used, so that `python -m runtime.tts --help` needs nothing
but the standard library. This package needs no PyTorch, no onnx and no sibling package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime.version import VERSION as __version__

if TYPE_CHECKING:
    from runtime.answering import Answer as Answer
    from runtime.answering import Chat as Chat
    from runtime.errors import TextWarning as TextWarning
    from runtime.errors import UserError as UserError
    from runtime.sampling import Sampling as Sampling
    from runtime.synthesis import TTS as TTS
    from runtime.synthesis import Chunk as Chunk
    from runtime.synthesis import Utterance as Utterance

_MODULES = {
    "Answer": "runtime.answering",
    "Chat": "runtime.answering",
    "TTS": "runtime.synthesis",
    "Chunk": "runtime.synthesis",
    "Utterance": "runtime.synthesis",
    "Sampling": "runtime.sampling",
    "TextWarning": "runtime.errors",
    "UserError": "runtime.errors",
}
__all__ = [
    "TTS",
    "Answer",
    "Chat",
    "Chunk",
    "Sampling",
    "TextWarning",
    "UserError",
    "Utterance",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'runtime' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
