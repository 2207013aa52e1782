"""Which GPUs there are plans for, and what each can compute with.

In: a compute capability ("8.9"), a TensorRT library, a precision. Out: facts, and refusals with
the command that would work. It needs no GPU, no CUDA and no TensorRT.

Sources: NVIDIA's support matrices of TensorRT-RTX 1.x and TensorRT 10.15 … 11.4, and, for
TensorRT-RTX, what its builder accepts (tests/export/test_engines.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from commands.errors import UserError
from formats.precisions import Precision
from runtime.bundle.names import TENSORRT, TENSORRT_RTX

TURING: tuple[Precision, ...] = ("fp16", "int8")
AMPERE: tuple[Precision, ...] = ("fp16", "bf16", "int8", "int4")
ADA: tuple[Precision, ...] = (*AMPERE, "fp8")  # and every later family


@dataclass(frozen=True)
class GpuTarget:
    """One compute capability."""

    compute_capability: str  # "8.9"
    family: str
    examples: str
    reduced: tuple[Precision, ...]  # beside fp32, which every GPU computes in
    libraries: tuple[str, ...]  # kinds of engine, the preferred one first

    @property
    def sm(self) -> int:
        """89 for "8.9": how --sm and nvcc write it."""
        return int(self.compute_capability.replace(".", ""))

    def precisions(self, kind: str) -> tuple[Precision, ...]:
        """Precisions of this library's plans. TensorRT-RTX has no attention in fp32."""
        return self.reduced if kind == TENSORRT_RTX else ("fp32", *self.reduced)


_BOTH = (TENSORRT_RTX, TENSORRT)
TARGETS = {
    target.sm: target
    for target in (
        GpuTarget("7.5", "Turing", "RTX 20, T4", TURING, _BOTH),
        GpuTarget("8.0", "Ampere", "A100, A30", AMPERE, _BOTH),
        GpuTarget("8.6", "Ampere", "RTX 30, A10", AMPERE, _BOTH),
        GpuTarget("8.7", "Ampere", "Jetson Orin", AMPERE, (TENSORRT,)),
        GpuTarget("8.9", "Ada", "RTX 40, L4, L40S", ADA, _BOTH),
        GpuTarget("9.0", "Hopper", "H100, H200", ADA, (TENSORRT,)),
        GpuTarget("10.0", "Blackwell", "B200", ADA, (TENSORRT,)),
        GpuTarget("10.3", "Blackwell", "B300", ADA, (TENSORRT,)),
        GpuTarget("11.0", "Blackwell", "Jetson Thor", ADA, (TENSORRT,)),
        GpuTarget("12.0", "Blackwell", "RTX 50, RTX PRO", ADA, _BOTH),
        GpuTarget("12.1", "Blackwell", "DGX Spark", ADA, _BOTH),
    )
}


def rtx_targets() -> list[GpuTarget]:
    """The targets that TensorRT-RTX builds for, on any machine."""
    return [target for target in TARGETS.values() if TENSORRT_RTX in target.libraries]


def find_target(compute_capability: str) -> GpuTarget | None:
    """The target called "8.9", if it is known."""
    return next((t for t in TARGETS.values() if t.compute_capability == compute_capability), None)


def check_targets(
    kind: str, sms: tuple[int, ...], precision: str, option: str = "--precision"
) -> tuple[GpuTarget, ...]:
    """The targets of `--target kind --sm …`, all of which can run `precision`.

    option: the option that asks for the precision, for messages.

    Raises:
        UserError: an unknown number, a GPU of the other library, or one without that precision.
    """
    if precision == "fp32" and kind == TENSORRT_RTX:
        raise UserError(
            "--precision fp32: TensorRT-RTX has no attention in fp32; choose fp16 or bf16. A "
            "bundle in fp32 has to be exported again, with --dialect portable --precision fp16"
        )
    targets = tuple(_target_of(kind, sm) for sm in dict.fromkeys(sms))
    unfit = [target for target in targets if precision not in target.precisions(kind)]
    if unfit:
        raise UserError(
            f"{option} {precision}: {_describe(unfit[0])} has "
            f"{', '.join(unfit[0].precisions(kind))}; choose one of them or leave out "
            f"--sm {' '.join(str(target.sm) for target in unfit)}"
        )
    return targets


def _target_of(kind: str, sm: int) -> GpuTarget:
    known = rtx_targets() if kind == TENSORRT_RTX else list(TARGETS.values())
    target = TARGETS.get(sm)
    if target is None:
        numbers = " ".join(str(one.sm) for one in known)
        raise UserError(f"--sm {sm}: no such target; there are {numbers} (89 is an RTX 40)")
    if kind not in target.libraries:
        raise UserError(
            f"--sm {sm}: {_describe(target)} does not run TensorRT-RTX; build on the device with "
            f"TensorRT: python -m export.build --target {TENSORRT}"
        )
    return target


def _describe(target: GpuTarget) -> str:
    return f"{target.family} {target.compute_capability} ({target.examples})"
