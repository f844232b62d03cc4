"""The demo's page: from a drawing or a picture to the model's input, its answer and its first
layer's activations; and its server: standard library only, on 127.0.0.1, four files and one query.
"""

import json
import tempfile
import threading
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
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
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
    """Serves the page for one bundle; one picture is computed at a time."""

    daemon_threads = True

    def __init__(self, bundle: Bundle, port: int) -> None:
        super().__init__((HOST, port), Handler)
        self.bundle = bundle
        self.computing = threading.Lock()
        self.pages = {
            path: (files("pipeline.demo_page").joinpath(name).read_bytes(), kind)
            for path, (name, kind) in _FILES.items()
        }

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"


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
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if self.path != "/predict" or not 0 < length <= MOST_BYTES:
            self.close_connection = True
            self._json(
                HTTPStatus.BAD_REQUEST,
                {"error": f"a picture of at most {MOST_BYTES >> 20} MB is expected at /predict"},
            )
            return
        content = self.rfile.read(length)
        try:
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
        host = self.headers.get("Host", "").rpartition(":")[0]
        origin = self.headers.get("Origin")
        known = {f"http://{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if host in (HOST, "localhost") and (origin is None or origin in known):
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
