"""The step loop on the GPU: the host launches one captured graph a step and reads one step behind.

In: the plans of backbone and head. Out: a `StepLoop`, the same steps as the loop on the host. It
does not know when speech ends, nor frames, text or audio.

    stream   | prefill | step 1 | step 2 | step 3 …
    host     launch prefill, launch 1, read prefill, launch 2, read 1, launch 3, read 2 …

While the host reads what step k drew, step k + 1 is running: nobody waits for the host. A step that
was launched and turns out to be one too many only writes into memory that the next utterance
clears. Everything a step needs is in its graph: noise and position are fetched from page-locked
memory, the embedding of the step before lies where the head left it, the codes are sent back. The
graph is captured once for each turn of the states that do not work in place; the two turns are also
the two slots of page-locked memory that let the host write step k + 1's noise and read step k - 1's
codes while step k runs.

An utterance needs a `_Lane`: caches, contexts and graphs of its own. A loop makes one lane when it
is loaded and more when utterances overlap, up to `MAX_LANES`; weights are shared.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.manifest import GraphSpec, TensorSpec, numpy_type
from runtime.engines.graph import Array, Drawn, Durations
from runtime.engines.tensorrt.cuda import CapturedGraph, DeviceMemory, Event, Mirror, Packed, Stream
from runtime.engines.tensorrt.plans import Plan, PlanCall

MAX_LANES = 4  # utterances under way at the same time
TURNS = 2

PREFILL_STAGE, STEP_STAGE = "device_prefill", "device_step"

CALLS = (names.PREFILL, names.STEP)
DRAWN = (names.CODES, names.KEPT_CODES, names.STOP)
SETTINGS = (names.TEMPERATURE, names.TOP_K, names.TOP_P, names.REPETITION_PENALTY)


class DeviceLoop:
    """Lanes, and who has which."""

    def __init__(self, backbone: Plan, head: Plan, durations: Durations | None = None) -> None:
        """Raises `UserError` if the plans do not fit each other or the GPU has no memory left."""
        check_plans(backbone, head)
        self._plans = (backbone, head)
        self._durations = durations
        self._lock = threading.Lock()
        self._idle = [_Lane(backbone, head)]
        self._count = 1

    def steps(
        self,
        prompt: NDArray[np.float32],
        settings: Mapping[str, Array],
        random: np.random.Generator,
        max_steps: int,
    ) -> Generator[Drawn, None, None]:
        """See `StepLoop`. Raises `UserError` if too many utterances are under way."""
        lane = self._take_lane()
        try:
            lane.begin(prompt, settings, random)
            for step in range(max_steps):
                if step + 1 < max_steps:
                    lane.launch_step(step + 1, random)
                drawn = lane.read(step)
                if self._durations is not None:
                    stage = STEP_STAGE if step else PREFILL_STAGE
                    self._durations[stage].append(lane.seconds(step))
                yield drawn
        finally:
            with self._lock:
                self._idle.append(lane)

    def _take_lane(self) -> _Lane:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._count == MAX_LANES:
                raise UserError(
                    f"{MAX_LANES} utterances are being spoken on this GPU at once, which is the "
                    "limit; finish or close one of them first"
                )
            self._count += 1
        return self._make_lane()

    def _make_lane(self) -> _Lane:
        """The lane that was counted. Others begin and end meanwhile: a capture takes long."""
        try:
            return _Lane(*self._plans)
        except BaseException:
            with self._lock:
                self._count -= 1
            raise


class _Lane:
    """All memory of one utterance at a time, and the work that is done on it."""

    def __init__(self, backbone: Plan, head: Plan) -> None:
        self._backbone, self._head = backbone, head
        self._stream = Stream()
        self._started, self._done = [Event(), Event()], [Event(), Event()]
        self._states = [DeviceStates(plan.spec) for plan in (backbone, head)]
        self._allocate()
        self._prefill = self._bind(names.PREFILL, turn=0, embeddings=self._prompt.device.address)
        self._step = [
            self._bind(names.STEP, turn, embeddings=self._fed_back.address) for turn in range(TURNS)
        ]
        self._captured_for = b""
        self._graphs: list[CapturedGraph] = []
        self._capture()

    def begin(
        self,
        prompt: NDArray[np.float32],
        settings: Mapping[str, Array],
        random: np.random.Generator,
    ) -> None:
        """Start an utterance: clear the states, and launch step 0, which reads the prompt."""
        self._stream.synchronize()  # a step too many may still be running
        for name, value in settings.items():
            self._settings.host[name][...] = value
        if self._captured_for != self._host_values():
            self._capture()
        self._clear()
        self._launch_prompt(prompt[0], random)

    def launch_step(self, step: int, random: np.random.Generator) -> None:
        """Step 1, 2, 3 …: read what the step before left."""
        turn = step % TURNS
        self._write_feed(turn, random)
        self._started[turn].record(self._stream)
        self._graphs[turn].launch(self._stream)
        self._done[turn].record(self._stream)
        self._position += 1

    def read(self, step: int) -> Drawn:
        """Wait for a step, and say what it drew."""
        turn = step % TURNS
        self._done[turn].synchronize()
        drawn = self._drawn[turn].host
        return Drawn(
            codes=drawn[names.CODES].astype(np.int64),
            kept=int(drawn[names.KEPT_CODES][0]),
            stop=bool(drawn[names.STOP][0]),
        )

    def seconds(self, step: int) -> float:
        """GPU time of a step that was read."""
        return self._done[step % TURNS].seconds_since(self._started[step % TURNS])

    def _allocate(self) -> None:
        """Everything but the states. The prompt and its hidden states come in parts."""
        head = {
            tensor.name: tensor for tensor in (*self._head.spec.inputs, *self._head.spec.outputs)
        }
        backbone = {tensor.name: tensor for tensor in self._backbone.spec.inputs}
        self._part = self._backbone.profiles[names.PREFILL][names.POSITIONS].max
        largest = {names.POSITIONS: self._part}
        embeddings = backbone[names.INPUTS_EMBEDS]
        self._prompt = Mirror(sized(embeddings, largest), embeddings.dtype)
        self._hidden = DeviceMemory(size_bytes(head[names.HIDDEN], largest))
        self._fed_back = DeviceMemory(size_bytes(head[names.NEXT_EMBEDDING], {}))
        self._fed_back.fill_zero(self._stream)
        self._settings = _pack(head[name] for name in SETTINGS)
        for value in self._settings.host.values():
            value[...] = 1  # greedy, until the first utterance says otherwise
        fed, drawn = (backbone[names.PAST_LENGTH], head[names.NOISE]), [head[n] for n in DRAWN]
        self._feed = [_pack(fed) for _ in range(TURNS)]
        self._drawn = [_pack(drawn) for _ in range(TURNS)]
        for group in self._drawn:
            group.upload(self._stream)  # the gaps between tensors are sent back, too
        plans = (self._backbone, self._head)
        needed = [plan.scratch_bytes(name) for plan in plans for name in CALLS]
        self._scratch = DeviceMemory(max(needed))  # the calls of one stream never overlap

    def _bind(self, profile: str, turn: int, embeddings: int) -> list[PlanCall]:
        """Calls of backbone and head, with an address for every tensor."""
        addresses = {
            names.INPUTS_EMBEDS: embeddings,
            names.HIDDEN: self._hidden.address,
            names.NEXT_EMBEDDING: self._fed_back.address,
            **self._settings.device_addresses(),
            **self._feed[turn].device_addresses(),
            **self._drawn[turn].device_addresses(),
        }
        for states in self._states:
            addresses |= states.addresses(turn)
        on_host = self._head.host_inputs
        addresses |= {
            name: at for name, at in self._settings.host_addresses().items() if name in on_host
        }
        calls = []
        for plan in (self._backbone, self._head):
            call = plan.call(profile, self._scratch, self._stream)
            call.set_addresses(addresses)
            call.set_shapes({names.POSITIONS: 1})
            calls.append(call)
        return calls

    def _capture(self) -> None:
        """Record the step's graph for both turns. The states hold nothing of worth meanwhile."""
        self._captured_for = self._host_values()
        self._clear()
        for turn in range(TURNS):
            self._enqueue(turn, self._step[turn])  # a first call sets up what no graph may hold
        self._stream.synchronize()
        for call in (call for calls in self._step for call in calls):
            if not call.can_be_captured(self._stream):
                raise UserError(
                    f"{call.plan.path}: TensorRT cannot capture it into a CUDA graph; rebuild it"
                )
        self._graphs = []
        for turn in range(TURNS):
            with self._stream.capture() as graph:
                self._enqueue(turn, self._step[turn])
            self._graphs.append(graph)

    def _clear(self) -> None:
        """The beginning of an utterance."""
        self._position = 0
        self._settings.upload(self._stream)
        for states in self._states:
            states.clear(self._stream)

    def _enqueue(self, turn: int, calls: Sequence[PlanCall]) -> None:
        self._feed[turn].upload(self._stream)
        for call in calls:
            call.enqueue(self._stream)
        self._drawn[turn].download(self._stream)

    def _launch_prompt(self, prompt: NDArray[np.float32], random: np.random.Generator) -> None:
        """All but the last part only fill the caches; what the head draws there is not read."""
        self._write_feed(0, random)
        self._started[0].record(self._stream)
        rest = len(prompt)
        while rest:
            part = prompt[len(prompt) - rest :][: self._part]
            rest -= len(part)
            self._feed[0].host[names.PAST_LENGTH][0] = self._position
            self._prompt.host[0, : len(part)] = part
            self._prompt.upload(self._stream, self._prompt.host[0, : len(part)].nbytes)
            for call in self._prefill:
                call.set_shapes({names.POSITIONS: len(part)})
            self._enqueue(0, self._prefill)
            self._position += len(part)
            if rest:
                self._states[0].carry_over(self._stream)
                self._stream.synchronize()  # before the host memory is written again
        self._done[0].record(self._stream)

    def _write_feed(self, turn: int, random: np.random.Generator) -> None:
        """Noise in the order in which the loop on the host draws it, so that codes are the same."""
        feed = self._feed[turn].host
        random.random(out=feed[names.NOISE], dtype=np.float32)
        feed[names.PAST_LENGTH][0] = self._position

    def _host_values(self) -> bytes:
        """Of the settings that are part of a captured graph because they decide shapes."""
        on_host = self._head.host_inputs
        return b"".join(self._settings.host[name].tobytes() for name in SETTINGS if name in on_host)


class DeviceStates:
    """The states of one graph, in GPU memory: one buffer for those in place, else two."""

    def __init__(self, spec: GraphSpec) -> None:
        tensors = {tensor.name: tensor for tensor in spec.inputs}
        self._pairs = spec.states
        self._buffers: list[list[DeviceMemory]] = []
        for pair in spec.states:
            size = size_bytes(tensors[pair.input], {})
            past = DeviceMemory(size)
            self._buffers.append([past, past if pair.in_place else DeviceMemory(size)])

    def addresses(self, turn: int) -> dict[str, int]:
        """By tensor name, of a call that reads buffer `turn` and writes the other one."""
        found = {}
        for pair, buffers in zip(self._pairs, self._buffers, strict=True):
            found[pair.input] = buffers[turn].address
            found[pair.output] = buffers[1 - turn].address
        return found

    def clear(self, stream: Stream) -> None:
        for past, present in self._buffers:
            past.fill_zero(stream)
            if present is not past:
                present.fill_zero(stream)

    def carry_over(self, stream: Stream) -> None:
        """Let another call of turn 0 go on where one ended."""
        for past, present in self._buffers:
            if present is not past:
                past.copy_from(present, stream)


def check_plans(backbone: Plan, head: Plan) -> None:
    """Raises `UserError` for plans that cannot take turns without the host."""
    outputs = {tensor.name: tensor for tensor in (*backbone.spec.outputs, *head.spec.outputs)}
    inputs = {tensor.name: tensor for tensor in (*backbone.spec.inputs, *head.spec.inputs)}
    for source, target in (
        (names.HIDDEN, names.HIDDEN),
        (names.NEXT_EMBEDDING, names.INPUTS_EMBEDS),
    ):
        if outputs[source].dtype != inputs[target].dtype:
            raise UserError(
                f"{backbone.path}: {source} is {outputs[source].dtype} and {target} is "
                f"{inputs[target].dtype}; export the bundle again"
            )
    for plan in (backbone, head):
        unfit = plan.host_inputs - set(SETTINGS)
        if unfit or not {names.PREFILL, names.STEP} <= set(plan.profiles):
            what = f"{sorted(unfit)[0]} decides shapes" if unfit else "it lacks a profile"
            raise UserError(f"{plan.path}: cannot be captured ({what}); rebuild it")


def state_bytes(spec: GraphSpec) -> int:
    """Memory of a graph's states, one buffer each."""
    past = {pair.input for pair in spec.states}
    return sum(size_bytes(tensor, {}) for tensor in spec.inputs if tensor.name in past)


def sized(tensor: TensorSpec, dimensions: Mapping[str, int]) -> tuple[int, ...]:
    """The tensor's shape with numbers for names."""
    return tuple(dimensions[size] if isinstance(size, str) else size for size in tensor.shape)


def size_bytes(tensor: TensorSpec, dimensions: Mapping[str, int]) -> int:
    return math.prod(sized(tensor, dimensions)) * np.dtype(numpy_type(tensor.dtype)).itemsize


def _pack(tensors: Iterable[TensorSpec]) -> Packed:
    return Packed({tensor.name: (sized(tensor, {}), tensor.dtype) for tensor in tensors})
