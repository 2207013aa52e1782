"""The model that Triton Inference Server runs in its Python backend (`export.triton` writes it).

In: requests with a text, a voice and a seed. Out: as many responses as the speech has chunks, sent
while it is made (a decoupled model); the last one is empty and says that it was the last. One
scheduler speaks for all requests, so Triton does no batching. A client that has gone is noticed
within `POLL_SECONDS`. It knows Triton through `triton_python_backend_utils` only, which the server
brings.
"""

from __future__ import annotations

import json
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from commands.errors import SpeechWarning, UserError
from runtime.engines.choices import AUTO
from runtime.scheduling.capacity import fixed_speaker
from runtime.scheduling.limits import Overloaded, SchedulerLimits, ShuttingDown
from runtime.scheduling.scheduler import Scheduler
from runtime.scheduling.speech import Order, Speech, SpeechFailed, State
from runtime.speech.sampling import Sampling
from runtime.speech.schedule import soon_heard
from runtime.speech.spoken import Chunk
from runtime.speech.synthesis import TTS

TEXT, VOICE, SEED = "text", "voice", "seed"  # inputs
AUDIO, SAMPLE_RATE, FINISHED = "audio", "sample_rate", "finished"  # outputs
BUNDLE_FOLDER = "bundle"  # beside model.py
POLL_SECONDS = 0.05  # between questions whether the client is still there
REFUSERS = 2  # threads beyond those of the speeches: they refuse at once


class TritonSettings(msgspec.Struct, frozen=True):
    """`parameters` of config.pbtxt, those of the server aside. streams: spoken side by side.
    threads: of the engine. deadline: seconds that a text may wait."""

    streams: int
    waiting: int
    threads: int | None = None
    run_with: str = AUTO
    deadline: float = 30.0
    max_text_bytes: int = 100_000
    warm_up: str = "Hello."


class TritonPythonModel:
    """The name and the methods are those that the backend calls, in this order."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle and speak once. Whatever is raised makes the model unavailable."""
        import triton_python_backend_utils as utils

        warnings.simplefilter("ignore", SpeechWarning)  # they quote texts
        self._utils: Any = utils
        self._settings = settings = read_parameters(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"] / BUNDLE_FOLDER
        self._tts = TTS.load(folder, settings.run_with, settings.threads)
        self._tts.decoder.open_rows(settings.streams).close()  # refused here, not in the thread
        limits = SchedulerLimits(settings.streams, settings.waiting)
        self._scheduler = Scheduler(self._tts, limits)
        self._threads = ThreadPoolExecutor(settings.streams + settings.waiting + REFUSERS, "speech")
        self._warm_up()

    def execute(self, requests: list[Any]) -> None:
        """Returns at once; other requests come while these are spoken."""
        for request in requests:
            self._threads.submit(self._answer, request, request.get_response_sender())

    def finalize(self) -> None:
        """The server unloads the model when no request is left."""
        self._scheduler.close()
        self._threads.shutdown()

    def _answer(self, request: Any, sender: Any) -> None:
        """All chunks or an error; and in any case the end, which frees the request."""
        try:
            self._send(self._order(request), sender)
        except Exception as error:  # of one request: the others are spoken on
            sender.send(self._utils.InferenceResponse(error=self._explain(error)))
        finally:
            sender.send(flags=self._utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _order(self, request: Any) -> Speech:
        text = self._read(request, TEXT)
        voice, seed = self._read(request, VOICE), self._read(request, SEED)
        if not isinstance(text, bytes) or not text.strip():
            raise UserError(f"{TEXT}: is empty; give a text")
        if len(text) > self._settings.max_text_bytes:
            most = self._settings.max_text_bytes
            raise UserError(f"{TEXT}: has {len(text)} bytes; at most {most} are taken")
        self._scheduler.check_room()
        speaker = self._tts.speaker(self._voice(voice))
        sampling = Sampling(seed=None if seed is None else int(seed))
        task = self._tts.prepare(_decode(text, TEXT), speaker, sampling)
        schedule = soon_heard(self._tts.bundle.manifest.codec)
        return self._scheduler.submit(Order(task, schedule, self._settings.deadline))

    def _read(self, request: Any, name: str) -> Any:
        """The only element of an input; None if it was not sent."""
        tensor = self._utils.get_input_tensor_by_name(request, name)
        if tensor is None:
            return None
        values = tensor.as_numpy().reshape(-1)
        if len(values) != 1:
            raise UserError(f"{name}: has {len(values)} elements; send one")
        return values[0]

    def _voice(self, name: Any) -> str | None:
        """A voice is looked up, never opened as a file."""
        voice = _decode(name, VOICE) if name else None
        if voice is not None and voice not in self._tts.voices:
            have = ", ".join(self._tts.voices) or "none"
            raise UserError(f"{VOICE}: no voice {voice[:64]!r}; the bundle has: {have}")
        return voice

    def _send(self, speech: Speech, sender: Any) -> None:
        """Chunks as they come, until the end or until the client has gone."""
        changed = threading.Event()
        speech.on_change(changed.set)
        try:
            while True:
                changed.clear()
                is_over = speech.is_over  # before the next line, which raises if it failed
                while (chunk := speech.take()) is not None:
                    sender.send(self._response(chunk))
                if is_over:
                    return
                if sender.is_cancelled():
                    raise SpeechFailed(State.CANCELLED, "the client has gone")
                if not speech.is_over:
                    changed.wait(POLL_SECONDS)
        finally:
            speech.cancel()

    def _response(self, chunk: Chunk) -> Any:
        tensors = {
            AUDIO: chunk.audio.astype(np.float32, copy=False),
            SAMPLE_RATE: np.array([chunk.sample_rate], np.int32),
            FINISHED: np.array([chunk.finished], np.bool_),
        }
        outputs = [self._utils.Tensor(name, values) for name, values in tensors.items()]
        return self._utils.InferenceResponse(output_tensors=outputs)

    def _explain(self, error: Exception) -> Any:
        code = self._utils.TritonError
        match error:
            case UserError():
                number = code.INVALID_ARG
            case Overloaded() | ShuttingDown() | SpeechFailed(state=State.EXPIRED):
                number = code.UNAVAILABLE
            case SpeechFailed(state=State.CANCELLED):
                number = code.CANCELLED
            case _:
                number = code.INTERNAL
        return code(" ".join(str(error).split()), number)

    def _warm_up(self) -> None:
        names = self._tts.voices
        speaker = self._tts.speaker(names[0]) if names else fixed_speaker(self._tts)
        task = self._tts.prepare(self._settings.warm_up, speaker)
        for _ in self._scheduler.submit(Order(task, soon_heard(self._tts.bundle.manifest.codec))):
            pass


def read_parameters(model_config: str) -> TritonSettings:
    """model_config: JSON that the server makes of config.pbtxt."""
    parameters = json.loads(model_config).get("parameters", {})
    values = {name: value["string_value"] for name, value in parameters.items()}
    return msgspec.convert(values, TritonSettings, strict=False)


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{name}: is not UTF-8") from None
