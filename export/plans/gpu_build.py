"""`python -m export.build --target tensorrt-rtx|tensorrt`: from checkpoint or bundle to plans.

In: what the command line says. Out: an engine directory of
plans. Every contradiction, and every GPU that cannot do what is asked, is refused first.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from commands.errors import UserError
from commands.peak_memory import peak_memory_mb
from export.bundle.next_command import example_command
from export.bundle.writer import bundle_folder
from export.options import PLAN_ROWS, BuildOptions
from export.pipeline import build_bundle
from export.plans.device import find_gpu
from export.plans.engine import (
    PORTABLE,
    EngineOptions,
    build_engine,
    open_portable,
    precision_of,
)
from export.plans.library import Library, open_library
from export.plans.trtexec import trtexec_lines
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import Manifest, read_manifest
from runtime.bundle.names import BACKBONE, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_targets import GpuTarget, check_targets, find_target, rtx_targets

ON_REQUEST = (75, 121)  # in a plan for many GPUs only if asked for: NVIDIA says it costs the others

_OWN_OPTIONS = ("output", "precision", "dialect", "compare")  # what does not lead to the source


@dataclass(frozen=True)
class GpuOptions:
    """What the command line says about plans.

    sm: GPUs by number, 89 for compute capability 8.9. bundle: a portable bundle to take instead
    of exporting one. codec_precision: of the codec's decoder.
    """

    target: str
    precision: str
    codec_precision: str
    sm: tuple[int, ...] = ()
    bundle: Path | None = None
    print_trtexec: bool = False


def build_for_gpu(options: BuildOptions, gpu: GpuOptions) -> Manifest | None:
    """Build the engine directory `options.output`; None if only commands were to be printed.

    Raises:
        UserError: options that contradict each other, a GPU, library or bundle that does not fit,
            or a plan that cannot be built; nothing is written.
    """
    started = time.perf_counter()
    if gpu.print_trtexec:
        _print_trtexec(gpu)
        return None
    targets = _choose_targets(gpu)
    library = open_library(gpu.target)
    with _portable_bundle(options, gpu) as bundle:
        engine = EngineOptions(library, targets, options.output, _source_options(options, gpu))
        manifest = build_engine(bundle, engine)
    _print_summary(manifest, library, options.output, time.perf_counter() - started)
    return manifest


def _print_trtexec(gpu: GpuOptions) -> None:
    if gpu.bundle is None:
        raise UserError(
            "--print-trtexec needs graphs on the disk: export them with --dialect portable and "
            "name them with --bundle DIR"
        )
    targets = _rtx_targets(gpu) if gpu.target == TENSORRT_RTX else ()
    print("\n".join(trtexec_lines(_open_bundle(gpu.bundle, gpu), gpu.target, targets)))


def _choose_targets(gpu: GpuOptions) -> tuple[GpuTarget, ...]:
    return _rtx_targets(gpu) if gpu.target == TENSORRT_RTX else _device_target(gpu)


def _rtx_targets(gpu: GpuOptions) -> tuple[GpuTarget, ...]:
    """Those of --sm, or all usual ones that have the precision."""
    needed = {gpu.precision, gpu.codec_precision} - {"fp32"}
    usual = tuple(
        target.sm
        for target in rtx_targets()
        if needed <= {*target.reduced} and target.sm not in ON_REQUEST
    )
    return _check_targets(gpu, gpu.sm or usual)


def _check_targets(gpu: GpuOptions, sms: tuple[int, ...]) -> tuple[GpuTarget, ...]:
    """Those of `sms`, all of which have what language model and codec are computed in."""
    targets = check_targets(gpu.target, sms, gpu.precision)
    if gpu.codec_precision != "fp32":
        check_targets(gpu.target, sms, gpu.codec_precision, "a codec in")
    return targets


def _device_target(gpu: GpuOptions) -> tuple[GpuTarget, ...]:
    """The GPU of this machine, the only one that TensorRT builds for."""
    targets = _check_targets(gpu, gpu.sm)  # a wrong number needs no GPU
    device = find_gpu()
    found = find_target(device.compute_capability)
    if found is None:
        raise UserError(
            f"{device.name} has compute capability {device.compute_capability}: too old"
        )
    if targets not in ((), (found,)):
        raise UserError(
            f"--sm {' '.join(map(str, gpu.sm))}: TensorRT builds for the GPU that is here, "
            f"{device.name} with {found.sm}; run this on the other device"
        )
    return _check_targets(gpu, (found.sm,))


@contextmanager
def _portable_bundle(options: BuildOptions, gpu: GpuOptions) -> Iterator[Bundle]:
    """The bundle of --bundle, or one that is exported now and removed afterwards."""
    if gpu.bundle is not None:
        yield _open_bundle(gpu.bundle, gpu)
        return
    with bundle_folder(options.output) as folder:
        rows = PLAN_ROWS if options.rows is None else options.rows
        exported = replace(options, dialect=PORTABLE, output=folder / PORTABLE, rows=rows)
        build_bundle(exported)
        yield open_portable(exported.output)


def _open_bundle(folder: Path, gpu: GpuOptions) -> Bundle:
    bundle = open_portable(folder)
    if precision_of(bundle) != gpu.precision:
        raise UserError(
            f"--precision {gpu.precision}: the graphs of {folder} are {precision_of(bundle)}; "
            f"leave it out, or export them again with --precision {gpu.precision}"
        )
    return bundle


def bundle_precision(folder: Path, graph: str = BACKBONE) -> str:
    """That of a graph in a bundle, by default what --precision is with --bundle; "" without one.

    It is read from the manifest alone.
    """
    spec = read_manifest(folder).graphs.get(graph)
    return spec.precision if spec else ""


def _source_options(options: BuildOptions, gpu: GpuOptions) -> str:
    """The options that lead to the same checkpoint or bundle again."""
    words: list[str] = [] if gpu.bundle is None else ["--bundle", str(gpu.bundle)]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name not in _OWN_OPTIONS and value != field.default:
            words += _write_option(field.name, value)
    # The manifest is UTF-8; paths need not be.
    return os.fsencode(shlex.join(words)).decode("utf-8", "backslashreplace")


def _write_option(name: str, value: object) -> list[str]:
    """As the command line takes it: max_positions=300 is --max-positions 300."""
    if name == "voices":
        assert isinstance(value, tuple)
        return ["--voice", *value]
    option = f"--{name.replace('_', '-')}"
    return [option] if value is True else [option, str(value)]


def _print_summary(manifest: Manifest, library: Library, output: Path, seconds: float) -> None:
    plans = manifest.engine.plans
    assert plans is not None
    size_mb = sum(record.size_bytes for record in manifest.files.values()) / 1e6
    peak_mb = peak_memory_mb()
    memory = "unknown" if peak_mb is None else f"{peak_mb / 1024:.1f} GiB"
    print(
        f"{output}: {size_mb:.1f} MB, {seconds:.1f} s, peak memory {memory}; "
        f"{library.title}, compute capability {', '.join(plans.compute_capabilities)}"
    )
    print(f"on such a GPU: {example_command('runtime.tts', manifest, output)}")
