"""A graph under construction, with the layers that all models are made of.

In: values of the graph, and weights. Out: the values of a layer. `export.graph.dialects` has a
`ModelGraph` for each dialect, with the operators that its engines run best. It knows neither models
nor checkpoints.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from export.graph.precisions import Precision, WeightFormats, plain_formats
from export.graph.writer import GraphWriter, Value, float_name
from formats.weights import Weight
from runtime.bundle.manifest import Dimension


@dataclass(frozen=True)
class AttentionGeometry:
    """Sizes that all attention layers of one graph share.

    decoders: layers that run side by side, each with its own weights: 1 in a backbone, N in N
    transformer heads. Each has `query_heads` and `kv_heads`. One attention operator takes those of
    all decoders at once.
    """

    decoders: int
    query_heads: int
    kv_heads: int
    head_dim: int
    max_positions: int  # rows of the rotary tables
    rope_theta: float

    @property
    def qkv_heads(self) -> tuple[int, int, int]:
        """Heads of query, key and value of one decoder, as its packed product has them."""
        return self.query_heads, self.kv_heads, self.kv_heads


class KeyValues(NamedTuple):
    """One layer's KV cache, each (rows, decoders · KV, capacity, D)."""

    key: Value
    value: Value


class CachedAttention(Protocol):
    """Causal rotary attention over a KV cache of fixed capacity."""

    def __call__(self, qkv: Value, past: KeyValues) -> tuple[Value, KeyValues]:
        """Packed qkv (rows, S, (H + 2·KV)·D) -> (rows, S, H·D) and the longer cache.

        Of several decoders: qkv (decoders, rows · S, (H + 2·KV)·D) -> (decoders, rows · S, H·D).
        """


class ModelGraph(GraphWriter):
    """A graph with the layers that every model is made of.

    caches_in_place: whether `attention` writes a cache where it lies.
    """

    caches_in_place: ClassVar[bool] = True

    def __init__(
        self, name: str, precision: Precision = "fp32", formats: WeightFormats | None = None
    ) -> None:
        super().__init__(name, precision)
        self.formats = formats or plain_formats(precision)
        self.products: dict[str, tuple[int, ...]] = {}  # weights of products and convolutions

    # Layers that are the same in every dialect.

    def linear(
        self, x: Value, weight: Weight, bias: Weight | None = None, *, exact: bool = False
    ) -> Value:
        """x (…, in) times weight (out, in), or batched (N, S, in) times (N, out, in), plus bias.

        Every matrix product with a weight passes through here; `export.graph.precisions` chooses
        its number format. x is float32 or of the type `compute`, and so is the result.
        exact: float32, unless the weight has a format by name. x must then have few positions.
        """
        self.products[weight.name] = weight.shape
        product = self.formats.of(weight, self.compute, exact).product(self, x, weight)
        if bias is None:
            return product
        return self.op.Add(product, self.weight(bias, float_name(product.dtype)))

    def silu(self, x: Value) -> Value:
        """x · sigmoid(x)."""
        return self.op.Mul(x, self.op.Sigmoid(x))

    def layer_norm(self, x: Value, weight: Weight, bias: Weight, epsilon: float) -> Value:
        """LayerNorm over the last axis, in float32. A batch of heads has weights (N, 1, H)."""
        unit = self.constant(np.ones(weight.shape[-1], np.float32), f"{weight.name}.unit")
        normed = self.op.LayerNormalization(x, unit, axis=-1, epsilon=epsilon)
        return self.op.Add(self.op.Mul(normed, self.weight(weight)), self.weight(bias))

    def cumulative(self, x: Value, *, exclusive: bool = False) -> Value:
        """Cumulative sums over the last axis of x float32 (rows, N, k).

        exclusive: of the entries before each one, without its own.
        """
        return self.op.CumSum(x, 2, exclusive=int(exclusive))

    def last_position(self, x: Value) -> Value:
        """(rows, S, H) -> (rows, 1, H)."""
        return self.op.Slice(x, [-1], [2**31 - 1], [1])

    # Layers whose best operators depend on the engine.

    @abstractmethod
    def capacity(self, positions: int) -> Dimension:
        """Room of KV caches for a model of at most `positions`: a name or a number."""

    @abstractmethod
    def best(self, scores: Value, count: Value, entries: int) -> tuple[Value, Value]:
        """The `count` best of scores float32 (rows, N, entries), best first, and their indices.

        count: int64 (rows). Both results are (rows, N, k), where k is at least the largest count.
        In each row, values beyond its own count are -inf.
        """

    @abstractmethod
    def rms_norm(self, x: Value, weight: Weight, epsilon: float) -> Value:
        """x / sqrt(mean(x²) + epsilon) · weight, over the last axis, in float32."""

    @abstractmethod
    def add_rms_norm(
        self, x: Value, residual: Value, weight: Weight, epsilon: float
    ) -> tuple[Value, Value]:
        """(rms_norm(x + residual), x + residual), in float32."""

    @abstractmethod
    def attention(
        self, geometry: AttentionGeometry, past_length: Value, x: Value
    ) -> CachedAttention:
        """The attention of all layers; what they share is computed here, once.

        past_length: int64 (rows). x: (rows, S, …), whose positions follow.
        """
