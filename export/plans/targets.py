"""Which GPUs plans are built for.

In: the options of an export, and the precisions of its graphs. Out: `GpuTarget`s that can compute
in them. Contradictions, and GPUs that lack a precision, are refused here, before any work.
"""

from __future__ import annotations

from dataclasses import dataclass

from commands.errors import UserError
from export.options import PlanOptions
from export.plans.device import find_device
from formats.precisions import Precision
from runtime.bundle.names import TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import GpuTarget, check_targets, find_target, rtx_targets

ON_REQUEST = (75, 121)  # only with --sm: NVIDIA says that they make plans slower on other GPUs


@dataclass(frozen=True)
class Precisions:
    """The precisions of the language model and of the codec's decoder."""

    language_model: Precision
    codec: Precision


def choose_targets(plans: PlanOptions, precisions: Precisions) -> tuple[GpuTarget, ...]:
    """The GPUs of --sm; by default all usual RTX GPUs, or the one of this machine.

    Raises:
        UserError: an unknown GPU, one of the other library, or one without the precisions.
    """
    if plans.target == TENSORRT_RTX:
        return choose_rtx_targets(plans, precisions)
    return _choose_device(plans, precisions)


def choose_rtx_targets(plans: PlanOptions, precisions: Precisions) -> tuple[GpuTarget, ...]:
    """The GPUs of --sm, or all usual ones that have the precisions."""
    needed = {precisions.language_model, precisions.codec} - {"fp32"}
    usual = tuple(
        target.sm
        for target in rtx_targets()
        if needed <= {*target.reduced} and target.sm not in ON_REQUEST
    )
    return _check_targets(plans.target, plans.sm or usual, precisions)


def _choose_device(plans: PlanOptions, precisions: Precisions) -> tuple[GpuTarget, ...]:
    """The GPU of this machine, the only one that TensorRT builds for."""
    wanted = _check_targets(plans.target, plans.sm, precisions)  # a wrong number needs no GPU
    device = find_device()
    found = find_target(device.compute_capability)
    if found is None:
        raise UserError(
            f"{device.name} has compute capability {device.compute_capability}: too old"
        )
    if wanted not in ((), (found,)):
        raise UserError(
            f"--sm {' '.join(map(str, plans.sm))}: TensorRT builds for the GPU of this machine, "
            f"{device.name} with {found.sm}; run this on the other device"
        )
    return _check_targets(plans.target, (found.sm,), precisions)


def _check_targets(
    kind: str, sms: tuple[int, ...], precisions: Precisions
) -> tuple[GpuTarget, ...]:
    targets = check_targets(kind, sms, precisions.language_model)
    if precisions.codec != "fp32":
        check_targets(kind, sms, precisions.codec, "a codec in")
    return targets
