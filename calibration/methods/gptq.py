"""GPTQ: round a weight column by column, correcting the columns that follow.

In: a weight (out, in) and the Gram matrix of its inputs, XᵀX (in, in). Out: codes and scales.
After E. Frantar et al., GPTQ (arXiv 2210.17323), section 3. The scales of a block of input channels
are computed when its first column is reached, and once more when all codes are known.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, lapack

from calibration.methods.choices import WeightScaleMethod
from calibration.methods.weight_scales import SMALLEST_SCALE, in_float16, weight_scales
from formats.number_formats import NumberFormat, spread
from formats.weights import Array

DAMPING = 0.01  # share of the mean diagonal that is added, for channels that hardly vary
SWEEPS = 2  # over all scales; more do not change the result


def round_gptq(
    weight: Array, gram: Array, block: int, form: NumberFormat, method: WeightScaleMethod
) -> tuple[Array, Array]:
    """(codes float32 (out, in), scales float32 (out, in / block)) of weight (out, in)."""
    correction = _correction_factors(gram)
    rest = weight.astype(np.float32, copy=True)
    codes = np.zeros_like(rest)
    scales = []
    for start in range(0, weight.shape[1], block):
        end = start + block
        importance = np.diag(gram)[start:end]
        scale = weight_scales(rest[:, start:end], block, form, method, importance)  # (out, 1)
        factors = correction[start:end, start:end]
        codes[:, start:end], errors = _round_block(rest[:, start:end], factors, scale, form)
        rest[:, end:] -= errors @ correction[start:end, end:]
        scales.append(scale)
    return codes, refit_scales(weight, codes, np.concatenate(scales, axis=1), gram)


def refit_scales(weight: Array, codes: Array, scales: Array, gram: Array) -> Array:
    """Scales (out, blocks) for codes (out, in) that are settled.

    Each block's scale in turn minimises |(W - codes · scales) Xᵀ|², given all others. A scale that
    would change its sign, or leave float16, stays as it is.
    """
    block, scales = weight.shape[1] // scales.shape[1], scales.copy()
    error = weight - codes * spread(scales, weight.shape[1])
    for index in list(range(scales.shape[1])) * SWEEPS:
        inside = slice(index * block, (index + 1) * block)
        own, old = codes[:, inside], scales[:, index].copy()
        slope = np.einsum("oi,oi->o", error @ gram[:, inside], own)
        curvature = np.einsum("oi,oi->o", own @ gram[inside, inside], own)
        change = np.divide(slope, curvature, out=np.zeros_like(slope), where=curvature > 0)
        wanted = in_float16(old + change)
        is_possible = np.isfinite(wanted) & (wanted * np.sign(old) >= SMALLEST_SCALE)
        scales[:, index] = np.where(is_possible, wanted, old)
        error[:, inside] -= own * (scales[:, index] - old)[:, None]
    return scales


def _round_block(
    rest: Array, factors: Array, scale: Array, form: NumberFormat
) -> tuple[Array, Array]:
    """(codes, errors) (out, block). The error of each column is moved into the columns after it."""
    rest = rest.copy()
    codes, errors = np.zeros_like(rest), np.zeros_like(rest)
    for column in range(rest.shape[1]):
        wanted = rest[:, column]
        codes[:, column] = form.encode(wanted, scale[:, 0])
        left = (wanted - codes[:, column] * scale[:, 0]) / factors[column, column]
        rest[:, column + 1 :] -= np.outer(left, factors[column, column + 1 :])
        errors[:, column] = left
    return codes, errors


def _correction_factors(gram: Array) -> Array:
    """The upper Cholesky factor of the inverse of the damped Gram matrix, float32 (in, in)."""
    damped = gram.astype(np.float64)
    diagonal = np.einsum("ii->i", damped)  # a view
    diagonal += DAMPING * diagonal.mean() + np.finfo(np.float32).tiny
    inverse, failed = lapack.dpotri(cholesky(damped, lower=False), lower=0)
    assert not failed
    upper = np.triu(inverse)
    return cholesky(upper + np.triu(upper, 1).T, lower=False).astype(np.float32)
