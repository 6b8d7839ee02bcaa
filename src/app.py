"""A page on this machine that shows the vessels of a photograph: python -m src.app [--model FILE] [--port N].

It listens on the loopback address alone, keeps nothing, and answers no page of another origin: photographs of people
stay where they are.
"""

import argparse
import contextlib
import os
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import cv2
import jinja2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from src import intake, samples
from src.exported import Exported
from src.layers import data_uri
from src.predict import MODEL

ADDRESS, PORT = "127.0.0.1", 8000
HOSTS = [ADDRESS, "localhost"]  # other names may lead here, too, by another's doing (DNS rebinding)
PAGES = Path(__file__).parent / "pages"
LARGEST_FILE = 64  # MiB; a 16-bit TIFF of 3504 x 2336 pixels has 47
MIB = 2**20
QUALITY = 92  # of the JPEG that the page shows; the network sees the photograph itself
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(network: Exported) -> Starlette:
    """The page and what it asks for; `network` maps one photograph at a time."""
    one_by_one = threading.Lock()

    def mapped(content: bytes, name: str) -> dict:
        with one_by_one:
            return answer(network, content, name)

    async def page(request: Request) -> Response:
        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(PAGES), autoescape=True)
        values = {"threshold": network.settings.threshold, "largest": LARGEST_FILE, "mib": MIB}
        return Response(environment.get_template("app.html").render(values), media_type="text/html")

    async def part(request: Request) -> Response:
        return FileResponse(PAGES / request.url.path[1:])

    async def post(request: Request) -> Response:
        name = unquote(request.headers.get("x-name", "photograph"))
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > LARGEST_FILE * MIB:
                sentence = f"{name}: expected a file of at most {LARGEST_FILE} MiB, got a larger one"
                return JSONResponse({"error": sentence}, 413)
        try:
            return JSONResponse(await run_in_threadpool(mapped, bytes(content), name))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)

    routes = [Route("/", page), Route("/map", post, methods=["POST"])]
    routes += [Route(f"/{name}", part) for name in ("style.css", "app.css", "app.js")]
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS), Middleware(BaseHTTPMiddleware, dispatch=_guard)]
    return Starlette(routes=routes, middleware=guards)


def answer(network: Exported, content: bytes, name: str) -> dict:
    """What the page needs of one photograph: pictures as data URIs, size, pixels of the field of view, seconds.

    `levels` holds the probability exactly, for a canvas, which has 8 bits: 256 red + green, 65535 is 1. Its blue is
    the doubt, 255 is 1.

    Raises:
        ValueError: the photograph is refused, see `intake`.
    """
    begin = time.perf_counter()
    photograph = intake.photograph(content, name)
    fov = intake.field_of_view(None, photograph, name)
    maps = network.maps(photograph, fov)
    levels, doubt = samples.to_levels(maps.probability), np.round(maps.doubt * 255.0)
    height, width = levels.shape
    return {
        "width": width,
        "height": height,
        "fov": int(fov.sum()),
        "photograph": _uri(photograph, "jpeg", cv2.IMWRITE_JPEG_QUALITY, QUALITY),
        "levels": _uri(np.dstack([levels >> 8, levels & 255, doubt]).astype(np.uint8), "png"),
        "probability": _uri(levels, "png"),
        "seconds": round(time.perf_counter() - begin, 2),
    }


def serve(network: Exported, port: int) -> None:
    """Serve until Ctrl-C; 0 is any free port.

    Raises:
        OSError: the port is taken or not ours to take.
    """
    config = uvicorn.Config(application(network), log_level="warning", server_header=False)
    try:
        bound = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise OSError(f"port {port} of {ADDRESS}: {os.strerror(error.errno)}; `--port` names another") from error
    with bound, contextlib.suppress(KeyboardInterrupt):
        print(f"http://{ADDRESS}:{bound.getsockname()[1]}  (Ctrl-C ends it)", flush=True)
        uvicorn.Server(config).run(sockets=[bound])


async def _guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Refuse what another origin sends; every answer carries HEADERS."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers['host']}":
        response: Response = PlainTextResponse("expected a request of this page, got one of another origin", 403)
    else:
        response = await call_next(request)
    response.headers.update(HEADERS)
    return response


def _uri(picture: np.ndarray, kind: str, *options: int) -> str:
    """A picture, grey or RGB, as a data URI; uint16 as a 16-bit PNG."""
    ordered = picture[..., ::-1] if picture.ndim == 3 else picture
    content = cv2.imencode(f".{kind}", ordered, options)[1].tobytes()
    return data_uri(content, f"image/{kind}")


def main() -> None:
    """Load the network and serve the page."""
    parser = argparse.ArgumentParser(prog="python -m src.app", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="a file of `python -m src.pack`; models/compact.onnx")
    parser.add_argument("--port", type=int, default=PORT, help=f"of {ADDRESS} ({PORT})")
    arguments = parser.parse_args()
    if not 0 <= arguments.port < 2**16:
        parser.error(f"--port: expected a number up to {2**16 - 1}, got {arguments.port}")
    try:
        serve(Exported(arguments.model), arguments.port)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
