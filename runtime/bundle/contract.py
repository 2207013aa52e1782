"""Checks that a manifest is consistent: graphs of the right interfaces, numbers that fit.

In: a manifest. Out: nothing, or one line that says what does not fit. A manifest whose hashes
are right may still describe another model than its graphs hold; then memory would be laid out for
the wrong shapes. So the manifest is compared with the contract here when it is loaded, and each
graph with the manifest when it is opened (`runtime.engines.agreement`). This module opens no file
and knows no engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from commands.errors import UserError
from runtime.bundle import names
from runtime.bundle.interfaces import INTERFACES, Tensor, describe, interface_of
from runtime.bundle.manifest import GraphSpec, Manifest, TensorSpec

STATE_BYTES = 2**40  # at most, of a graph's states with all positions: beyond any real model
BYTES_OF = {"float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "bool": 1}


def facts_of(manifest: Manifest, name: str) -> dict[str, str]:
    """Facts about a graph that its shapes do not show.

    ONNX files hold the same facts as metadata, except for files of older exports.
    """
    spec, codec = manifest.graphs[name], manifest.codec
    facts = {names.IN_PLACE_FACT: ",".join(s.output for s in spec.states if s.in_place)}
    if name == names.BACKBONE or names.PAST_LENGTH in {tensor.name for tensor in spec.inputs}:
        facts[names.MAX_POSITIONS_FACT] = str(manifest.language_model.max_positions)
    if name in (names.CODEC_DECODER, names.CODEC_ENCODER):
        facts[names.SAMPLE_RATE_FACT] = str(codec.sample_rate_hz)
        facts[names.HOP_FACT] = str(codec.hop_samples)
    if name == names.CODEC_DECODER:
        facts[names.DELAY_FACT] = str(codec.delay_frames)
    return facts


def check_manifest(manifest: Manifest, where: str) -> None:
    """Compare a manifest with the contract; `where` names it in messages.

    Raises:
        UserError: sizes, names or types that do not fit each other, or that nothing could hold.
    """
    for complaint in _complaints(manifest):
        raise UserError(f"{where}: {complaint}; export again")


def _complaints(manifest: Manifest) -> Iterator[str]:
    """All that is wrong. Only the first complaint is reported."""
    yield from _engine_complaints(manifest)
    yield from _model_complaints(manifest)
    yield from _prompt_complaints(manifest)
    for name in manifest.graphs:
        yield from _graph_complaints(manifest, name)


def _engine_complaints(manifest: Manifest) -> Iterator[str]:
    engine = manifest.engine
    is_native = engine.kind == names.NATIVE
    for field, found, known in (
        ("kind", engine.kind, names.TARGETS),
        ("dialect", engine.dialect, (names.NATIVE,) if is_native else names.DIALECTS),
    ):
        if found not in known:
            yield f"engine.{field} {found!r} is not known; there are {', '.join(known)}"
    has_plans = engine.kind in names.GPU_TARGETS
    if has_plans != (engine.plans is not None):
        yield f"engine.kind is {engine.kind!r} and engine.plans is {'not ' * has_plans}there"
    for name, spec in manifest.graphs.items():
        if name not in INTERFACES:
            yield f"graph {name!r} is not known; there are {', '.join(INTERFACES)}"
        if spec.file.endswith(names.PLAN_SUFFIX) and not has_plans:
            yield f"{name} is the plan {spec.file}, but the engine is {engine.kind}"
        if is_native and spec.file != names.PACKED_WEIGHTS:
            yield f"{name} is in {spec.file}, not in {names.PACKED_WEIGHTS}"


def _model_complaints(manifest: Manifest) -> Iterator[str]:
    model, streams = manifest.language_model, len(manifest.codec.streams)
    whole = model.heads % streams == 0 if model.kind == "mtp" else model.heads == 1
    if not whole:
        yield f"language_model.heads is {model.heads}: 1 for ntp, a multiple of {streams} for mtp"
    if (model.kind == "ntp") != (model.head_kind == "lm_head"):
        yield f"language_model.head_kind is {model.head_kind!r}, which {model.kind} lacks"
    other = names.NTP_HEAD if model.kind == "mtp" else names.MTP_HEAD
    if other in manifest.graphs:
        yield f"has the graph {other}, but language_model.kind is {model.kind!r}"
    if model.speaker_aware != (names.SPEAKER_PROJECTION in manifest.graphs):
        has = "has no" if model.speaker_aware else "has the"
        yield (
            f"language_model.speaker_aware is {str(model.speaker_aware).lower()}, but it {has} "
            f"graph {names.SPEAKER_PROJECTION}"
        )


def _prompt_complaints(manifest: Manifest) -> Iterator[str]:
    prompt, chat = manifest.prompt, manifest.chat
    if "{text}" not in prompt.template:
        yield f"prompt.template {prompt.template[:40]!r} lacks {{text}}"
    if manifest.language_model.speaker_aware and prompt.placeholder_id is None:
        yield "prompt.placeholder_id is missing, but the model is speaker-aware"
    if (chat is not None) != (names.TEXT_HEAD in manifest.graphs):
        yield "has chat without a text_head graph, or the other way round"
    if chat is not None and "{question}" not in chat.template:
        yield f"chat.template {chat.template[:40]!r} lacks {{question}}"
    default = manifest.default_voice
    if default is not None and default not in manifest.voices:
        yield f"default_voice {default!r} is not one of the voices"


# Graphs.


def _graph_complaints(manifest: Manifest, name: str) -> Iterator[str]:
    spec, wanted = manifest.graphs[name], interface_of(manifest, name)
    past = {one: tensor for one, (_, tensor) in wanted.states.items()}
    present = dict(wanted.states.values())
    yield from _side_complaints(f"{name} input", spec.inputs, wanted.inputs | past)
    yield from _side_complaints(f"{name} output", spec.outputs, wanted.outputs | present)
    paired = {state.input: state.output for state in spec.states}
    if paired != {one: other for one, (other, _) in wanted.states.items()} or len(paired) != len(
        spec.states
    ):
        yield f"{name} does not pair its states as past_… and present_…"
    if (size := _state_bytes(manifest, spec)) > STATE_BYTES:
        yield f"the states of {name} would take {size / 2**30:.0f} GiB"
    yield from _profile_complaints(manifest, name)


def _side_complaints(
    side: str, found: tuple[TensorSpec, ...], wanted: Mapping[str, Tensor]
) -> Iterator[str]:
    for tensor in found:
        if tensor.name not in wanted:
            yield f"{side} {tensor.name} is not known; there are {', '.join(wanted)}"
        elif not wanted[tensor.name].fits(tensor):
            is_now = describe(tensor.dtype, tensor.shape)
            yield f"{side} {tensor.name} is {is_now}, should be {wanted[tensor.name]}"
    described = [tensor.name for tensor in found]
    for name in wanted:
        if (count := described.count(name)) != 1:
            yield f"{side} {name} is {f'there {count} times' if count else 'missing'}"


def _state_bytes(manifest: Manifest, spec: GraphSpec) -> int:
    """Memory of the states with all positions taken, one buffer each."""
    room = {
        names.CAPACITY: manifest.language_model.max_positions,
        names.ROWS: manifest.engine.rows,
    }
    past = {state.input for state in spec.states}
    return sum(
        math.prod(room[s] if isinstance(s, str) else s for s in t.shape) * BYTES_OF[t.dtype]
        for t in spec.inputs
        if t.name in past
    )


def _profile_complaints(manifest: Manifest, name: str) -> Iterator[str]:
    spec = manifest.graphs[name]
    named = {size for tensor in spec.inputs for size in tensor.shape if isinstance(size, str)}
    most = {
        names.ROWS: manifest.engine.rows,
        names.POSITIONS: manifest.language_model.max_positions,
        names.FRAMES: names.MAX_RANGE,
        names.SAMPLES: names.MAX_RANGE,
    }
    for kind, ranges in spec.profiles.items():
        if set(ranges) != named - {names.CAPACITY}:
            yield f"profile {kind!r} of {name} is about other dimensions than its inputs have"
        for dimension, sizes in ranges.items():
            if not sizes.min <= sizes.opt <= sizes.max <= most[dimension]:
                yield (
                    f"profile {kind!r} of {name}: {dimension} from {sizes.min} by {sizes.opt} to "
                    f"{sizes.max} is not in order, or beyond {most[dimension]}"
                )
