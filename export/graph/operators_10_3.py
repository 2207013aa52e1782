"""What the ONNX parser of TensorRT 10.3 knows, and whether a graph keeps to it.

In: a graph. Out: what is beyond the parser, one line each. Sources: onnx-tensorrt's
`docs/operators.md` as of 10.1, the last table before 10.3, whose changelogs of 10.2 and 10.3 add no
operator; its importers as of 10.1, for what must be a constant; and TensorRT's documentation of
quantized types, for blocks of INT4. An operator that this project has no use for is not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from formats.precisions import TENSORRT_BLOCKS

INT4_OPSET = 21  # ONNX has 4-bit integers from here on; the parser takes them since 10.0
OPSETS = range(9, INT4_OPSET + 1)
MOST_BEST = 3840  # TopK takes fewer

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
_NUMBERS = _FLOATS | {ir.DataType.INT32, ir.DataType.INT64}
_ANY = _NUMBERS | {ir.DataType.BOOL}
_FEW_BITS = frozenset({ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN, ir.DataType.INT4})

# Operators by the types of their data.
_OF_FLOATS = """
Conv ConvTranspose Cos CumSum Erf Exp Floor LayerNormalization Log MatMul Pow QuantizeLinear
Reciprocal Sigmoid Sin Softmax Softplus Sqrt Tanh
"""
_OF_NUMBERS = """
Abs Add ArgMax Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mod Mul Neg Pad Range Relu
ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare ScatterElements ScatterND Sign Sub TopK
"""
_OF_ANY = """
Cast Concat Constant ConstantOfShape Expand Gather GatherElements GatherND Identity Reshape Shape
Slice Split Squeeze Tile Transpose Unsqueeze Where
"""
TYPES: dict[str, frozenset[ir.DataType]] = {
    **dict.fromkeys(_OF_FLOATS.split(), _FLOATS),
    **dict.fromkeys(_OF_NUMBERS.split(), _NUMBERS),
    **dict.fromkeys(_OF_ANY.split(), _ANY),
    **dict.fromkeys(("And", "Not", "Or", "Xor"), frozenset({ir.DataType.BOOL})),
    "DequantizeLinear": _FEW_BITS,
}
# Inputs whose types are those of `TYPES`, by position, where it is not the first.
_DATA = {"Where": 1}
# Positions of inputs that must be constants.
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare")
_CONSTANTS = {
    **dict.fromkeys((*_REDUCTIONS, "CumSum", "Squeeze", "Unsqueeze"), 1),
    **dict.fromkeys(("Pad", "Slice"), 3),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), 1),
}


def beyond(model: ir.Model) -> list[str]:
    """All that the parser of TensorRT 10.3 does not take, one line each; none if it takes all."""
    found = list(_beyond_opsets(model))
    for node in model.graph:
        name = f"{node.name or 'a node'} ({node.op_type})"
        if node.domain not in ("", "ai.onnx") or node.op_type not in TYPES:
            found.append(f"{name} is no operator of TensorRT 10.3")
        else:
            found += [f"{name}: {what}" for check in _CHECKS for what in check(node)]
    return found


def _beyond_opsets(model: ir.Model) -> Iterator[str]:
    opset = model.opset_imports.get("", 0)
    if opset not in OPSETS:
        yield f"opset {opset} is beyond {OPSETS[-1]}"
    if model.functions:
        yield "local functions are taken apart before plugins are looked for"


def _beyond_types(node: ir.Node) -> Iterator[str]:
    dtype = _dtype(node, _DATA.get(node.op_type, 0))
    if node.op_type not in ("Constant", "ConstantOfShape") and dtype not in TYPES[node.op_type]:
        yield f"not for {dtype.name if dtype else 'an unknown type'}"


def _beyond_constants(node: ir.Node) -> Iterator[str]:
    position = _CONSTANTS.get(node.op_type)
    if position is not None and _constant(node, position) is None and _input(node, position):
        yield f"input {position} must be a constant"


def _beyond_best(node: ir.Node) -> Iterator[str]:
    if node.op_type == "TopK":
        count = _constant(node, 1)
        if count is None or count.numpy().max() >= MOST_BEST:
            yield f"k must be a constant below {MOST_BEST}"
        if not node.attributes.get_int("sorted", 1):
            yield "must be sorted"


def _beyond_norms(node: ir.Node) -> Iterator[str]:
    if node.op_type == "LayerNormalization" and len(node.outputs) > 1:
        yield "only the first output is there"


def _beyond_scales(node: ir.Node) -> Iterator[str]:
    """Scales are positive, zero points are zero, and INT4 has scales of blocks."""
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    zero, scales = _constant(node, 2), _constant(node, 1)
    if zero is not None and zero.numpy().astype(float).any():
        yield "the zero point must be zero"
    if scales is not None and not (scales.numpy() > 0).all():
        yield "scales must be positive"
    block = node.attributes.get_int("block_size", 0)
    if _dtype(node, 0) == ir.DataType.INT4 and block not in TENSORRT_BLOCKS:
        yield f"INT4 in blocks of {block}, not of {' or '.join(map(str, TENSORRT_BLOCKS))}"
    if _dtype(node, 0) != ir.DataType.INT4 and block:
        yield "only INT4 has blocks"


_CHECKS: tuple[Callable[[ir.Node], Iterator[str]], ...] = (
    _beyond_types,
    _beyond_constants,
    _beyond_best,
    _beyond_norms,
    _beyond_scales,
)


def _input(node: ir.Node, position: int) -> ir.Value | None:
    return node.inputs[position] if position < len(node.inputs) else None


def _dtype(node: ir.Node, position: int) -> ir.DataType | None:
    value = _input(node, position)
    return None if value is None else value.dtype


def _constant(node: ir.Node, position: int) -> ir.TensorProtocol | None:
    value = _input(node, position)
    return None if value is None else value.const_value
