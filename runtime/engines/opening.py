"""Which engine runs a bundle, and what opens its graphs.

In: a checked bundle and what the user wants it to be run with. Out: a function that loads graphs,
and a line that says what runs them. An engine that cannot run is refused in one line, and never
replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable

from commands.errors import UserError
from commands.extras import install_command
from runtime.bundle.loading import Bundle
from runtime.bundle.names import BACKBONE, PLAN_SUFFIX
from runtime.engines.choices import AUTO, CHOICES, NATIVE, ONNXRUNTIME, PROVIDERS
from runtime.engines.graph import Graph
from runtime.engines.observing import Observer

OpenGraph = Callable[[str], Graph]


def open_engine(
    bundle: Bundle,
    run_with: str = AUTO,
    threads: int | None = None,
    observer: Observer | None = None,
    *,
    map_weights: bool = False,
) -> tuple[OpenGraph, str]:
    """The function that loads graphs of `bundle`, and a description of what runs them.

    run_with: one of `CHOICES`; "auto" takes what the bundle was built for. threads: of the CPU.
    observer: receives the time of each call. map_weights: processes share one copy of the weights;
    of the native engine.

    Raises:
        UserError: an unknown name, or an engine that is not installed, finds no GPU, or cannot run
            this bundle.
    """
    if run_with not in CHOICES:
        raise UserError(f"unknown run_with {run_with!r}; there are: {', '.join(CHOICES)}")
    if threads is not None and threads < 1:
        raise UserError(f"threads is {threads}; give 1 or more")
    built_for = bundle.manifest.engine.kind
    chosen = built_for if run_with == AUTO else run_with
    needed = ONNXRUNTIME if chosen in PROVIDERS else chosen
    if needed != built_for:
        raise UserError(
            f"{bundle.folder}: was built for {built_for!r}, so {chosen} cannot run it; "
            f"build another with: python -m export.build --target {needed}"
        )
    if map_weights and chosen != NATIVE:
        raise UserError(f"{bundle.folder}: only the native engine maps weights, not {chosen}")
    if chosen in PROVIDERS:
        return _open_onnxruntime(bundle, chosen, threads, observer)
    if chosen == NATIVE:
        return _open_native(bundle, threads, observer, map_weights)
    return _open_plans(bundle, threads, observer)


def _open_onnxruntime(
    bundle: Bundle, chosen: str, threads: int | None, observer: Observer | None
) -> tuple[OpenGraph, str]:
    from runtime.engines.onnxruntime import graphs as onnxruntime

    provider: onnxruntime.Provider = getattr(onnxruntime, PROVIDERS[chosen])
    onnxruntime.check_provider(provider)
    return (
        lambda name: onnxruntime.OnnxRuntimeGraph(bundle, name, threads, provider, observer),
        onnxruntime.describe(threads, provider),
    )


def _open_native(
    bundle: Bundle, threads: int | None, observer: Observer | None, map_weights: bool
) -> tuple[OpenGraph, str]:
    from runtime.engines.native.graphs import open_native_graph
    from runtime.engines.native.model import NativeModel

    model = NativeModel(bundle, threads, map_weights=map_weights)
    return lambda name: open_native_graph(model, name, observer), model.describe()


def _open_plans(
    bundle: Bundle, threads: int | None, observer: Observer | None
) -> tuple[OpenGraph, str]:
    """Plans on the GPU. Graphs that the bundle holds as ONNX run on the CPU."""
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

            return onnxruntime.OnnxRuntimeGraph(bundle, name, threads, observer=observer)
        plan = library.load(bundle, name)
        if name == BACKBONE:
            return DeviceBackbone(plan, observer)
        graph = DeviceGraph(plan, name, observer)
        if name != bundle.manifest.head:  # only the backbone's loop calls the head
            graph.prepare()
        return graph

    return open_graph, library.describe()
