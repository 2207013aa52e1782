"""Whether TensorRT's network updates caches and masks attention as the ONNX file says.

In: a network beside its file. Out: faults, one line each. The portable dialect has operators for
both (TensorScatter, Attention); the basic dialect selects and adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase

from export.plans.inspected import Inspected
from export.plans.precision_plan import SCORES_SCOPE, scope_of
from runtime.bundle.names import PAST_LENGTH, is_cache

MASK, NONPAD_KV_SEQLEN = 3, 6  # positions of Attention's inputs, and of its layer's
CACHE = 0  # position of the cache in the inputs of TensorScatter
CONDITION, PAST = 0, 2  # positions of the inputs of Where, and of its layer's
ADDED_MASK = 1  # position of the mask in the sum of scores and mask


def cache_updates(inspected: Inspected) -> Iterator[str]:
    """Every TensorScatter writes a cache in place, from an input to the output paired with it."""
    network = inspected.network
    scatters = {node.name for node in inspected.nodes_of("TensorScatter")}
    updates = {layer.node: layer for layer in inspected.layers_of("KV_CACHE_UPDATE")}
    for name in sorted(str(name) for name in scatters - updates.keys()):
        yield f"{name} (TensorScatter) did not become a KV cache update"
    pairs = {state.input: state.output for state in network.spec.states}
    for node, layer in updates.items():
        cache, output = layer.slots[0], layer.outputs[0].name
        if pairs.get(str(cache)) != output:
            yield f"{node} updates {cache} into {output}, which the manifest does not pair"


def updated_caches(inspected: Inspected) -> Iterator[str]:
    """Every cache has an operator that updates it: one in place, or a select."""
    updated = {
        value.name
        for operator, position in (("TensorScatter", CACHE), ("Where", PAST))
        for node in inspected.nodes_of(operator)
        if (value := node.inputs[position]) is not None
    }
    for state in inspected.network.spec.states:
        if is_cache(state.input) and state.input not in updated:
            yield f"{state.input} is updated by no operator that is known"


def masks(inspected: Inspected) -> Iterator[str]:
    """Attention has an explicit mask that depends on the position."""
    network = inspected.network
    for node in inspected.nodes_of("Attention"):
        if len(node.inputs) > NONPAD_KV_SEQLEN and node.inputs[NONPAD_KV_SEQLEN] is not None:
            yield f"{node.name} uses nonpad_kv_seqlen, which TensorRT drops; use a mask"
        if node.attributes.get_int("is_causal", 0):
            yield f"{node.name} is_causal, which TensorRT aligns to the upper left; use a mask"
    has_position = PAST_LENGTH in network.inputs
    for layer in inspected.layers_of("ATTENTION_INPUT"):
        mask = layer.slots[MASK] if len(layer.slots) > MASK else None
        if has_position and mask is None:
            yield f"{layer.name} has no mask"
        elif has_position and PAST_LENGTH not in network.ancestors(str(mask)):
            yield f"the mask of {layer.name} does not depend on {PAST_LENGTH}"


def cache_selects(inspected: Inspected) -> Iterator[str]:
    """Every select between a call's values and a cache goes by position, into the paired output."""
    network = inspected.network
    pairs = {state.input: state.output for state in network.spec.states}
    for node in inspected.nodes_of("Where"):
        past = node.inputs[PAST]
        if past is None or past.name not in pairs:
            continue
        layer = inspected.layer_of(node, "SELECT")
        if layer is None:
            yield f"{node.name} (Where) did not become a select"
            continue
        if layer.slots[PAST] != past.name or layer.outputs[0].name != pairs[past.name]:
            yield f"{node.name} does not select between {past.name} and {pairs[past.name]}"
        if PAST_LENGTH not in network.ancestors(str(layer.slots[CONDITION])):
            yield f"the select of {past.name} does not depend on {PAST_LENGTH}"


def added_masks(inspected: Inspected) -> Iterator[str]:
    """Scores of attention that are written out have a mask that depends on the position."""
    network = inspected.network
    for node in inspected.nodes_of("Softmax"):
        if not fnmatchcase(scope_of(node.name or ""), SCORES_SCOPE):
            continue
        adding = node.inputs[0].producer() if node.inputs[0] else None
        layer = inspected.layer_of(adding, "ELEMENTWISE") if adding else None
        mask = layer.slots[ADDED_MASK] if layer else None
        if mask is None:
            yield f"{node.name} has no mask"
        elif PAST_LENGTH not in network.ancestors(mask):
            yield f"the mask of {node.name} does not depend on {PAST_LENGTH}"


CACHE_CHECKS: tuple[Callable[[Inspected], Iterator[str]], ...] = (
    cache_updates,
    updated_caches,
    masks,
    cache_selects,
    added_masks,
)
