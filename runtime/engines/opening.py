"""Which engine runs a bundle, and what opens its graphs.

In: a checked bundle and the name of a backend. Out: a function that loads graphs, and a line that
says what runs them. A backend that cannot run is refused in one line; none replaces another.
"""

from __future__ import annotations

from collections.abc import Callable

from commands.errors import UserError
from commands.extras import install_command
from runtime.bundle.loading import Bundle
from runtime.bundle.names import BACKBONE, PLAN_SUFFIX
from runtime.engines.choices import AUTO, BACKENDS, ONNXRUNTIME, PROVIDERS
from runtime.engines.graph import Graph

OpenGraph = Callable[[str], Graph]


def open_engine(bundle: Bundle, backend: str, threads: int | None) -> tuple[OpenGraph, str]:
    """The function that loads graphs of `bundle`, and a description of what runs them.

    backend: one of `BACKENDS`; "auto" takes what the bundle was built for. threads: of the CPU.

    Raises:
        UserError: a backend that does not exist, is not installed, finds no GPU, or cannot run this
            bundle.
    """
    if backend not in BACKENDS:
        raise UserError(f"unknown backend {backend!r}; there are: {', '.join(BACKENDS)}")
    if threads is not None and threads < 1:
        raise UserError(f"threads is {threads}; give 1 or more")
    built_for = bundle.manifest.engine.kind
    backend = built_for if backend == AUTO else backend
    needed = ONNXRUNTIME if backend in PROVIDERS else backend
    if needed != built_for:
        raise UserError(
            f"{bundle.folder}: was built for {built_for!r}, so {backend} cannot run it; "
            f"build another with: python -m export.build --target {needed}"
        )
    if backend in PROVIDERS:
        return _open_onnxruntime(bundle, backend, threads)
    return _open_plans(bundle, threads)


def _open_onnxruntime(bundle: Bundle, backend: str, threads: int | None) -> tuple[OpenGraph, str]:
    from runtime.engines.onnxruntime import graphs as onnxruntime

    provider: onnxruntime.Provider = getattr(onnxruntime, PROVIDERS[backend])
    onnxruntime.check_provider(provider)
    return (
        lambda name: onnxruntime.OnnxRuntimeGraph(bundle, name, threads, provider),
        onnxruntime.describe(threads, provider),
    )


def _open_plans(bundle: Bundle, threads: int | None) -> tuple[OpenGraph, str]:
    """Plans on the GPU; graphs that an engine directory holds as ONNX, on the CPU."""
    try:
        from runtime.engines.tensorrt.device_graph import DeviceBackbone, DeviceGraph
        from runtime.engines.tensorrt.plans import TensorRT
    except ImportError as error:
        extra = bundle.manifest.engine.kind
        raise UserError(
            f"{bundle.folder}: needs cuda-python ({error}); install it: {install_command(extra)}"
        ) from None
    library = TensorRT(bundle)

    def open_graph(name: str) -> Graph:
        if not bundle.graph(name).file.endswith(PLAN_SUFFIX):
            from runtime.engines.onnxruntime import graphs as onnxruntime

            return onnxruntime.OnnxRuntimeGraph(bundle, name, threads)
        plan = library.load(bundle, name)
        if name == BACKBONE:
            return DeviceBackbone(plan)
        graph = DeviceGraph(plan)
        if name != bundle.manifest.head:  # which only the backbone's loop calls
            graph.prepare()
        return graph

    return open_graph, library.describe()
