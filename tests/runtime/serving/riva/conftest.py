"""A server with a port of gRPC, and a caller of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.audio.sound import to_pcm16
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SEED, Served, serving

grpc = pytest.importorskip("grpc")
KEY = "a-key-of-some-length"
CODE = grpc.StatusCode
LONG = " ".join(["Abcdef abc."] * 30)
SERVICE = "nvidia.riva.tts.RivaSpeechSynthesis"
SECONDS = 60  # for a call
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)  # callers of one process share one else


class Caller:
    """Calls by hand: names of methods, and the project's own messages."""

    def __init__(self, address: str, key: str | None = KEY) -> None:
        from runtime.serving.riva import messages

        self._channel = grpc.insecure_channel(address, OWN_CONNECTION)
        self._metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._messages = messages

    def request(self, text: str = "Abc.", **fields: Any) -> Any:
        given = {"text": text, "encoding": 1, "language_code": "en-US"} | fields
        return self._messages.SynthesizeSpeechRequest(**given)

    def raw(self, method: str, body: bytes) -> bytes:
        """One message in, one out, as bytes."""
        call = self._channel.unary_unary(f"/{SERVICE}/{method}")
        answer: bytes = call(body, metadata=self._metadata, timeout=SECONDS)
        return answer

    def begin(self, text: str = "Abc.", seconds: float = SECONDS, **fields: Any) -> Any:
        """A call of `Synthesize` that can be cancelled."""
        call = self._channel.unary_unary(f"/{SERVICE}/Synthesize")
        body = self.request(text, **fields).SerializeToString()
        return call.future(body, metadata=self._metadata, timeout=seconds)

    def speak(self, text: str = "Abc.", **fields: Any) -> bytes:
        body = self.raw("Synthesize", self.request(text, **fields).SerializeToString())
        audio: bytes = self._messages.SynthesizeSpeechResponse.FromString(body).audio
        return audio

    def stream(self, requests: Iterable[Any]) -> Any:
        """A call whose answers can be iterated over."""
        return self._channel.stream_stream(
            f"/{SERVICE}/SynthesizeOnline",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=self._messages.SynthesizeSpeechResponse.FromString,
        )(iter(requests), metadata=self._metadata, timeout=SECONDS)

    def close(self) -> None:
        self._channel.close()


@contextmanager
def calling(served: Served, key: str | None = KEY) -> Iterator[Caller]:
    caller = Caller(served.grpc, key)
    try:
        yield caller
    finally:
        caller.close()


def seeded(**fields: Any) -> dict[str, Any]:
    return {"custom_configuration": {"seed": str(SEED)}} | fields


def refused(call: Any, code: Any) -> Any:
    """What the status says."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is code, caught.value.details()
    return caught.value


def aborted(served: Served, reason: str) -> float:
    """Speeches that were not said to the end."""
    labels = {"reason": reason}
    name = "slm_tts_speech_stream_aborted_total"
    return served.app.state.metrics.registry.get_sample_value(name, labels) or 0.0


def alone(tts: TTS, text: str, voice: str = "plain") -> bytes:
    return to_pcm16(tts.synthesize(text, voice=voice, sampling=Sampling(seed=SEED)).audio)


@pytest.fixture(scope="module")
def server(tts: TTS) -> Iterator[Served]:
    keys = (KEY.encode(),)
    with serving(tts, has_grpc=True, keys=keys, language="en-US", drain_seconds=10) as served:
        yield served


@pytest.fixture
def caller(server: Served) -> Iterator[Caller]:
    with calling(server) as one:
        yield one
