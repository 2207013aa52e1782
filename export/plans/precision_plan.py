"""Where a graph is meant to compute in fp32.

In: a graph's name and precision. Out: a `PrecisionPlan`, which `export.plans.inspection` compares
with TensorRT's network. It is written by hand on purpose, and not taken from the graph, so that it
also finds mistakes of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from formats.precisions import FEW_BITS
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import (
    BACKBONE,
    CODEC_DECODER,
    CODEC_ENCODER,
    MTP_HEAD,
    NTP_HEAD,
    SPEAKER_PROJECTION,
    TEXT_HEAD,
)

_COMPUTE = {"fp32": "float32", "bf16": "bfloat16"}  # float16 in all others

Rule = tuple[str, str]  # operator and scope of ONNX nodes; * stands for any


def _rules(scope: str, operators: str) -> tuple[Rule, ...]:
    return tuple((operator, scope) for operator in operators.split())


SCORES_SCOPE = "*scores"  # of attention that is written out

# The residual stream can exceed float16 (export.language_model.half_range), and a norm's sum of
# squares has no bound. Values are multiplied with their gain before they are added to the stream.
_STREAM = (
    *_rules("*", "RMSNormalization Add"),
    *_rules("layer_*", "Mul"),
    *_rules("*norm", "Mul ReduceMean Sqrt Div"),
)
# In the basic dialect: angles, and scores of attention, which no bound keeps within float16.
_WRITTEN_OUT = (*_rules("*rotary", "Mul Sub"), *_rules(SCORES_SCOPE, "MatMul Mul Softmax"))
# Scores decide which code wins. Near ties must be decided as in PyTorch.
_SCORES = _rules("", "MatMul Add Sigmoid Mul LayerNormalization")
_DRAW = _rules(
    "", "Less Add Mul Div TopK Softmax CumSum LessOrEqual GreaterOrEqual Greater ReduceSum"
)
_MEAN_EMBEDDING = _rules("", "ReduceMean")
_ALL = _rules("*", "*")

_FP32: dict[str, tuple[Rule, ...]] = {
    BACKBONE: (*_STREAM, *_WRITTEN_OUT),
    MTP_HEAD: (*_STREAM, *_WRITTEN_OUT, *_SCORES, *_DRAW, *_MEAN_EMBEDDING),
    NTP_HEAD: (*_SCORES, *_DRAW),
    TEXT_HEAD: _DRAW,
    SPEAKER_PROJECTION: _ALL,  # once an utterance
    CODEC_DECODER: (),
    CODEC_ENCODER: (),
}


@dataclass(frozen=True)
class PrecisionPlan:
    """compute: type of products and attention. fp32: nodes that may compute in fp32 instead.
    quantized: the format that at least one product must be in; "" for none."""

    compute: str
    fp32: tuple[Rule, ...] = ()
    quantized: str = ""

    def allows_fp32(self, node: str, operator: str) -> bool:
        """node: its name, whose part before the last slash is its scope."""
        scope = scope_of(node)
        return any(
            fnmatchcase(operator, one) and fnmatchcase(scope, where) for one, where in self.fp32
        )


def scope_of(node: str) -> str:
    """The scope in the name of a node: all before the last slash."""
    return node.rpartition("/")[0]


def plan_precision(name: str, spec: GraphSpec) -> PrecisionPlan:
    """The plan for the graph called `name`."""
    few_bits = spec.precision if spec.precision in FEW_BITS else ""
    if name == CODEC_DECODER:
        return PrecisionPlan("float32", _FP32[name], few_bits)
    quantized = few_bits if name == BACKBONE else ""
    return PrecisionPlan(_COMPUTE.get(spec.precision, "float16"), _FP32[name], quantized)
