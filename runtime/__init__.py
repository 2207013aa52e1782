"""Speaks from an exported bundle: `from runtime import TTS, Sampling`.

Names are imported when they are first used, so that `python -m runtime.tts --help` needs nothing
but the standard library. This package needs numpy and one engine, but no PyTorch and no onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from commands.version import VERSION as __version__

if TYPE_CHECKING:
    from commands.errors import TextWarning as TextWarning
    from commands.errors import UserError as UserError
    from runtime.speech.answering import Chat as Chat
    from runtime.speech.sampling import Sampling as Sampling
    from runtime.speech.spoken import Answer as Answer
    from runtime.speech.spoken import Chunk as Chunk
    from runtime.speech.spoken import Utterance as Utterance
    from runtime.speech.synthesis import TTS as TTS

_MODULES = {
    "Answer": "runtime.speech.spoken",
    "Chat": "runtime.speech.answering",
    "TTS": "runtime.speech.synthesis",
    "Chunk": "runtime.speech.spoken",
    "Utterance": "runtime.speech.spoken",
    "Sampling": "runtime.speech.sampling",
    "TextWarning": "commands.errors",
    "UserError": "commands.errors",
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
