"""Checks whether this machine can run a bundle's plans, before a plan is deserialised.

In: a checked bundle, and what the machine has. Out: nothing, or one line that says what does not
fit and the command that builds plans that do. A plan is native code for one library version and
certain GPUs: TensorRT trusts it, so only plans whose hash is in the manifest are loaded.

It needs neither a GPU nor CUDA, and imports TensorRT only in `import_library`. Order of use:

    spec = plans_of(bundle)          # the bundle is for TensorRT at all
    check_platform(bundle)
    library = import_library(bundle)    # installed, and of the right version
    check_driver(bundle)
    check_gpu(bundle, name, compute_capability)
    content = read_plan(bundle, "backbone")    # hashed in memory: what was checked is what is used
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import platform
import shlex
import sys
from types import ModuleType

from commands.errors import UserError
from commands.extras import install_command
from runtime.bundle.loading import Bundle
from runtime.bundle.manifest import PlansSpec
from runtime.bundle.names import TENSORRT, TENSORRT_RTX
from runtime.engines.tensorrt.gpu_driver import DRIVER_LIBRARY
from runtime.engines.tensorrt.gpu_targets import find_target

LIBRARIES = {TENSORRT: "tensorrt", TENSORRT_RTX: "tensorrt_rtx"}  # kind -> Python module
TITLES = {TENSORRT: "TensorRT", TENSORRT_RTX: "TensorRT-RTX"}
INSTALL = {
    TENSORRT: (
        "on a Jetson it comes with JetPack, and only an environment of JetPack's own Python sees "
        "it, made with: python3 -m venv --system-site-packages .venv; elsewhere: "
        f"{install_command(TENSORRT)}"
    ),
    TENSORRT_RTX: install_command(TENSORRT_RTX),
}


def plans_of(bundle: Bundle) -> PlansSpec:
    """What the plans were built for. Raises `UserError` if the bundle holds none."""
    engine = bundle.manifest.engine
    if engine.kind not in LIBRARIES or engine.plans is None:
        raise UserError(
            f"{bundle.folder}: is built for {engine.kind}, not for TensorRT; make plans "
            f"with: python -m export.build --target {TENSORRT_RTX} …"
        )
    return engine.plans


def check_platform(bundle: Bundle) -> None:
    """Raises `UserError` for plans of another operating system or processor."""
    built_for, here = plans_of(bundle).platform, this_platform()
    if built_for not in (None, here):
        raise UserError(
            f"{bundle.folder}: its plans are for {built_for}, this is {here}; "
            f"build them here: {rebuild_command(bundle)}"
        )


def this_platform() -> str:
    """ "linux-x86_64" and the like."""
    return f"{sys.platform}-{platform.machine().lower()}"


def import_library(bundle: Bundle) -> ModuleType:
    """The TensorRT module, in exactly the version that built the plans.

    Raises:
        UserError: not installed, not loadable, or another version.
    """
    spec, kind = plans_of(bundle), bundle.manifest.engine.kind
    try:
        library = importlib.import_module(LIBRARIES[kind])
    except (ImportError, OSError) as error:
        raise UserError(
            f"{bundle.folder}: needs {TITLES[kind]} {spec.version}, which cannot be imported "
            f"({error}); {INSTALL[kind]}"
        ) from None
    check_version(bundle, library.__version__)
    return library


def check_version(bundle: Bundle, version: str) -> None:
    """Raises `UserError` if the library's version is not that of the plans."""
    spec, kind = plans_of(bundle), bundle.manifest.engine.kind
    if version != spec.version:
        raise UserError(
            f"{bundle.folder}: its plans are for {TITLES[kind]} {spec.version}, here is {version}; "
            f"install that version, or rebuild: {rebuild_command(bundle)}"
        )


def check_driver(bundle: Bundle) -> None:
    """Raises `UserError` where the NVIDIA driver's library is missing."""
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        raise UserError(
            f"{bundle.folder}: needs an NVIDIA GPU, and {DRIVER_LIBRARY} of its driver is missing; "
            "install the driver (in a container: run it with --gpus all), or make a bundle for "
            "the CPU: python -m export.build"
        ) from None


def check_gpu(bundle: Bundle, name: str, compute_capability: str) -> None:
    """Raises `UserError` if the plans were not built for a GPU like this one.

    name: for the message. compute_capability: major.minor, "8.9".
    """
    built_for = plans_of(bundle).compute_capabilities
    if compute_capability not in built_for:
        raise UserError(
            f"{bundle.folder}: its plans are for compute capability {', '.join(built_for)}, "
            f"{name} has {compute_capability}; {_mend_gpu(bundle, compute_capability)}"
        )


def _mend_gpu(bundle: Bundle, compute_capability: str) -> str:
    target, precision = find_target(compute_capability), plans_of(bundle).precision
    if target is None:
        return "no plans can be built for it"
    own: str = bundle.manifest.engine.kind
    kind = own if own in target.libraries else target.libraries[0]
    possible = target.precisions(kind)
    if precision in possible:
        return f"rebuild: {rebuild_command(bundle, compute_capability)}"
    who = TITLES[kind] if precision == "fp32" else "it"  # every GPU can, but not every library
    return (
        f"{who} cannot compute in {precision}, so rebuild with --precision "
        f"{', '.join(possible)}: {rebuild_command(bundle, compute_capability, 'fp16')}"
    )


def read_plan(bundle: Bundle, graph: str) -> bytes:
    """The plan of a graph, hashed in the memory that will be deserialised.

    Raises:
        UserError: no such graph, not a plan, or not the plan that the manifest describes.
    """
    plans_of(bundle)
    file = bundle.graph(graph).file
    content, path = bundle.path(file).read_bytes(), bundle.path(file)
    if hashlib.sha256(content).hexdigest() != bundle.manifest.files[file].sha256:
        raise UserError(
            f"{path}: is not the plan that the manifest describes, so it is not loaded; "
            f"rebuild: {rebuild_command(bundle)}"
        )
    return content


def rebuild_command(
    bundle: Bundle, compute_capability: str | None = None, precision: str | None = None
) -> str:
    """The command that builds this bundle again, for another GPU or precision if given."""
    spec = plans_of(bundle)
    kind: str = bundle.manifest.engine.kind
    target = find_target(compute_capability) if compute_capability else None
    if target is not None and kind not in target.libraries:
        kind = target.libraries[0]
    words = [f"python -m export.build --target {kind}"]
    if kind == TENSORRT_RTX:
        wanted = (compute_capability,) if compute_capability else spec.compute_capabilities
        words.append(f"--sm {' '.join(one.replace('.', '') for one in wanted)}")
    words.append(f"--precision {precision or spec.precision}")
    if spec.source_options:
        words.append(spec.source_options)
    return " ".join([*words, f"--output {shlex.quote(str(bundle.folder))}"])
