"""The demo's page: from a drawing or a picture to the model's input, its answer and its first
layer's activations; and its server: standard library only, on 127.0.0.1, four files and one query.
"""

import contextlib
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_core.data.image_form import full_scale_of
from cnn_core.errors import InputError
from cnn_core.layers import OPERATIONS
from pipeline.bundle.predictor import Bundle, Net
from pipeline.inputs import Hints
from pipeline.inputs.pictures.picture_folder import PictureSource
from pipeline.redact import shown

MOST_MAPS = 32
# What may precede the first activation.
_WINDOWED = (
    "moment_normalization",
    "convolution",
    "scale_shift",
)


def input_of(content: bytes, bundle: Bundle) -> NDArray[np.uint8]:
    """Return the model's input (1, C, H, W) from the bytes of a picture: what training did to its
    pictures, of these values' own range. Raises InputError for anything else.
    """
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "picture"
        file.write_bytes(content)
        try:
            (block,) = PictureSource(file, Hints()).blocks(1)
            picture = block.pictures[0]
            scale = 255.0 if picture.dtype == np.uint8 else full_scale_of(float(picture.max()))
            form = replace(bundle.form, full_scale=scale)
            return form.matched(form.apply(picture)[None]).apply(picture)[None]
        except InputError as error:
            raise InputError(str(error).replace(f" in {file}", "")) from None


def _framed(net: Net, image: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Return the image (1, C, H, W) as the net's first convolution sees it: in the normalised
    frame, where the net has one.
    """
    first = net.operations[0]
    if first["op"] != "moment_normalization":
        return image.astype(np.float32)
    seen = OPERATIONS[first["op"]].infer(
        image.transpose(1, 2, 3, 0).astype(np.float32), first, net.arrays
    )
    return seen[-image.shape[1] :].transpose(3, 0, 1, 2)


def first_maps(net: Net, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the first layer's activations (maps, H, W), all scaled to 0..255 by their common
    maximum; none for a net without convolution.

    image: (1, C, H, W).
    """
    x = image.transpose(1, 2, 3, 0).astype(np.float32) / np.float32(255)
    convolved = False
    for operation in net.operations:
        if not convolved and operation["op"] not in _WINDOWED:
            return np.zeros((0, 1, 1), np.uint8)
        if convolved and operation["op"] in (
            "pooling",
            "flatten",
            "global_average_pooling",
            "convolution",
        ):
            break
        x = OPERATIONS[operation["op"]].infer(x, operation, net.arrays)
        convolved = convolved or operation["op"] == "convolution"
        if convolved and operation["op"] not in _WINDOWED:
            break
    maps = np.maximum(x[:MOST_MAPS, :, :, 0], 0)
    scaled: NDArray[np.uint8] = np.rint(maps * (255 / max(float(maps.max()), 1e-6))).astype(
        np.uint8
    )
    return scaled


def answer(bundle: Bundle, content: bytes) -> dict[str, Any]:
    """Return what the page shows: probabilities of ensemble and members, the input, the first
    layer's maps. Raises InputError.
    """
    image = input_of(content, bundle)
    with threadpool_limits(1):  # on one image, more threads only wait for each other
        members = bundle.member_proba(image)
    together = bundle.combine(members)[0]
    return {
        "prediction": int(together.argmax()),
        "empty": not bool(image.any()),
        "ensemble": _rounded(together),
        "members": [
            {"name": about.name, "probabilities": _rounded(chances)}
            for about, chances in zip(bundle.manifest.members, members[:, 0], strict=True)
        ],
        "seen": np.rint(_framed(bundle.nets[0][0], image)[0].mean(axis=0)).astype(int).tolist(),
        "maps": first_maps(bundle.nets[0][0], image).tolist(),
    }


def _rounded(values: Sequence[float] | NDArray[np.floating]) -> list[float]:
    return [round(float(value), 6) for value in values]


HOST = "127.0.0.1"
MOST_BYTES = 16 << 20
MOST_CONNECTIONS = 16  # a browser opens six
MOST_PICTURES = 4  # in memory
LONGEST_S = 60.0  # of a connection, which is one request
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FILES = {
    "/": ("demo.html", "text/html"),
    "/demo.css": ("demo.css", "text/css"),
    "/demo.js": ("demo.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' "
    "data: blob:"
)


class DemoServer(ThreadingHTTPServer):
    """Serves the page for one bundle: so many connections at once, each for so long; few pictures
    are held, and one is computed, at a time.
    """

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, bundle: Bundle, port: int) -> None:
        super().__init__((HOST, port), Handler)
        self.bundle = bundle
        self.computing = threading.Lock()
        self.reading = threading.Semaphore(MOST_PICTURES)
        self._begun: dict[socket.socket, float] = {}
        self.pages = {
            path: (files("pipeline.demo_page").joinpath(name).read_bytes(), kind)
            for path, (name, kind) in _FILES.items()
        }

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._begun) >= MOST_CONNECTIONS:
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(_BUSY)
            self.shutdown_request(request)
            return
        self._begun[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._begun.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections that take too long, whatever they send meanwhile."""
        for request, begun in list(self._begun.items()):
            if time.monotonic() - begun > LONGEST_S:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone, and a line of anything else."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(shown(f"demo: {type(error).__name__}: {error}"), file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    server: DemoServer
    timeout = 30

    def do_GET(self) -> None:
        if not self._from_here():
            return
        path = self.path.partition("?")[0]
        if path == "/about.json":
            self._json(HTTPStatus.OK, about(self.server.bundle))
        elif path in self.server.pages:
            self._send(HTTPStatus.OK, *self.server.pages[path])
        else:
            self._json(HTTPStatus.NOT_FOUND, {"error": "no such page"})

    def do_POST(self) -> None:
        if not self._from_here():
            return
        given = self.headers.get("Content-Length", "")
        length = int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else -1
        if self.path != "/predict" or not 0 < length <= MOST_BYTES:
            self.close_connection = True
            self._json(
                HTTPStatus.BAD_REQUEST,
                {"error": f"a picture of at most {MOST_BYTES >> 20} MB is expected at /predict"},
            )
            return
        try:
            with self.server.reading:
                content = self.rfile.read(length)
                if len(content) != length:
                    return  # the client has gone
                with self.server.computing:
                    found = answer(self.server.bundle, content)
        except InputError as error:
            self._json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return
        self._json(HTTPStatus.OK, found)

    def _from_here(self) -> bool:
        """Tell whether the request names this machine; a foreign name that points here is refused
        (DNS rebinding).
        """
        hosts, origin = self.headers.get_all("Host", []), self.headers.get("Origin")
        names, port = (HOST, "localhost"), self.server.server_port
        known = {*names, *(f"{name}:{port}" for name in names)}
        origins = {f"http://{name}:{port}" for name in names}
        if len(hosts) == 1 and hosts[0].strip().lower() in known and origin in {None, *origins}:
            return True
        self.close_connection = True
        self._json(HTTPStatus.FORBIDDEN, {"error": "this page is only served to this machine"})
        return False

    def _json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the terminal belongs to the command."""


def about(bundle: Bundle) -> dict[str, Any]:
    """Return what the page says about the model."""
    manifest = bundle.manifest
    return {
        "study": manifest.study,
        "classes": list(bundle.class_names),
        # Drawn as the training data were, where they were turned into light on dark.
        "dark_on_light": bundle.form.invert,
        "image": list(bundle.image_shape),
        "members": [member.name for member in manifest.members],
        "method": manifest.combine.method,
        "data": manifest.data.name,
        "digest": manifest.digest[:12],
    }
