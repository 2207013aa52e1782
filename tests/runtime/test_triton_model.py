"""The model of Triton, against a stand-in for what the server brings (`stand_in_triton`).

A real server is asked in tests/export/test_triton.py.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.engines.rows import RowLoop, Step
from runtime.scheduling.limits import Load
from runtime.speech.sampling import Sampling
from runtime.speech.synthesis import TTS
from runtime.triton_model import BUNDLE_FOLDER, TritonPythonModel
from tests.runtime import stand_in_triton
from tests.runtime.stand_in_triton import InferenceResponse, Request, TritonError
from tests.runtime.tiny_bundle import Scenario, write_bundle

LONG = b" ".join([b"Abcdef abc."] * 30)
STREAMS, WAITING = 2, 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonPythonModel]:
    folder = tmp_path_factory.mktemp("slm_tts")
    scenario = Scenario(heads=12, codes_a=range(40), frames_per_token=100.0)
    (folder / "1").mkdir()
    write_bundle(folder / "1" / BUNDLE_FOLDER, scenario)
    model = TritonPythonModel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "triton_python_backend_utils", stand_in_triton)
        model.initialize(arguments(folder))
    yield model
    model.finalize()


def arguments(folder: Path, **parameters: Any) -> dict[str, str]:
    told = {"streams": STREAMS, "waiting": WAITING, "threads": 1, "max_text_bytes": 2000}
    strings = {key: {"string_value": str(value)} for key, value in (told | parameters).items()}
    config = json.dumps({"parameters": strings})
    return {"model_repository": str(folder), "model_version": "1", "model_config": config}


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    step = RowLoop.step

    def wait(loop: RowLoop) -> list[Step]:
        time.sleep(0.004)
        return step(loop)

    monkeypatch.setattr(RowLoop, "step", wait)


def ask(model: TritonPythonModel, *requests: Request) -> list[list[InferenceResponse]]:
    """All requests at once, and what was answered."""
    model.execute([*requests])
    return [answers(request) for request in requests]


def answers(request: Request) -> list[InferenceResponse]:
    assert request.sender.has_ended.wait(60)
    return request.sender.responses


def join(responses: list[InferenceResponse]) -> Any:
    assert all(response.error is None for response in responses)
    return np.concatenate([response.values("audio") for response in responses])


def error_of(model: TritonPythonModel, request: Request) -> TritonError:
    [[response]] = ask(model, request)
    assert response.error is not None
    return response.error


def test_says_what_the_runtime_says(model: TritonPythonModel) -> None:
    tts: TTS = model._tts
    texts = [b"Abc. Abcdef abc.", b"Xyz."]
    said = ask(model, *(Request(text=text, seed=7) for text in texts))
    for text, responses in zip(texts, said, strict=True):
        alone = tts.synthesize(text.decode(), sampling=Sampling(seed=7))
        assert np.array_equal(join(responses), alone.audio)
        assert {int(one.values("sample_rate")[0]) for one in responses} == {alone.sample_rate}
        assert responses[-1].values("finished")[0]


def await_load(model: TritonPythonModel, load: Load) -> None:
    end = time.monotonic() + 60
    while model._scheduler.load() != load:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_chunks_come_while_it_speaks(model: TritonPythonModel, slow: None) -> None:
    request = Request(text=LONG, voice=b"plain")
    model.execute([request])
    assert request.sender.has_first.wait(60)
    assert not request.sender.has_ended.is_set()
    assert len(answers(request)) > 10


def test_a_client_that_leaves_frees_its_row(model: TritonPythonModel, slow: None) -> None:
    request = Request(text=LONG)
    model.execute([request])
    assert request.sender.has_first.wait(60)
    request.sender.has_left = True
    last = answers(request)[-1]
    assert last.error is not None
    assert last.error.code == TritonError.CANCELLED
    await_load(model, Load(0, 0, STREAMS))


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "text: is empty"),
        ({"text": b" \n"}, "text: is empty"),
        ({"text": b"\xff"}, "text: is not UTF-8"),
        ({"text": b"a" * 2001}, "at most 2000 are taken"),
        ({"text": np.array([b"a", b"b"], np.object_)}, "text: has 2 elements"),
        ({"text": b"Abc.", "voice": b"../plain"}, "no voice '../plain'"),
        ({"text": b"Abc.", "seed": 2**63}, "seed"),
    ],
)
def test_wrong_requests_are_told(
    model: TritonPythonModel, inputs: dict[str, Any], said: str
) -> None:
    error = error_of(model, Request(**inputs))
    assert said in error.message
    assert error.code == TritonError.INVALID_ARG


def test_too_many_are_refused_at_once(model: TritonPythonModel, slow: None) -> None:
    taken = [Request(text=LONG) for _ in range(STREAMS + WAITING)]
    model.execute([*taken])
    await_load(model, Load(WAITING, STREAMS, STREAMS))
    error = error_of(model, Request(text=b"Abc."))
    assert error.code == TritonError.UNAVAILABLE
    assert "too many texts are waiting" in error.message
    for request in taken:
        request.sender.has_left = True
        answers(request)
    await_load(model, Load(0, 0, STREAMS))


def test_a_failing_engine_is_told(
    model: TritonPythonModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: RowLoop) -> list[Step]:
        raise ValueError("no such step")

    monkeypatch.setattr(RowLoop, "step", fail)
    error = error_of(model, Request(text=b"Abc."))
    assert error.code == TritonError.INTERNAL
    assert "no such step" in error.message
    monkeypatch.undo()
    assert join(ask(model, Request(text=b"Abc."))[0]).size
