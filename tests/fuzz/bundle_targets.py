"""A bundle of a stranger, its stand-alone predict.py, checkpoints, prepared data and the demo's
requests as targets; digests are made right, as a stranger would.
"""

import hashlib
import importlib
import io
import json
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from tests.fuzz.input_targets import npz_of
from tests.fuzz.mutations import of_json
from tests.fuzz.target import SEPARATOR, Target, place, written

WEIGHTS = "weights/one.npz"
# Of bytes that are no manifest at all: they go to the reader as they are.
_NO_TREE = (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError)
ALONE = "predict_alone"  # the module that a bundle's predict.py is imported as


@cache
def good() -> Path:
    """Return a folder with a bundle that is whole: a net that sees bright stripes."""
    from tests.pipeline.made_bundle import striped

    folder = Path(place().name) / "bundle"
    striped(folder, ("a", "b"))
    return folder


@cache
def alone() -> ModuleType:
    """Return a bundle's predict.py as a module of its own."""
    from pipeline.bundle.predict_py import standalone_source

    written(standalone_source().encode(), f"{ALONE}.py")
    sys.path.insert(0, place().name)
    return importlib.import_module(ALONE)


def stranger(data: bytes) -> Path:
    """Return the bundle's folder with a stranger's manifest, the first part of `data`, and weights:
    the members of an archive, the parts that follow, where there are any.
    """
    from pipeline.records.manifest import manifest_digest

    folder = good()
    text, *members = data.split(SEPARATOR)
    place_of_weights = folder / WEIGHTS
    if members:
        place_of_weights.write_bytes(npz_of(SEPARATOR.join(members), ("W", "b")))
    else:
        place_of_weights.write_bytes(_weights())
    sha256 = hashlib.sha256(place_of_weights.read_bytes()).hexdigest()
    with suppress(*_NO_TREE):
        manifest = json.loads(text)
        nets = (net for member in manifest["members"] for net in member["nets"])
        for net in nets:
            net["sha256"] = sha256
        text = json.dumps(manifest | {"digest": manifest_digest(manifest)}).encode()
    (folder / "manifest.json").write_bytes(text)
    return folder


@cache
def _weights() -> bytes:
    return (good() / WEIGHTS).read_bytes()


def manifest(data: bytes) -> None:
    """Read a manifest whose digest is right; what is read is written and read again as the same."""
    from pipeline.records.manifest import (
        BundleError,
        manifest_digest,
        signed,
        write_manifest,
    )
    from pipeline.records.manifest_reading import read_manifest

    with suppress(*_NO_TREE):
        found = json.loads(data)
        data = json.dumps(found | {"digest": manifest_digest(found)}).encode()
    with suppress(BundleError):
        known = read_manifest(data)
        again = signed(known)
        assert read_manifest(write_manifest(again).encode()) == again


def _answers(bundle: Any, error: type[Exception]) -> None:
    """Have a bundle answer for two pictures of its size."""
    import numpy as np

    with suppress(error):
        shape = bundle.image_shape
        if np.prod(shape) < 4096:
            images = np.zeros((2, *shape), np.uint8)
            images[1] = 200
            chances = bundle.predict_proba(bundle.prepared(images, 255.0))
            assert chances.shape == (2, bundle.classes)


def bundle(data: bytes) -> None:
    from pipeline.bundle.predictor import load
    from pipeline.records.manifest import BundleError

    with suppress(BundleError):
        _answers(load(stranger(data)), BundleError)


def bundle_alone(data: bytes) -> None:
    """The same by the bundle's own predict.py."""
    module = alone()
    with suppress(module.BundleError):
        _answers(module.load(stranger(data)), module.BundleError)


def input_alone(data: bytes) -> None:
    """Read pictures by a bundle's own predict.py, and prepare them."""
    module, folder = alone(), good()
    with suppress(module.InputError):
        images = module.read_images(written(data))
        if images.size < 1 << 16:
            module.load(folder).prepared(images)


def checkpoint(data: bytes) -> None:
    """Read a training state, and weights, whose manifest says what `data` says; its arrays, and
    their digests, are whole.
    """
    import numpy as np

    from cnn_core import checkpoint as product

    arrays = {f"{name}/W": np.ones(2, np.float32) for name in ("params", "buffers", "optimizer")}
    with suppress(*_NO_TREE):
        about = json.loads(data)
        digests = {name: product._sha256(array) for name, array in arrays.items()}
        data = json.dumps({**about, "sha256": digests}).encode()
    buffer = io.BytesIO()
    np.savez(buffer, manifest=np.frombuffer(data, np.uint8), **arrays)  # type: ignore[arg-type]
    checkpoint_file(buffer.getvalue())


def checkpoint_file(data: bytes) -> None:
    from cnn_core import checkpoint as product

    path = written(data, "checkpoint.npz")
    with suppress(product.CheckpointError):
        product.load(path)
    with suppress(product.CheckpointError):
        product.load_weights(path)


def prepared(data: bytes) -> None:
    """Open prepared data whose manifest says what `data` says, by the digest that follows."""
    import numpy as np

    from cnn_core.data import prepared as product
    from cnn_core.data.about import about_from
    from cnn_core.errors import InputError

    folder = Path(place().name) / "prepared"
    folder.mkdir(exist_ok=True)
    images, labels = np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 1, 0, 1])
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    (folder / "manifest.json").write_bytes(data)
    digest = ""
    with suppress(Exception):  # only for the digest, which the reader compares
        hashes = [product.array_sha256(array) for array in (images, labels)]
        about = about_from(json.loads(data), images.shape)
        digest = product.digest_of(hashes[0], hashes[1], images.shape, about)
    with suppress(InputError):
        found = product.open_prepared.__wrapped__(str(folder), digest)
        assert found.groups is None or len(found.groups) == 4


class _Wire:
    """A connection whose requests are known beforehand; it keeps what is answered."""

    def __init__(self, data: bytes) -> None:
        self.asked, self.answered = data, b""

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self.asked)

    def sendall(self, data: Any) -> None:
        self.answered += bytes(data)

    def settimeout(self, seconds: float) -> None: ...


@cache
def _server() -> Any:
    import threading

    from pipeline.bundle.predictor import load

    return SimpleNamespace(
        bundle=load(good()),
        computing=threading.Lock(),
        reading=threading.Semaphore(4),
        server_port=8000,
        pages={"/": (b"page", "text/html")},
    )


def request(data: bytes) -> None:
    """Answer a request to the demo: never with an error of the server."""
    from pipeline.demo_page.server import Handler

    wire = _Wire(data)
    Handler(wire, ("127.0.0.1", 1), _server())  # type: ignore[arg-type]
    for line in wire.answered.splitlines()[:1]:
        if line.startswith(b"HTTP/"):
            assert line.split()[1] not in (b"500", b"502", b"503"), line


BUNDLE_TARGETS = (
    Target("manifest", manifest, of_json),
    Target("bundle", bundle, of_json),
    Target("predict_py_bundle", bundle_alone, of_json),
    Target("predict_py_input", input_alone),
    Target("checkpoint_manifest", checkpoint, of_json),
    Target("checkpoint_file", checkpoint_file),
    Target("prepared_manifest", prepared, of_json),
    Target("demo_request", request),
)
