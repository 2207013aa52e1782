"""Torch devices: whether one is available, and the number format to compute in."""

from __future__ import annotations

import torch

from commands.errors import UserError


def check_device(name: str, where: str) -> None:
    """Raise `UserError`, beginning with `where`, unless this machine has the device `name`."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} {name!r} cannot be used here ({reason})") from None


def choose_bfloat16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: as asked, or with `auto` if the device has it in hardware.

    CPUs without bfloat16 emulate it, several times slower than float32.
    """
    if precision != "auto":
        return precision == "bfloat16"
    if torch.device(device).type == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu.get_capabilities().get("avx512_bf16", False)


def mixed_precision(precision: str, device: str) -> torch.autocast:
    """A context in which matrix products and convolutions run in the chosen format."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=choose_bfloat16(precision, device))
