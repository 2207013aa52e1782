"""Serve a bundle on many machines with Ray Serve: `serve run runtime.ray_app:make_application …`.

In: settings, as Ray hands them on from its command line or a configuration file. Out: an
application of Ray: replicas of the server of `runtime.serve`, as many as the listeners need. Each
replica loads the bundle, from the same path on every machine, and has a scheduler of its own. Ray
starts them, passes requests on and ends them; all that is said is said by the same application.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from commands.errors import SpeechWarning, UserError
from runtime.engines.choices import AUTO, CHOICES
from runtime.scheduling.capacity import LEAST_WAITING

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from runtime.serving.settings import ServerSettings

KEY_VARIABLE = "SLM_TTS_API_KEY"  # that of runtime.serve, which cannot be imported in Ray's threads
# Requests beyond those that speak or wait: they are answered at once, also with refusals.
OTHER_REQUESTS = 32
SURGE_PERCENT = 25  # more replicas while others are replaced, at least one: no gap in service
BUSY = 0.7  # of a replica's streams; above that, Ray is to start another one
# A text is said, or heard by a slow listener, in no more than a second for so many of its bytes.
LEAST_BYTES_A_SECOND = 2
WARM_UP_POLL_SECONDS = 0.02


class RaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """streams: that one replica keeps in real time; `runtime.serve` measures it (docs/load.md).
    threads: of a replica's engine, and processors that Ray sets aside for it. upscale_seconds,
    downscale_seconds: for how long there must be too many or too few listeners.
    """

    engine: str
    run_with: str = AUTO
    streams: int = 8
    waiting: int | None = None
    threads: int = 1
    gpus: float = 0.0
    min_replicas: int = 1
    max_replicas: int = 4
    upscale_seconds: float = 10.0
    downscale_seconds: float = 300.0
    api_key_file: str | None = None
    voices_dir: str | None = None
    deadline: float = 30.0
    max_text_bytes: int = 20_000
    look_ahead: int | None = None
    warm_up: str = "Hello."

    @property
    def waiting_texts(self) -> int:
        return max(LEAST_WAITING, self.streams) if self.waiting is None else self.waiting

    @property
    def longest_seconds(self) -> float:
        """No text takes longer, from its order to the end of its audio."""
        return self.deadline + self.max_text_bytes / LEAST_BYTES_A_SECOND


def make_application(args: dict[str, Any]) -> Any:
    """What `serve run` and the configuration files of Ray call with the settings.

    Raises:
        UserError: a setting that is unknown, missing or wrong.
    """
    from ray import serve

    settings = read_settings(args)

    @serve.deployment(**deployment_options(settings))
    @serve.ingress(lambda: make_replica(settings))
    class Speech:
        """A replica; `app` is the ASGI application, which Ray puts there."""

        app: Starlette

        async def check_health(self) -> None:
            """A replica is first asked before it gets requests: when it has warmed up."""
            from runtime.serving.speaking import Phase

            speaking = self.app.state.speaking
            while speaking.phase is Phase.WARMING_UP:
                await asyncio.sleep(WARM_UP_POLL_SECONDS)
            if speaking.phase is Phase.BROKEN:
                raise RuntimeError(f"this replica cannot speak: {speaking.trouble}")

        def __del__(self) -> None:
            app = getattr(self, "_asgi_app", None)  # it is not there if making it failed
            if app is not None:
                app.state.speaking.scheduler.close()

    return Speech.bind()  # type: ignore[attr-defined]


def read_settings(args: dict[str, Any]) -> RaySettings:
    """Numbers may be texts, as a command line has them.

    Raises:
        UserError: a setting that is unknown, missing or wrong.
    """
    try:
        settings = msgspec.convert(args, RaySettings, strict=False)
    except msgspec.ValidationError as error:
        names = ", ".join(RaySettings.__struct_fields__)
        raise UserError(f"runtime.ray_app: {error}; settings are {names}") from None
    if settings.run_with not in CHOICES:
        raise UserError(f"runtime.ray_app: run_with must be one of {', '.join(CHOICES)}")
    counts = ("streams", "threads", "min_replicas", "max_replicas", "max_text_bytes")
    if few := [name for name in counts if getattr(settings, name) < 1]:
        raise UserError(f"runtime.ray_app: {few[0]} must be at least 1")
    if settings.min_replicas > settings.max_replicas:
        raise UserError("runtime.ray_app: min_replicas must be at most max_replicas")
    return settings


def deployment_options(settings: RaySettings) -> dict[str, Any]:
    """What Ray is told. Its own bounds lie beyond those of the replicas, which refuse with OpenAI's
    errors; and it waits for a replica's last listener, however long the text."""
    takes = settings.streams + settings.waiting_texts
    return {
        "name": "Speech",
        "max_ongoing_requests": takes + OTHER_REQUESTS,
        "max_queued_requests": OTHER_REQUESTS,
        "backpressure_config": {"status_code": 429, "retry_after_s": 1},
        "max_surge_percent": SURGE_PERCENT,
        "graceful_shutdown_wait_loop_s": 1.0,
        "graceful_shutdown_timeout_s": settings.longest_seconds,
        "ray_actor_options": {"num_cpus": settings.threads, "num_gpus": settings.gpus},
        "autoscaling_config": {
            "min_replicas": settings.min_replicas,
            "max_replicas": settings.max_replicas,
            "target_ongoing_requests": BUSY * settings.streams,
            "upscale_delay_s": settings.upscale_seconds,
            "downscale_delay_s": settings.downscale_seconds,
        },
    }


def make_replica(settings: RaySettings) -> Starlette:
    """The application of one replica, in the replica's own process."""
    from runtime.batching.speaking import can_share_weights
    from runtime.bundle.manifest import read_manifest
    from runtime.scheduling.limits import SchedulerLimits
    from runtime.scheduling.scheduler import Scheduler
    from runtime.serving.app import make_app
    from runtime.speech.synthesis import TTS

    warnings.simplefilter("ignore", SpeechWarning)  # they quote texts
    engine = Path(settings.engine)
    shares = can_share_weights(read_manifest(engine))  # with other replicas of the machine
    tts = TTS.load(engine, settings.run_with, settings.threads, map_weights=shares)
    if settings.streams > tts.decoder.rows:
        raise UserError(f"streams={settings.streams}: this bundle takes at most {tts.decoder.rows}")
    limits = SchedulerLimits(settings.streams, settings.waiting_texts)
    return make_app(Scheduler(tts, limits), _server_settings(settings))


def _server_settings(settings: RaySettings) -> ServerSettings:
    from runtime.serving.guards import read_keys
    from runtime.serving.settings import ServerSettings

    keys, voices = settings.api_key_file, settings.voices_dir
    return ServerSettings(
        keys=read_keys(Path(keys) if keys else None, os.environ.get(KEY_VARIABLE)),
        voices_folder=Path(voices) if voices else None,
        look_ahead=settings.look_ahead,
        warm_up_text=settings.warm_up,
        deadline_seconds=settings.deadline,
        max_text_bytes=settings.max_text_bytes,
    )
