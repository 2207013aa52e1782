"""The one table of numerical tolerances: largest difference, relative to the largest value.

A row is (graph, precision, engine). Every limit says what was measured and why it is not zero.
In fp32, codes and frames are not here: they must be identical. "codes" is the share of greedy
codes that differ when PyTorch's own are fed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    limit: float
    measured: float
    reason: str


TOLERANCES = {
    ("backbone", "fp32", "ort"): Tolerance(1e-5, 2e-6, "sums in another order, fused attention"),
    ("backbone", "fp32", "portable"): Tolerance(1e-5, 2.4e-6, "sums in another order"),
    ("backbone", "fp16", "portable"): Tolerance(
        1e-2, 3.6e-3, "11 bits; tiny random layers amplify"
    ),
    ("backbone", "bf16", "portable"): Tolerance(8e-2, 2.4e-2, "8 bits; tiny random layers amplify"),
    ("backbone, massive", "fp16", "portable"): Tolerance(
        1.2e-2, 3.9e-3, "as above; factors are exact"
    ),
    ("backbone, massive", "bf16", "portable"): Tolerance(1e-1, 3.8e-2, "as above"),
    ("backbone", "fp32", "basic"): Tolerance(1e-5, 1.4e-6, "sums in another order"),
    ("backbone", "fp16", "basic"): Tolerance(1e-2, 3.8e-3, "as portable"),
    ("backbone", "bf16", "basic"): Tolerance(8e-2, 2.6e-2, "as portable"),
    ("backbone, massive", "fp16", "basic"): Tolerance(1.2e-2, 3.9e-3, "as portable"),
    ("backbone, massive", "bf16", "basic"): Tolerance(1e-1, 3.9e-2, "as portable"),
    ("embedding table", "fp16", "numpy"): Tolerance(
        6e-3, 2.6e-3, "hidden states of inputs with 11 bits; tiny random layers amplify"
    ),
    ("codes", "fp16", "portable"): Tolerance(3e-2, 7e-3, "share that differs: near ties"),
    ("codes", "bf16", "portable"): Tolerance(2e-1, 8.4e-2, "share that differs: near ties"),
    ("codes", "fp16", "basic"): Tolerance(3e-2, 3.5e-3, "share that differs: near ties"),
    ("codes", "bf16", "basic"): Tolerance(2e-1, 1.3e-1, "share that differs: near ties"),
    **{
        ("codes of rows", precision, dialect): Tolerance(
            1e-1, 0.0, "share that differs from solo runs: rows are summed in another order"
        )
        for precision in ("int8", "int4")
        for dialect in ("ort", "portable", "basic")
    },
    **{
        ("speaker_projection", precision, dialect): Tolerance(1e-5, 3e-7, "float32, row by row")
        for precision in ("fp16", "bf16")
        for dialect in ("portable", "basic")
    },
    ("speaker_projection", "fp32", "ort"): Tolerance(1e-5, 7e-7, "sums in another order"),
    ("speaker_projection", "fp32", "portable"): Tolerance(1e-5, 7e-7, "sums in another order"),
    ("speaker_projection", "fp32", "basic"): Tolerance(1e-5, 7e-7, "sums in another order"),
    ("mtp_head", "fp32", "ort"): Tolerance(1e-6, 0.0, "mean of the same embeddings"),
    ("mtp_head", "fp32", "portable"): Tolerance(1e-6, 0.0, "mean of the same embeddings"),
    ("mtp_head", "fp32", "basic"): Tolerance(1e-6, 4.5e-8, "mean of the same embeddings"),
    ("codec_decoder", "fp32", "ort"): Tolerance(
        2e-5, 1.0e-5, "sums in another order, sines; 4.8e-6 with AVX-512, 1.0e-5 without"
    ),
    ("codec_decoder", "fp32", "portable"): Tolerance(
        2e-5, 1.0e-5, "sums in another order, sines; 4.8e-6 with AVX-512, 1.0e-5 without"
    ),
    ("codec_encoder", "fp32", "ort"): Tolerance(1e-5, 1.4e-6, "sums in another order"),
    ("codec_encoder", "fp32", "portable"): Tolerance(1e-5, 1.4e-6, "sums in another order"),
    ("codec_decoder", "fp32", "basic"): Tolerance(2e-5, 7.4e-6, "operators of portable"),
    ("codec_encoder", "fp32", "basic"): Tolerance(1e-5, 5.5e-7, "operators of portable"),
    # KL divergence of what codes are drawn from, nats a code, of the tiny random model's steps.
    ("scores", "int8", "ort"): Tolerance(0.02, 0.003, "8-bit weights and inputs"),
    ("scores", "int8", "portable"): Tolerance(
        0.03, 0.0088, "8-bit weights, inputs on one static scale"
    ),
    ("scores", "fp8", "portable"): Tolerance(0.1, 0.046, "three bits of mantissa"),
    ("scores", "int4", "ort"): Tolerance(0.4, 0.17, "15 levels in blocks of 32, AWQ"),
    ("scores", "int4", "portable"): Tolerance(0.4, 0.14, "15 levels in blocks of 32, GPTQ"),
    ("scores", "int8", "basic"): Tolerance(0.03, 0.0091, "as portable"),
    ("scores", "fp8", "basic"): Tolerance(0.1, 0.05, "as portable"),
    ("scores", "int4", "basic"): Tolerance(0.4, 0.16, "15 levels in blocks of 64, GPTQ"),
    # Noise to signal (rms) of a tiny random codec's audio in few bits.
    ("codec_decoder noise", "int8", "portable"): Tolerance(0.05, 0.017, "8-bit weights and inputs"),
    ("codec_decoder noise", "fp8", "portable"): Tolerance(0.15, 0.061, "three bits of mantissa"),
    ("backbone", "fp32", "native"): Tolerance(1e-5, 2e-6, "sums in another order"),
    ("codec_decoder", "fp32", "native"): Tolerance(
        2e-5, 1.03e-5, "against ONNX Runtime, which differs from PyTorch as much"
    ),
    ("drawn codes", "fp32", "native"): Tolerance(
        1e-3, 1e-4, "noise between the engines' sums; 1e-5 without transformer heads"
    ),
    **{
        row: Tolerance(limit, measured, "an input's code may round otherwise")
        for precision in ("int8", "int4")
        for row, limit, measured in (
            (("backbone", precision, "native"), 1e-5, 5e-7),
            (("codes", precision, "native"), 3e-2, 0.0),
        )
    },
    ("codes", "bf16", "native"): Tolerance(2e-1, 8.4e-2, "share that differs: near ties"),
    ("alias_free_snake", "fp32", "native"): Tolerance(1e-5, 3e-7, "sums in another order, sines"),
}


def limit(graph: str, precision: str, engine: str) -> float:
    """The limit of one row; `KeyError` for a combination nobody has measured."""
    return TOLERANCES[graph, precision, engine].limit
