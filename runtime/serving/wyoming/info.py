"""What this server tells of itself in Wyoming: one program, with a voice for each name.

In: a bundle's name, voices and language. Out: the event `info`.
"""

from __future__ import annotations

from wyoming.event import Event
from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from commands.version import VERSION
from runtime.serving.speaking import Speaking

MAKER = Attribution(name="slm-deploy", url="https://arxiv.org/abs/2506.12537")


def describe_server(speaking: Speaking) -> Event:
    """Clients choose a voice by its name and its languages."""
    language = speaking.language
    program = TtsProgram(
        name=speaking.model,
        description="A speech language model",
        attribution=MAKER,
        installed=True,
        version=VERSION,
        voices=[_describe_voice(name, language) for name in speaking.voices.names],
        supports_synthesize_streaming=True,
    )
    return Info(tts=[program]).event()


def _describe_voice(name: str, language: str | None) -> TtsVoice:
    return TtsVoice(
        name=name,
        description=name,
        attribution=MAKER,
        installed=True,
        version=VERSION,
        languages=[language] if language else [],
    )
