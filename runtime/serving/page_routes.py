"""The page at `/`, and its files: they lie beside this module and load nothing from elsewhere.

In: nothing. Out: files that were read at the start; no path of a request is opened.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from runtime.serving.errors import RequestFailed

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def page_routes() -> list[Route]:
    """The routes of a server."""
    files = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in TYPES}

    def send(name: str) -> Response:
        kind = TYPES[Path(name).suffix]
        return Response(files[name], headers=HEADERS, media_type=kind)

    async def page(_: Request) -> Response:
        return send("index.html")

    async def page_file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise RequestFailed(404, "no such file", code="not_found")
        return send(name)

    return [Route("/", page), Route("/page/{name}", page_file)]
