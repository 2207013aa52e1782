"""Which torch device a command may use."""

from __future__ import annotations

import torch

from runtime.errors import UserError


def check_device(name: str, where: str) -> None:
    """Raises `UserError` that begins with `where`, unless this machine has the device `name`."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} {name!r} cannot be used here ({reason})") from None
