"""The interface of each graph: the contract of `runtime.bundle`, with the numbers of a manifest.

In: a manifest and the name of a graph. Out: every tensor that the graph must have. It compares
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from runtime.bundle import names
from runtime.bundle.manifest import Dimension, GraphSpec, Manifest, TensorSpec

FLOATS = ("float32", "float16", "bfloat16")
MTP_SPECIAL = 2  # entries of a head besides codes: <eosp>, <|speech_pad|>
NTP_SPECIAL = 1  # <eosp>


class Tensor(NamedTuple):
    """What an input or output must be: one of these types, and exactly this shape."""

    dtypes: tuple[str, ...]
    shape: tuple[Dimension, ...]

    def fits(self, spec: TensorSpec) -> bool:
        return spec.dtype in self.dtypes and spec.shape == self.shape

    def __str__(self) -> str:
        return describe(" or ".join(self.dtypes), self.shape)


class Interface(NamedTuple):
    """A graph's inputs and outputs without its states, and its states.

    states: name of the past -> (name of the present, the tensor of both).
    """

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    states: dict[str, tuple[str, Tensor]]


def interface_of(manifest: Manifest, name: str) -> Interface:
    """The tensors that the graph called `name` must have, given the manifest's model and codec."""
    interface = INTERFACES[name](manifest, manifest.graphs[name])
    return interface._replace(states={}) if manifest.engine.kind == names.NATIVE else interface


def describe(dtype: str, shape: tuple[Dimension | None, ...]) -> str:
    """A tensor in words: float32 [1, positions, 64]."""
    return f"{dtype} [{', '.join('?' if size is None else str(size) for size in shape)}]"


def _rows(dtype: str, *shape: Dimension) -> Tensor:
    return Tensor((dtype,), (names.ROWS, *shape))


def _backbone(manifest: Manifest, spec: GraphSpec) -> Interface:
    model = manifest.language_model
    sequence = _rows("float32", names.POSITIONS, model.hidden_size)
    return Interface(
        {names.INPUTS_EMBEDS: sequence, names.PAST_LENGTH: _rows("int64")},
        {names.HIDDEN: sequence},
        {
            pair.format(layer=layer): (other.format(layer=layer), _cache(manifest, spec, pair))
            for pair, other in (
                (names.PAST_KEY, names.PRESENT_KEY),
                (names.PAST_VALUE, names.PRESENT_VALUE),
            )
            for layer in range(min(model.layers, len(spec.states) + 1))
        },
    )


def _cache(manifest: Manifest, spec: GraphSpec, first: str, heads: int = 1) -> Tensor:
    """A KV cache.

    All caches of a graph have one float type, which the graph chooses. In the ort dialect a cache
    has as much room as a run needs.
    """
    model = manifest.language_model
    found = [tensor.dtype for tensor in spec.inputs if tensor.name == first.format(layer=0)]
    dtype = found[0] if found and found[0] in FLOATS else FLOATS[0]
    room = names.CAPACITY if manifest.engine.dialect == names.ORT else model.max_positions
    return _rows(dtype, heads * model.kv_heads, room, model.head_dim)


def _sampling(noise: int) -> dict[str, Tensor]:
    return {
        names.TEMPERATURE: _rows("float32"),
        names.TOP_K: _rows("int64"),
        names.TOP_P: _rows("float32"),
        names.NOISE: _rows("float32", noise),
    }


def _mtp_head(manifest: Manifest, spec: GraphSpec) -> Interface:
    entries = max(manifest.codec.streams) + MTP_SPECIAL
    return _head(manifest, spec, (manifest.language_model.heads, entries), {})


def _ntp_head(manifest: Manifest, spec: GraphSpec) -> Interface:
    slot = {names.PAST_SLOT: (names.PRESENT_SLOT, _rows("int64"))}
    streams = manifest.codec.streams
    return _head(manifest, spec, (len(streams), max(streams) + NTP_SPECIAL), slot)


def _head(
    manifest: Manifest,
    spec: GraphSpec,
    seen: tuple[int, int],
    states: dict[str, tuple[str, Tensor]],
) -> Interface:
    model = manifest.language_model
    inputs = {
        names.HIDDEN: _rows("float32", names.POSITIONS, model.hidden_size),
        names.REPETITION_PENALTY: _rows("float32"),
        **_sampling(model.heads),
    }
    outputs = {
        names.CODES: _rows("int64", model.heads),
        names.KEPT_CODES: _rows("int64"),
        names.STOP: _rows("bool"),
        names.NEXT_EMBEDDING: _rows("float32", 1, model.hidden_size),
    }
    states = {names.PAST_SEEN: (names.PRESENT_SEEN, _rows("bool", *seen)), **states}
    if model.head_kind == "transformer":
        inputs[names.PAST_LENGTH] = _rows("int64")
        states |= _head_caches(manifest, spec)
    return Interface(inputs, outputs, states)


def _head_caches(manifest: Manifest, spec: GraphSpec) -> dict[str, tuple[str, Tensor]]:
    """Caches of all layers that the head has, one or more."""
    layers = max(1, sum(t.name.startswith(_stem(names.PAST_HEAD_KEY)) for t in spec.inputs))
    pairs = (
        (names.PAST_HEAD_KEY, names.PRESENT_HEAD_KEY),
        (names.PAST_HEAD_VALUE, names.PRESENT_HEAD_VALUE),
    )
    heads = manifest.language_model.heads
    return {
        past.format(layer=layer): (
            present.format(layer=layer),
            _cache(manifest, spec, names.PAST_HEAD_KEY, heads),
        )
        for past, present in pairs
        for layer in range(layers)
    }


def _text_head(manifest: Manifest, spec: GraphSpec) -> Interface:
    hidden = _rows("float32", names.POSITIONS, manifest.language_model.hidden_size)
    return Interface({names.HIDDEN: hidden, **_sampling(1)}, {names.TOKEN: _rows("int64")}, {})


def _speaker_projection(manifest: Manifest, spec: GraphSpec) -> Interface:
    token = _rows("float32", 1, manifest.language_model.hidden_size)
    speaker = _rows("float32", manifest.codec.speaker_channels)
    return Interface({names.SPEAKER: speaker}, {names.SPEAKER_TOKEN: token}, {})


def _codec_decoder(manifest: Manifest, spec: GraphSpec) -> Interface:
    inputs = {
        names.CODEC_FRAMES: _rows("int64", names.FRAMES, len(manifest.codec.streams)),
        names.SPEAKER: _rows("float32", manifest.codec.speaker_channels),
        names.PAST_FRAMES: _rows("int64"),
        names.UTTERANCE_FRAMES: _rows("int64"),
    }
    return Interface(inputs, {names.AUDIO: _rows("float32", names.SAMPLES)}, _contexts(spec))


def _contexts(spec: GraphSpec) -> dict[str, tuple[str, Tensor]]:
    """All contexts that the decoder has. After the row axis, each has a fixed shape of its own."""
    found = [t for t in spec.inputs if t.name.startswith(_stem(names.PAST_CONTEXT))]
    shapes = {tensor.name: tensor.shape for tensor in found}
    contexts = {}
    for index in range(len(found)):
        past = names.PAST_CONTEXT.format(index=index)
        fixed = tuple(
            size if isinstance(size, int) and size > 0 else 1 for size in shapes.get(past, ())[1:]
        )
        contexts[past] = (names.PRESENT_CONTEXT.format(index=index), _rows("float32", *fixed))
    return contexts


def _codec_encoder(manifest: Manifest, spec: GraphSpec) -> Interface:
    codec = manifest.codec
    outputs = {
        names.CODEC_FRAMES: Tensor(("int64",), (1, names.FRAMES, len(codec.streams))),
        names.SPEAKER: Tensor(("float32",), (1, codec.speaker_channels)),
    }
    return Interface({names.AUDIO: Tensor(("float32",), (1, names.SAMPLES))}, outputs, {})


def _stem(template: str) -> str:
    return template.partition("{")[0]


INTERFACES: dict[str, Callable[[Manifest, GraphSpec], Interface]] = {
    names.BACKBONE: _backbone,
    names.MTP_HEAD: _mtp_head,
    names.NTP_HEAD: _ntp_head,
    names.TEXT_HEAD: _text_head,
    names.SPEAKER_PROJECTION: _speaker_projection,
    names.CODEC_DECODER: _codec_decoder,
    names.CODEC_ENCODER: _codec_encoder,
}
