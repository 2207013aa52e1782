"""Whether the server lives, can speak, and how much it has to do.

In: nothing. Out: answers for people, load balancers (KServe's v2 paths as well) and Prometheus.
"""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from runtime.serving.metrics import Metrics
from runtime.serving.speaking import Phase, Speaking


def health_routes(speaking: Speaking, metrics: Metrics) -> list[Route]:
    """`/health` answers 200 while the process is of use, `/ready` while texts are taken."""

    def describe(is_well: bool) -> JSONResponse:
        load = speaking.scheduler.load()
        told = {
            "status": speaking.phase.value,
            "waiting": load.waiting,
            "speaking": load.speaking,
            "rows": load.rows,
        }
        if speaking.trouble:
            told["trouble"] = speaking.trouble
        return JSONResponse(told, 200 if is_well else 503)

    async def health(_: Request) -> Response:
        return describe(speaking.phase is not Phase.BROKEN)

    async def ready(_: Request) -> Response:
        return describe(speaking.phase is Phase.READY)

    async def model_ready(request: Request) -> Response:
        is_known = request.path_params["model"] == speaking.model
        return describe(is_known and speaking.phase is Phase.READY)

    async def tell_metrics(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/health", health),
        Route("/ready", ready),
        Route("/v2/health/live", health),
        Route("/v2/health/ready", ready),
        Route("/v2/models/{model}/ready", model_ready),
        Route("/metrics", tell_metrics),
    ]
