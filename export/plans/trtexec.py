"""Commands of NVIDIA's own tool that build the same plans, for timing and for bug reports.

In: a bundle of standard operators. Out: one `trtexec` command for each graph. The runtime does not
load plans made in this way, because no manifest describes them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from export.plans.plans import Shape, narrow_profiles, profile_shapes
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import GraphSpec
from runtime.bundle.names import PLAN_SUFFIX, TENSORRT, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import GpuTarget
from runtime.engines.tensorrt.parsers import oldest_version

COMMANDS = {TENSORRT: "trtexec", TENSORRT_RTX: "tensorrt_rtx"}


def trtexec_lines(bundle: Bundle, kind: str, targets: Sequence[GpuTarget]) -> Iterator[str]:
    """A command for each graph. It builds the plan and times each profile at its usual shapes."""
    dialect = bundle.manifest.engine.dialect
    if kind == TENSORRT:
        yield f"# {dialect} graphs: TensorRT {oldest_version(dialect)} or newer"
    for name, spec in bundle.manifest.graphs.items():
        yield shlex.join(_words(bundle.folder, name, narrow_profiles(spec), kind, targets))


def _words(
    folder: Path, name: str, spec: GraphSpec, kind: str, targets: Sequence[GpuTarget]
) -> Iterator[str]:
    yield COMMANDS[kind]
    yield f"--onnx={folder / spec.file}"
    yield f"--saveEngine={name}{PLAN_SUFFIX}"
    if kind == TENSORRT:
        yield "--stronglyTyped"  # always so in TensorRT 11, which accepts the option
        yield "--timingCacheFile=timing.cache"
    else:
        yield f"--computeCapabilities={','.join(one.compute_capability for one in targets)}"
    for index, ranges in enumerate(spec.profiles.values()):
        shapes = profile_shapes(spec, ranges)
        if len(spec.profiles) > 1:
            yield f"--profile={index}"
        for which, word in enumerate(("min", "opt", "max")):
            yield f"--{word}Shapes=" + ",".join(
                f"{tensor}:{_write_shape(three[which])}" for tensor, three in shapes.items()
            )


def _write_shape(shape: Shape) -> str:
    return "x".join(map(str, shape))
