"""Reading the prompt of one row on the GPU: backbone and head on memory of their own.

In: the plans of backbone and head, and a request. Out: the states of one row, its next embedding
and what the head drew, in this memory. The loop then copies states and embedding to the row's slot,
so a row can begin in any slot while others are stepping.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import names
from runtime.engines.graph import size_bytes, sized
from runtime.engines.rows import DRAWN, SETTINGS, Request, head_settings
from runtime.engines.tensorrt.cuda import Event, Stream
from runtime.engines.tensorrt.device_states import DeviceStates
from runtime.engines.tensorrt.memory import DeviceMemory, Mirror, pack
from runtime.engines.tensorrt.plans import Plan

ONE_ROW = {names.ROWS: 1}


class PromptCall:
    """The call and its memory. It reads one prompt at a time; others wait for `done`."""

    def __init__(self, backbone: Plan, head: Plan, scratch: DeviceMemory, stream: Stream) -> None:
        self._head, self._stream = head, stream
        self.states = [DeviceStates(plan.spec) for plan in (backbone, head)]
        self.started, self.done = Event(), Event()
        tensors = {t.name: t for t in (*head.spec.inputs, *head.spec.outputs)}
        embeddings = next(t for t in backbone.spec.inputs if t.name == names.INPUTS_EMBEDS)
        self._part = backbone.profiles[names.PREFILL][names.POSITIONS].max
        largest = {names.POSITIONS: self._part, **ONE_ROW}
        self._prompt = Mirror(sized(embeddings, largest), embeddings.dtype)
        self._hidden = DeviceMemory(size_bytes(tensors[names.HIDDEN], largest))
        self.next_embedding = DeviceMemory(size_bytes(tensors[names.NEXT_EMBEDDING], ONE_ROW))
        lengths = next(t for t in backbone.spec.inputs if t.name == names.PAST_LENGTH)
        self._settings = pack([tensors[name] for name in SETTINGS], ONE_ROW)
        self._feed = pack([lengths, tensors[names.NOISE]], ONE_ROW)
        self._drawn = pack([tensors[name] for name in DRAWN], ONE_ROW)
        self._drawn.upload(stream)  # the gaps between tensors are downloaded as well
        plans = (backbone, head)
        self._calls = [plan.call(names.PREFILL, scratch, stream) for plan in plans]
        for call in self._calls:
            call.set_addresses(self._addresses())

    def launch(self, request: Request) -> None:
        """Read a prompt, in parts if it is long. All parts but the last only fill the caches."""
        self.done.synchronize()  # the memory may still be in use
        for name, value in head_settings(self._head.spec, request.sampling).items():
            self._settings.host[name][0] = value
        feed = self._feed.host
        request.random.random(out=feed[names.NOISE][0], dtype=np.float32)
        self._settings.upload(self._stream)
        for states in self.states:
            states.clear(self._stream)
        self.started.record(self._stream)
        prompt = request.prompt[0]
        for begin in range(0, len(prompt), self._part):
            if begin:
                for states in self.states:
                    states.carry_over(self._stream)
                self._stream.synchronize()  # before the host memory is written again
            feed[names.PAST_LENGTH][0] = begin
            self._read(prompt[begin : begin + self._part])
        self._drawn.download(self._stream)
        self.done.record(self._stream)

    def read(self) -> dict[str, NDArray[np.generic]]:
        """Wait, and return what the head drew."""
        self.done.synchronize()
        return self._drawn.host

    def settings(self) -> dict[str, NDArray[np.generic]]:
        """The settings of the request that was launched last."""
        return self._settings.host

    def _read(self, part: NDArray[np.float32]) -> None:
        self._prompt.host[0, : len(part)] = part
        self._prompt.upload(self._stream, self._prompt.host[0, : len(part)].nbytes)
        self._feed.upload(self._stream)
        for call in self._calls:
            call.set_shapes({names.POSITIONS: len(part), **ONE_ROW})
            call.enqueue(self._stream)

    def _addresses(self) -> dict[str, int]:
        addresses = {
            names.INPUTS_EMBEDS: self._prompt.device.address,
            names.HIDDEN: self._hidden.address,
            names.NEXT_EMBEDDING: self.next_embedding.address,
            **self._settings.device_addresses(),
            **self._feed.device_addresses(),
            **self._drawn.device_addresses(),
        }
        for states in self.states:
            addresses |= states.addresses(0)
        on_host = self._head.host_inputs
        places = self._settings.host_addresses().items()
        return addresses | {name: at for name, at in places if name in on_host}
