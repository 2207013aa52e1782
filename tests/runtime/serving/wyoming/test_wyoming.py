"""Wyoming as its real client and Home Assistant speak it."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator

import pytest
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.ping import Ping
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeVoice,
)

from tests.runtime.serving.wyoming import home_assistant
from tests.runtime.serving.wyoming.conftest import Speaker, calling, hear, next_event, run

TEXT = "Abc. Abcdef abc! Does ab? The abc. Abcdef."


def seconds(speaker: Speaker, text: str) -> float:
    return len(speaker.tts.synthesize(text, voice="plain").audio) / speaker.tts.sample_rate


async def write(client: object, *pieces: str) -> None:
    send = client.write_event  # type: ignore[attr-defined]
    await send(SynthesizeStart(voice=SynthesizeVoice(name="plain")).event())
    for piece in pieces:
        await send(SynthesizeChunk(text=piece).event())
    await send(Synthesize(text="".join(pieces)).event())
    await send(SynthesizeStop().event())


def test_info(speaker: Speaker) -> None:
    info = run(home_assistant.load_info(speaker.port))
    (program,) = info.tts
    assert program.installed
    assert program.supports_synthesize_streaming
    assert [voice.name for voice in program.voices] == ["plain", "other"]
    assert all(voice.languages == ["en-US"] and voice.installed for voice in program.voices)


def test_a_text_at_once(speaker: Speaker) -> None:
    for voice in (None, "plain", "other"):
        sound = run(home_assistant.speak_at_once(speaker.port, TEXT, voice))
        assert sound is not None
        with wave.open(io.BytesIO(sound)) as file:
            form = file.getframerate(), file.getsampwidth(), file.getnchannels()
            assert form == (16_000, 2, 1)
            assert file.getnframes() / 16_000 == pytest.approx(seconds(speaker, TEXT), rel=0.02)


def test_a_text_in_pieces(speaker: Speaker) -> None:
    """Not on the borders of words; the whole text that follows is not spoken again."""

    async def pieces() -> AsyncIterator[str]:
        for start in range(0, len(TEXT), 3):
            yield TEXT[start : start + 3]

    async def listen() -> bytes:
        return b"".join(
            [part async for part in home_assistant.speak_stream(speaker.port, pieces(), "plain")]
        )

    sound = run(listen())
    assert sound[:4] == b"RIFF"
    assert (len(sound) - 44) / 32_000 == pytest.approx(seconds(speaker, TEXT), rel=0.02)


def test_the_order_of_events(speaker: Speaker) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            for _ in range(3):
                await write(client, "Abc. Ab", "cdef. A")
                kinds, audio = await hear(client, "synthesize-stopped")
                assert kinds == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
                assert audio
            await client.write_event(Synthesize(text="Abc.").event())
            assert (await hear(client))[0] == ["audio-start", "audio-chunk", "audio-stop"]
            await client.write_event(Ping(text="here").event())
            pong = await next_event(client)
            assert pong is not None
            assert (pong.type, pong.data) == ("pong", {"text": "here"})

    run(listen())


def test_a_sentence_is_spoken_before_the_text_ends(speaker: Speaker) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(SynthesizeStart().event())
            await client.write_event(SynthesizeChunk(text="Abc. The ab").event())
            start = await next_event(client)
            assert start is not None
            assert start.type == "audio-start"
            await client.write_event(SynthesizeChunk(text="c.").event())
            await asyncio.sleep(1)  # a pause
            before = speaker.scheduler.load()
            await client.write_event(SynthesizeStop().event())
            kinds, audio = await hear(client, "synthesize-stopped")
            assert kinds[-2:] == ["audio-stop", "synthesize-stopped"]
            expected = seconds(speaker, "Abc. The abc.")
            assert len(audio) / 32_000 == pytest.approx(expected, rel=0.02)
            assert before.speaking == 0, "the second sentence was spoken in the pause"

    run(listen())


def test_a_stream_as_old_callers_send_it(speaker: Speaker) -> None:
    """Without pieces, the whole text is the text."""

    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(SynthesizeStart().event())
            await client.write_event(Synthesize(text="Abc. Abc.").event())
            await client.write_event(SynthesizeStop().event())
            kinds, audio = await hear(client, "synthesize-stopped")
            assert kinds == ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
            assert len(audio) == 2 * len(speaker.tts.synthesize("Abc. Abc.", voice="plain").audio)

    run(listen())


@pytest.mark.parametrize("text", ["", " ", "…!", "\N{GRINNING FACE}"])
def test_text_without_words_ends_well(speaker: Speaker, text: str) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Synthesize(text=text).event())
            assert await hear(client) == (["audio-start", "audio-stop"], b"")
            await write(client, text)
            kinds, _ = await hear(client, "synthesize-stopped")
            assert kinds == ["audio-start", "audio-stop", "synthesize-stopped"]
            await write(client, "Abc. ", text)
            assert (await hear(client, "synthesize-stopped"))[1]

    run(listen())


def test_requests_in_a_row_are_spoken_in_a_row(speaker: Speaker) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            for text in ("Abc.", "Abcdef abc."):
                await client.write_event(Synthesize(text=text).event())
            for text in ("Abc.", "Abcdef abc."):
                _, audio = await hear(client)
                assert len(audio) == 2 * len(speaker.tts.synthesize(text, voice="plain").audio)

    run(listen())


@pytest.mark.parametrize(
    ("voice", "is_known"),
    [
        ({"name": "other"}, True),
        ({"name": "other", "speaker": "x"}, True),
        ({"name": "alloy"}, True),
        ({"language": "en_GB"}, True),
        ({"language": "de"}, False),
        ({"name": "../x"}, False),
        ({"name": "/etc/passwd"}, False),
        ({"name": 5}, False),
        (["x"], False),
        (None, True),
    ],
)
def test_voices(speaker: Speaker, voice: object, is_known: bool) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Event("synthesize", {"text": "Abc.", "voice": voice}))
            kinds, audio = await hear(client)
            expected = ["audio-start", "audio-chunk", "audio-stop"]
            assert kinds == (expected if is_known else ["error", "(end)"])
            assert bool(audio) == is_known

    run(listen())


def test_many_at_once_hear_their_own(speaker: Speaker) -> None:
    async def listen(number: int) -> tuple[int, int]:
        text = f"Abc {'abc ' * number}. Abcdef. Ab {number} abc."
        async with calling(speaker) as client:
            await write(client, *text)
            _, audio = await hear(client, "synthesize-stopped")
        return len(audio), 2 * len(speaker.tts.synthesize(text, voice="plain").audio)

    async def all_of_them() -> list[tuple[int, int]]:
        return await asyncio.gather(*(listen(number) for number in range(8)))

    for heard, expected in run(all_of_them()):
        assert heard == expected
    speaker.wait_until_idle()


def test_info_is_told_while_speaking(speaker: Speaker) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Synthesize(text=" ".join([TEXT] * 8)).event())
            assert await next_event(client)
            await client.write_event(Describe().event())
            kinds, _ = await hear(client)
            assert "info" in kinds

    run(listen())


@pytest.mark.parametrize(("kind", "is_known"), [("text", True), (None, True), ("ssml", False)])
def test_only_plain_text_is_spoken(speaker: Speaker, kind: str | None, is_known: bool) -> None:
    async def listen() -> None:
        async with calling(speaker) as client:
            await client.write_event(Event("synthesize", {"text": "Abc.", "text_format": kind}))
            kinds, _ = await hear(client)
            assert (kinds == ["error", "(end)"]) != is_known

    run(listen())
