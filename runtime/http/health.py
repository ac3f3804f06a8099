"""Health: what those who run the server ask it, whether it is there (/health) and what it does (/metrics)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..engine.process import Worker
from ..schedule.pool import Pool
from .metrics import CONTENT_TYPE, Metrics, Sample


class Health:
    """The handlers. Neither waits for anything: a model may be loading meanwhile."""

    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        model = ("model",)
        metrics.gauge("corral_requests_waiting", "Requests that wait for a slot or a load.", (), self._waiting)
        metrics.gauge("corral_requests_running", "Requests that have a model.", (), self._running)
        metrics.gauge("corral_models_loaded", "Models that are loaded.", (), self._loaded)
        metrics.gauge("corral_model_bytes", "Memory of a loaded model.", model, self._memory)
        metrics.gauge("corral_model_vram_bytes", "Of that, on GPUs.", model, self._vram)

    def routes(self) -> list[Route]:
        """Method and path of every handler."""
        return [
            Route("/health", self.health, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
        ]

    async def health(self, _: Request) -> Response:
        """Whether the server answers."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """The metrics, for Prometheus."""
        return Response(self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    def _waiting(self) -> Iterable[Sample]:
        yield (), self._pool.waiting

    def _running(self) -> Iterable[Sample]:
        yield (), sum(runner.users for runner in self._pool.runners())

    def _loaded(self) -> Iterable[Sample]:
        yield (), len(self._pool.runners())

    def _memory(self) -> Iterable[Sample]:
        return self._by_model(lambda worker: worker.loaded.memory)

    def _vram(self) -> Iterable[Sample]:
        return self._by_model(lambda worker: worker.loaded.vram)

    def _by_model(self, size: Callable[[Worker], int]) -> Iterable[Sample]:
        sizes: dict[str, float] = {}
        for runner in self._pool.runners():  # two of a name: the model was made anew while it was loaded
            sizes[runner.key.name] = sizes.get(runner.key.name, 0) + size(runner.worker)
        return (((name,), total) for name, total in sizes.items())
