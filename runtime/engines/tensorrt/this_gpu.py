"""The GPU of this machine, and what `export.build` makes for it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from commands.errors import UserError
from commands.extras import cuda_extra, install_command
from runtime.bundle.names import TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import GpuTarget, find_target
from runtime.engines.tensorrt.parsers import dialect_here
from runtime.engines.tensorrt.plan_check import INSTALL, LIBRARIES, TITLES

if TYPE_CHECKING:
    from runtime.engines.tensorrt.cuda import Gpu


def require_gpu() -> Gpu:
    """The first GPU. `UserError` without cuda-python, a driver or a GPU."""
    try:
        from runtime.engines.tensorrt.cuda import find_gpu
    except ImportError as error:
        raise UserError(
            f"needs cuda-python ({error}); install it: {install_command(cuda_extra())}"
        ) from None
    return find_gpu()


def target_options() -> str:
    """The options of `export.build` that make plans for this GPU.

    Raises:
        UserError: no cuda-python, no driver, no GPU, or a GPU that no plans can be built for.
    """
    target = _this_target()
    kind = target.libraries[0]
    return f"--target {kind}" + (f" --sm {target.sm}" if kind == TENSORRT_RTX else "")


def graphs_dialect() -> str:
    """The dialect of graphs that this GPU's TensorRT reads best, of those that can be checked here.

    Raises:
        UserError: as `target_options`, or its TensorRT cannot be imported.
    """
    import onnxruntime

    kind = _this_target().libraries[0]
    try:
        library = importlib.import_module(LIBRARIES[kind])
    except (ImportError, OSError) as error:
        raise UserError(f"{TITLES[kind]} cannot be imported ({error}); {INSTALL[kind]}") from None
    return dialect_here(kind, library.__version__, onnxruntime.__version__)


def _this_target() -> GpuTarget:
    gpu = require_gpu()
    target = find_target(gpu.compute_capability)
    if target is None:
        raise UserError(f"{gpu.name} has compute capability {gpu.compute_capability}: no target")
    return target
