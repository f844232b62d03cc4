"""The demo's server: standard library, 127.0.0.1, four files and one question."""

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

from cnn_core.errors import InputError
from pipeline.bundle.predictor import Bundle
from pipeline.demo_page.seen import answer

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
        """Whether the page was asked for under this machine's own name: a foreign name that points
        here is refused (DNS rebinding).
        """
        host = self.headers.get("Host", "").rpartition(":")[0]
        origin = self.headers.get("Origin")
        known = {f"http://{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if host in (HOST, "localhost") and (origin is None or origin in known):
            return True
        self.close_connection = True
        self._json(HTTPStatus.FORBIDDEN, {"error": "this page answers to its own machine alone"})
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
    """What the page says of the model."""
    manifest = bundle.manifest
    return {
        "study": manifest.study,
        "classes": bundle.classes,
        "image": list(bundle.image_shape),
        "members": [member.name for member in manifest.members],
        "method": manifest.combine.method,
        "data": manifest.data.name,
        "digest": manifest.digest[:12],
    }
