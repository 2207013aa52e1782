"""GPTQ: round a weight column by column, correcting the columns that follow.

In: a weight (out, in) and the Gram matrix of its inputs, XᵀX (in, in). Out: codes and scales.
After E. Frantar et al., GPTQ (arXiv 2210.17323), section 3. The scales of a block of input channels
are computed when its first column is reached.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, lapack

from calibration.methods.choices import WeightScaleMethod
from calibration.methods.weight_scales import weight_scales
from formats.number_formats import NumberFormat
from formats.weights import Array

DAMPING = 0.01  # share of the mean diagonal that is added, for channels that hardly vary


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
        scale = weight_scales(rest[:, start:end], block, form, method)  # (out, 1)
        factors = correction[start:end, start:end]
        codes[:, start:end], errors = _round_block(rest[:, start:end], factors, scale, form)
        rest[:, end:] -= errors @ correction[start:end, end:]
        scales.append(scale)
    return codes, np.concatenate(scales, axis=1)


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
