"""Command `app`: a web page on this machine that segments an uploaded fundus image."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
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
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from src.common.command_line import command_parser
from src.common.probability_levels import to_levels
from src.data import image_opening, input_validation
from src.inference import image_quality
from src.inference.onnx_model import OnnxModel
from src.inference.predict import add_field_angle_argument, add_model_argument
from src.reporting.image_layers import data_uri

DESCRIPTION = """
Serve a web page on this machine that segments the vessels of a fundus image. For research, not for diagnosis.

The page shows vessels, probability or uncertainty over the image, at an adjustable threshold and opacity, and saves
them. The server listens on the loopback address only, keeps no image, and rejects requests of other origins: images of
patients do not leave this machine.
"""
EXIT_CODES = {0: "ended by Ctrl-C", 2: "invalid arguments, or model or port cannot be used"}
EXAMPLES = ("", "--field-angle 60", "--model models/mine.onnx --port 8080")
ADDRESS, PORT, MAX_PORT = "127.0.0.1", 8000, 2**16 - 1
HOSTS = [ADDRESS, "localhost"]  # other host names may be made to point here (DNS rebinding)
STATIC = Path(__file__).parent / "static"
ASSETS = {
    "style.css": Path(__file__).parents[1] / "reporting" / "templates" / "style.css",  # shared with the report
    "app.css": STATIC / "app.css",
    "app.js": STATIC / "app.js",
}
Segmented = dict[str, str | int | float | dict[str, str]]  # what the page shows of an image
MAX_FILE_MIB = 64  # a 16-bit TIFF of 3504 x 2336 pixels has 47
MIB = 2**20
JPEG_QUALITY = 92  # of the image on the page; the network gets the image itself
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the network and serve the page; returns the exit code."""
    parser = command_parser("app", DESCRIPTION, EXIT_CODES, EXAMPLES)
    add_model_argument(parser)
    add_field_angle_argument(parser)
    parser.add_argument("--port", type=int, default=PORT, metavar="N", help=f"port of {ADDRESS}; 0: any free one")
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= MAX_PORT:
        parser.error(f"--port: expected a number up to {MAX_PORT}, got {given.port}")
    try:
        run_server(OnnxModel(given.model), given.port, given.field_angle)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


def run_server(network: OnnxModel, port: int, field_angle: float | None = None) -> None:
    """Serve until Ctrl-C; port 0 is any free port. For `field_angle` see `OnnxModel.predict`.

    Raises:
        OSError: the port is taken or not permitted.
    """
    config = uvicorn.Config(create_app(network, field_angle), log_level="warning", server_header=False)
    try:
        bound = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise OSError(f"port {port} of {ADDRESS}: {os.strerror(error.errno or 0)}; --port names another") from error
    with bound, contextlib.suppress(KeyboardInterrupt):
        print(f"http://{ADDRESS}:{bound.getsockname()[1]}  (Ctrl-C ends it)", flush=True)
        uvicorn.Server(config).run(sockets=[bound])


def create_app(network: OnnxModel, field_angle: float | None = None) -> Starlette:
    """Create the application: the page, its assets, and `POST /segment`, which predicts one image at a time."""
    one_at_a_time = threading.Lock()

    def segment(content: bytes, name: str) -> Segmented:
        with one_at_a_time:
            return segment_upload(network, content, name, field_angle)

    async def page(request: Request) -> Response:
        return HTMLResponse(render_page(network))

    async def asset(request: Request) -> Response:
        return FileResponse(ASSETS[request.url.path[1:]])

    async def upload(request: Request) -> Response:
        name = unquote(request.headers.get("x-filename", "image"))
        content = bytearray()
        async for chunk in request.stream():
            content += chunk
            if len(content) > MAX_FILE_MIB * MIB:
                message = f"{name}: expected a file of at most {MAX_FILE_MIB} MiB, got a larger one"
                return JSONResponse({"error": message}, 413)
        try:
            return JSONResponse(await run_in_threadpool(segment, bytes(content), name))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        except MemoryError:
            return JSONResponse({"error": f"{name}: not enough memory to predict it"}, 503)

    routes = [Route("/", page), Route("/segment", upload, methods=["POST"])]
    routes += [Route(f"/{name}", asset) for name in ASSETS]
    guards = [
        Middleware(BaseHTTPMiddleware, dispatch=_check_origin),
        Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
    ]
    return Starlette(routes=routes, middleware=guards)


def render_page(network: OnnxModel) -> str:
    """Render the HTML page for a network; it offers no uncertainty where the network yields none."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(STATIC), autoescape=True)
    template = environment.get_template("app.html")
    return template.render(
        threshold=network.settings.threshold,
        has_uncertainty=network.yields_uncertainty(tta=True),
        max_file_mib=MAX_FILE_MIB,
        max_file_bytes=MAX_FILE_MIB * MIB,
        max_megapixels=image_opening.MAX_PIXELS // 10**6,
        accepted=",".join(["image/*", *image_opening.SUFFIXES]),
    )


def segment_upload(network: OnnxModel, content: bytes, name: str, field_angle: float | None = None) -> Segmented:
    """Segment an uploaded image; returns what the page shows.

    `flags` holds the meaning of each quality flag of the image and its map at the model's threshold.
    `image` (JPEG), `maps` (PNG) and `probability` (16-bit PNG) are data URIs. `maps` holds both maps in the 8-bit
    channels that a canvas has: 256 red + green is the probability (65535 is 1), blue the uncertainty (255 is 1).

    Raises:
        ValueError: the image is invalid, see `input_validation`; the message begins with `name`.
    """
    begin = time.perf_counter()
    image, fov, flags, _ = input_validation.read_fundus(content, name)
    prediction = network.predict(image, fov, field_angle=field_angle)
    levels = to_levels(prediction.probability)
    uncertainty = np.zeros(levels.shape) if prediction.uncertainty is None else np.round(prediction.uncertainty * 255.0)
    vessels = network.binarize(prediction.probability)
    flags = (*image_quality.quality_flags(image, fov, float(vessels[fov].mean())), *flags)
    height, width = levels.shape
    return {
        "width": width,
        "height": height,
        "fov_pixels": int(fov.sum()),
        "flags": {flag: image_quality.FLAGS[flag] for flag in flags},
        "image": _encode(image, "jpeg", cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        "maps": _encode(np.dstack([levels >> 8, levels & 255, uncertainty]).astype(np.uint8), "png"),
        "probability": _encode(levels, "png"),
        "seconds": round(time.perf_counter() - begin, 2),
    }


async def _check_origin(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Reject requests of other origins, and add HEADERS to every response."""
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers.get('host')}":
        response: Response = PlainTextResponse("expected a request of this page, got one of another origin", 403)
    else:
        response = await call_next(request)
    response.headers.update(HEADERS)
    return response


def _encode(array: np.ndarray, kind: str, *options: int) -> str:
    """Encode a greyscale or RGB image as a data URI; uint16 as a 16-bit PNG."""
    ordered = array[..., ::-1] if array.ndim == 3 else array
    content = cv2.imencode(f".{kind}", ordered, options)[1].tobytes()
    return data_uri(content, f"image/{kind}")
