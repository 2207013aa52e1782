"""Whether TensorRT's network does what the ONNX file says: checked before a plan is built.

In: a parsed network, its ONNX file, and a plan of where to compute in fp32
(`export.plans.precision_plan`). Out: faults, one line each; none if all is well. The parser reports
none of them: it has dropped inputs (Attention's `nonpad_kv_seqlen`), aligned causality to another
corner, and fallen back to fp32. The inspection needs no GPU and compares no values; the checks in
ONNX Runtime do that with the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir

from commands.errors import UserError
from export.plans.cache_checks import CACHE_CHECKS
from export.plans.inspected import Inspected
from export.plans.network import Layer, Network
from export.plans.precision_plan import PrecisionPlan
from formats.precisions import TENSORRT_BLOCKS
from runtime.bundle.manifest import TensorSpec
from runtime.bundle.names import TENSORRT

# Layers that move or hold values and compute nothing with them.
MOVES = frozenset(
    {
        *("ASSERTION", "CAST", "CONCATENATION", "CONSTANT", "DEQUANTIZE", "GATHER", "IDENTITY"),
        *("KV_CACHE_UPDATE", "PADDING", "QUANTIZE", "SCATTER", "SELECT", "SHAPE", "SHUFFLE"),
        *("SLICE", "SQUEEZE", "UNSQUEEZE"),
    }
)
# Positions of the inputs of layers that decide shapes.
_SHAPE_SLOTS = {"FILL": (0,), "RESIZE": (1,), "SHUFFLE": (1,), "SLICE": (1, 2, 3), "TOPK": (1,)}
QUANTIZED_PRODUCTS = frozenset({"int8", "fp8"})  # both operands are stored in few bits
PRODUCTS = frozenset({"MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION", "ATTENTION_INPUT"})


def inspect(network: Network, folder: Path, plan: PrecisionPlan) -> list[str]:
    """All faults of the network, one line each."""
    graph = ir.load(folder / network.spec.file).graph
    inspected = Inspected(network, {node.name or "": node for node in graph}, plan)
    return [fault for check in CHECKS for fault in check(inspected)]


def refuse_faults(network: Network, faults: Iterable[str]) -> None:
    """Raise `UserError` with all faults, if there are any."""
    faults = list(faults)
    if faults:
        raise UserError(
            f"{network.name}: {network.library.title} parsed the graph differently, so no "
            f"plan is built: {'; '.join(faults)}"
        )


def count_products(network: Network) -> dict[str, int]:
    """How many matrix products, convolutions and attentions there are in each number format."""
    counts: dict[str, int] = {}
    for layer in network.layers:
        if layer.kind in PRODUCTS:
            number_format = _format_of(network, layer)
            counts[number_format] = counts.get(number_format, 0) + 1
    return counts


def _format_of(network: Network, layer: Layer) -> str:
    """The type in which the product's right operand, mostly a weight, is stored."""
    return _stored_format(network, layer.inputs[min(1, len(layer.inputs) - 1)])


def _stored_format(network: Network, tensor: Any) -> str:
    """The type of a tensor, or of the one that it is dequantized from."""
    while (maker := network.producers.get(tensor.name)) and maker.kind in {"SHUFFLE", "CAST"}:
        tensor = maker.inputs[0]
    if maker and maker.kind == "DEQUANTIZE":
        tensor = maker.inputs[0]
    return network.dtype(tensor)


# The checks.


def _interface(inspected: Inspected) -> Iterator[str]:
    """Inputs and outputs are those of the manifest: names, types, fixed sizes."""
    network = inspected.network
    for what, found, described in (
        ("input", network.inputs, network.spec.inputs),
        ("output", network.outputs, network.spec.outputs),
    ):
        specs = {tensor.name: tensor for tensor in described}
        for name in sorted(specs.keys() ^ found.keys()):
            yield f"{what} {name} is in {'the manifest' if name in specs else 'the network'} only"
        for name in sorted(specs.keys() & found.keys()):
            tensor, spec = found[name], specs[name]
            seen = f"{network.dtype(tensor)} {list(tensor.shape)}"
            if network.dtype(tensor) != spec.dtype or not _fits(tuple(tensor.shape), spec, what):
                yield f"{what} {name} is {seen}, the manifest says {spec.dtype} {list(spec.shape)}"


def _fits(shape: tuple[int, ...], spec: TensorSpec, what: str) -> bool:
    """Whether sizes agree. -1 is a size that a run chooses or, in outputs, one that the parser does
    not know."""
    described = [-1 if isinstance(size, str) else size for size in spec.shape]
    return len(shape) == len(described) and all(
        found == known or (what == "output" and -1 in (found, known))
        for found, known in zip(shape, described, strict=True)
    )


def _standard_operators(inspected: Inspected) -> Iterator[str]:
    """All operators are standard: the parser goes by an operator's name and ignores its domain."""
    for node in inspected.nodes.values():
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.name} is {node.domain}.{node.op_type}, not a standard operator"


def _unused_inputs(inspected: Inspected) -> Iterator[str]:
    """Every input takes part in some output."""
    network = inspected.network
    used = network.ancestors(*network.outputs)
    for name in network.inputs.keys() - used:
        yield f"input {name} is used by no layer"


def _host_inputs(inspected: Inspected) -> Iterator[str]:
    """No shape depends on an input's value, for which the host would have to wait in each step."""
    network = inspected.network
    needed = {name for name, tensor in network.inputs.items() if tensor.is_shape_tensor}
    needed |= network.inputs.keys() & _deciding(network)
    for name in sorted(needed):
        yield f"shapes depend on the value of input {name}, which must then be on the host"


def _deciding(network: Network) -> set[str]:
    """Tensors whose values, not only their shapes, decide the shapes of others."""
    found: set[str] = set()
    waiting = [
        layer.slots[slot]
        for layer in network.layers
        for slot in _SHAPE_SLOTS.get(layer.kind, ())
        if slot < len(layer.slots)
    ]
    while waiting:
        tensor = waiting.pop()
        if tensor is not None and tensor not in found:
            found.add(tensor)
            layer = network.producers.get(tensor)
            if layer is not None and layer.kind != "SHAPE":
                waiting += layer.slots
    return found


def _stray_fp32(inspected: Inspected) -> Iterator[str]:
    """No layer computes in fp32 unless the plan allows it."""
    network, plan = inspected.network, inspected.plan
    if plan.compute == "float32":
        return
    from_inputs = _computed_from_inputs(network)
    for layer in network.layers:
        if layer.kind in MOVES or layer.outputs[0].name not in from_inputs:
            continue
        node = inspected.nodes.get(layer.node)
        name, operator = layer.node or layer.name, node.op_type if node else layer.kind
        if _computes_in_fp32(network, layer) and not plan.allows_fp32(name, operator):
            yield f"{name} ({layer.kind}) computes in fp32"


def _computes_in_fp32(network: Network, layer: Layer) -> bool:
    tensors = [*layer.inputs, *layer.outputs]
    if all(network.dtype(tensor) != "float32" for tensor in tensors):
        return False
    formats = {_stored_format(network, tensor) for tensor in layer.inputs}
    return not (layer.kind in PRODUCTS and formats <= QUANTIZED_PRODUCTS)


def _computed_from_inputs(network: Network) -> set[str]:
    """Names of the tensors that depend on a call's inputs. TensorRT folds all others."""
    decided = set(network.inputs)
    for layer in _in_order(network):
        if layer.kind != "SHAPE" and any(tensor.name in decided for tensor in layer.inputs):
            decided |= {tensor.name for tensor in layer.outputs}
    return decided


def _in_order(network: Network) -> Iterator[Layer]:
    """Layers, each after those that feed it. The parser's own order is not always like this."""
    done: set[str] = set(network.inputs)
    waiting = list(network.layers)
    while waiting:
        ready = [layer for layer in waiting if all(t.name in done for t in layer.inputs)]
        assert ready, "the network has a cycle"
        yield from ready
        done |= {tensor.name for layer in ready for tensor in layer.outputs}
        waiting = [layer for layer in waiting if layer.outputs[0].name not in done]


def _quantized_products(inspected: Inspected) -> Iterator[str]:
    """A graph of few bits has products in its format."""
    wanted, network = inspected.plan.quantized, inspected.network
    if wanted and wanted not in count_products(network):
        yield f"no product is in {wanted}, though the graph is called {network.spec.precision}"


def _int4_blocks(inspected: Inspected) -> Iterator[str]:
    """TensorRT has INT4 in few sizes of blocks, unlike TensorRT-RTX."""
    if inspected.network.library.kind != TENSORRT:
        return
    for node in inspected.nodes_of("DequantizeLinear"):
        block = node.attributes.get_int("block_size", 0)
        if block and block not in TENSORRT_BLOCKS:
            yield (
                f"{node.name} has blocks of {block} channels, TensorRT takes "
                f"{' or '.join(map(str, TENSORRT_BLOCKS))}: calibrate with --block "
                f"{TENSORRT_BLOCKS[0]}"
            )


CHECKS: tuple[Callable[[Inspected], Iterator[str]], ...] = (
    _standard_operators,
    _interface,
    _unused_inputs,
    _host_inputs,
    *CACHE_CHECKS,
    _stray_fp32,
    _quantized_products,
    _int4_blocks,
)
