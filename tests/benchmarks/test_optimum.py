"""Optimum's own export of a next-token checkpoint writes the tokens that this project speaks.

Optimum reads the checkpoint, makes a graph of it and decodes with it by itself: nothing of it is
this project's. It has another version of transformers than the tests, so it works in an environment
of its own, which `make optimum-check` makes; SLM_OPTIMUM_PYTHON names another one.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from formats.checkpoint.tokenizer import SpeechTokens, load_tokenizer, read_speech_tokens
from runtime import TTS, Sampling
from runtime.engines.rows import Request
from tests.native_pairs import Pair, export_pair
from tests.tiny_codec import TINY_STREAMS, make_codec_checkpoint
from tests.tiny_models import make_lm_checkpoint

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("SLM_OPTIMUM_PYTHON", ROOT / ".venv-optimum" / "bin" / "python"))
TEXTS = ("They know it.", "No.", "Is the door open at night?", "We read the letter twice.")
STEPS = 90  # thirty frames, if the model does not stop

pytestmark = [
    pytest.mark.skipif(not PYTHON.exists(), reason=f"{PYTHON}: is not there; make optimum-check"),
    pytest.mark.usefixtures("native_library"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny next-token model as `Qwen2ForCausalLM` saves it."""
    folder = tmp_path_factory.mktemp("optimum") / "model"
    return make_lm_checkpoint(folder, plain=True, streams=TINY_STREAMS)


@pytest.fixture(scope="module")
def tokens(checkpoint: Path) -> SpeechTokens:
    return read_speech_tokens(load_tokenizer(checkpoint), str(checkpoint), TINY_STREAMS)


@pytest.fixture(scope="module")
def pair(checkpoint: Path) -> Pair:
    """The checkpoint exported by this project, for both engines."""
    codec = make_codec_checkpoint(checkpoint.parent / "codec")
    return export_pair(checkpoint, codec, checkpoint.parent)


@pytest.fixture(scope="module")
def theirs(checkpoint: Path, pair: Pair, tokens: SpeechTokens) -> list[list[int]]:
    """What Optimum writes after each text's prompt."""
    streams = range(len(tokens.codes))
    request = {
        "prompts": [pair.native.prompts.read(text).ids for text in TEXTS],
        "allowed": [tokens.head_ids(s)[: tokens.end_code(s) + 1] for s in streams],
        "end": tokens.end,
        "steps": STEPS,
    }
    file = checkpoint.parent / "request.json"
    file.write_text(json.dumps(request), encoding="utf-8")
    worker = [str(PYTHON), "-m", "benchmarks.cpu.optimum_worker"]
    command = [*worker, "--decode", str(checkpoint), str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written: list[list[int]] = json.loads(done.stdout.splitlines()[-1])
    return written


def speak(tts: TTS, text: str) -> tuple[np.ndarray, bool]:
    """Greedy frames (T, K), and whether the model stopped by itself."""
    prompt = tts.prompts.embed(tts.prompts.read(text), np.zeros(256, np.float32))
    greedy = Sampling(do_sample=False).resolve(tts.bundle.manifest.sampling)
    request = Request(prompt, greedy, np.random.default_rng(0), STEPS)
    steps = list(tts.decoder.steps(request))
    return np.concatenate([step.frames for step in steps]), steps[-1].stop


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_tokens_are_those_of_optimum(
    pair: Pair, tokens: SpeechTokens, theirs: list[list[int]], engine: str
) -> None:
    table, streams = tokens.code_table(), np.arange(len(tokens.codes))
    for text, written in zip(TEXTS, theirs, strict=True):
        frames, stopped = speak(getattr(pair, engine), text)
        assert stopped == (written[-1] == tokens.end), text
        ours = table[streams, frames].ravel().tolist()
        assert ours == written[: len(ours)], text
        assert len(written) - len(ours) <= len(streams), "at most an unfinished frame and the end"
        assert len(set(ours)) > len(ours) // 4, "a model that repeats itself would prove little"
