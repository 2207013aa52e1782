"""What each layer of a model, and each part of it, costs.

In: a bundle. Out: seconds of every part in one step, in reading a prompt, and in a chunk of audio;
added up, they are the whole call. The bundle is opened once more for that, because engines time
parts only where they are asked to; their results are the same. It knows no engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from runtime.bundle import names
from runtime.bundle.loading import Bundle
from runtime.engines.calls import open_calls
from runtime.engines.choices import AUTO, NATIVE, ONNXRUNTIME
from runtime.engines.graph import Array, Graph
from runtime.engines.observing import CODEC_CHUNK, HEAD, PREFILL, STEP, WHOLE_STEP
from runtime.engines.parts import DRAWING, FINAL, FIRST, HEADS, LAST, OTHER, Costs, PartRecorder
from runtime.engines.rows import Request
from runtime.profiling.report import Layer
from runtime.speech.decoding import SpeechDecoder

CONTEXT = 256  # positions before a step
PROMPT = 32  # positions that a prompt has
CHUNK_FRAMES = 20
STEPS, PROMPTS, CHUNKS = 40, 10, 10  # calls that are timed
WARM_UP = 3  # calls before them
_FROM_FIRST_TO_LAST = (FIRST, "", "stage", FINAL, LAST, HEADS, "head", DRAWING, OTHER)
_STAGES = {  # of each phase, the stages that are meant
    PREFILL: (PREFILL,),
    STEP: (STEP, HEAD, WHOLE_STEP),
    CODEC_CHUNK: (CODEC_CHUNK,),
}


def layer_times(
    bundle: Bundle, run_with: str = AUTO, threads: int | None = None
) -> tuple[Layer, ...]:
    """The costs of all parts, means of the faster half of the calls.

    run_with, threads: as in `open_engine`. Nothing for engines that do not tell: those on GPUs.

    Raises:
        UserError: the engine cannot run this bundle.
    """
    recorder = _open_recorder(bundle, run_with, threads)
    if recorder is None:
        return ()
    _make_calls(bundle, recorder)
    costs = recorder.finish()
    layers: list[Layer] = []
    for (phase, stage), calls in costs.items():
        if stage in _STAGES[phase]:
            layers += _mean_of_faster_half(stage, calls)
    return tuple(sorted(layers, key=_order))


def _open_recorder(bundle: Bundle, run_with: str, threads: int | None) -> PartRecorder | None:
    engine = bundle.manifest.engine.kind if run_with == AUTO else run_with
    if engine == ONNXRUNTIME:
        from runtime.engines.onnxruntime.recorder import OnnxRuntimeRecorder

        return OnnxRuntimeRecorder(bundle, threads)
    if engine == NATIVE:
        from runtime.engines.native.recorder import NativeRecorder

        return NativeRecorder(bundle, threads)
    return None


def _order(layer: Layer) -> tuple[int, int, list[int]]:
    """Stages as they follow each other, and layers as data passes them."""
    numbers = re.findall(r"\d+", layer.layer)
    kind = re.sub(r" .*|\d+", "", layer.layer)
    stage = [stage for stages in _STAGES.values() for stage in stages].index(layer.stage)
    return stage, _FROM_FIRST_TO_LAST.index(kind), [int(number) for number in numbers]


def _mean_of_faster_half(stage: str, calls: Sequence[Costs]) -> Iterator[Layer]:
    """The same calls for every part, so that means of parts add up to the mean of the whole."""
    ordered = sorted(calls, key=lambda costs: sum(cost.seconds for cost in costs.values()))
    chosen = ordered[: math.ceil(len(ordered) / 2)]
    places = {place: None for costs in chosen for place in costs}  # in order
    for place in places:
        found = [costs[place] for costs in chosen if place in costs]
        yield Layer(
            stage=stage,
            layer=place.layer,
            part=place.part,
            seconds=sum(cost.seconds for cost in found) / len(chosen),
            calls=sum(cost.calls for cost in found) / len(chosen),
        )


# What is called.


def _make_calls(bundle: Bundle, recorder: PartRecorder) -> None:
    backbone, head = (recorder.open_graph(name) for name in (names.BACKBONE, bundle.manifest.head))
    decoder = SpeechDecoder(backbone, head, bundle.manifest)
    recorder.begin(None)
    _read_prompts(bundle, decoder, recorder)
    _take_steps(bundle, decoder, recorder)
    _decode_chunks(bundle, recorder.open_graph(names.CODEC_DECODER), recorder)


def _read_prompts(bundle: Bundle, decoder: SpeechDecoder, recorder: PartRecorder) -> None:
    with decoder.open_rows(1) as loop:
        for number in range(-WARM_UP, PROMPTS):
            row = loop.add(_request(bundle, PROMPT, 1))
            recorder.begin(PREFILL if number >= 0 else None)
            loop.step()
            recorder.begin(None)
            loop.remove(row)


def _take_steps(bundle: Bundle, decoder: SpeechDecoder, recorder: PartRecorder) -> None:
    """Speech that ends begins anew."""
    taken = -WARM_UP
    with decoder.open_rows(1) as loop:
        while taken < STEPS:
            if not loop.rows:
                loop.add(_request(bundle, CONTEXT, WARM_UP + STEPS))
                loop.step()
                continue
            recorder.begin(STEP if taken >= 0 else None)
            loop.step()
            recorder.begin(None)
            taken += 1


def _request(bundle: Bundle, positions: int, steps: int) -> Request:
    """Any embeddings take the same time, and zeros a shorter one."""
    model, random = bundle.manifest.language_model, np.random.default_rng(0)
    most = max(1, model.max_positions - steps)
    shape = 1, min(positions, most), model.hidden_size
    prompt = random.standard_normal(shape, np.float32)
    return Request(prompt, bundle.manifest.sampling, random, steps)


def _decode_chunks(bundle: Bundle, graph: Graph, recorder: PartRecorder) -> None:
    """Chunks in the middle of an utterance: the first ones bring less audio, or none."""
    codec, random = bundle.manifest.codec, np.random.default_rng(0)
    calls = open_calls(graph)
    first = WARM_UP + math.ceil(codec.delay_frames / CHUNK_FRAMES)
    speaker = random.standard_normal((1, codec.speaker_channels), np.float32)
    dimensions = {names.FRAMES: CHUNK_FRAMES, names.SAMPLES: CHUNK_FRAMES * codec.hop_samples}
    for number in range(-first, CHUNKS):
        shape = 1, CHUNK_FRAMES, len(codec.streams)
        inputs: dict[str, Array] = {
            names.CODEC_FRAMES: random.integers(0, codec.streams, shape),
            names.SPEAKER: speaker,
            names.PAST_FRAMES: np.array([(first + number) * CHUNK_FRAMES]),
            names.UTTERANCE_FRAMES: np.array([names.UNKNOWN_FRAMES]),
        }
        recorder.begin(CODEC_CHUNK if number >= 0 else None)
        calls.start(inputs, dimensions).result()
        recorder.begin(None)
