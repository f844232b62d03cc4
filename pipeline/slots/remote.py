"""What runs in a Dask worker: a call, announced when it begins, with its data found by digest wherever this machine keeps them."""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnn_core.data.prepared import DataAbsentError, open_prepared
from cnn_core.spec import DataSpec, Spec
from pipeline.slots import worker

TOPIC = "cnn-sweep"
FILES = ("images.npy", "labels.npy", "manifest.json")


def invoke(call: str, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    """Announce the call, then return what `worker.invoke` returns; ("DataAbsentError", "digest address") when data must be sent first."""
    from distributed import get_worker

    here = get_worker()
    here.log_event(TOPIC, {"call": call, "address": here.address})
    try:
        args = tuple(_with_data(arg) if isinstance(arg, Spec) else arg for arg in args)
    except DataAbsentError as error:
        return DataAbsentError.__name__, f"{error} {here.address}"
    return worker.invoke(function, args)


def store() -> Path:
    """Return this machine's folder of data that coordinators have sent; only this user can write it."""
    folder = Path(tempfile.gettempdir()) / f"cnn-sweep-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: must belong to user {os.getuid()}")
    return folder


def receive(digest: str, files: Mapping[str, bytes]) -> str:
    """Keep prepared data that were sent, whole or not at all, and check their digest; return the folder."""
    folder = store() / digest
    if not folder.exists():
        temporary = Path(tempfile.mkdtemp(dir=store()))
        for name in FILES:
            (temporary / name).write_bytes(files[name])
        try:
            temporary.rename(folder)
        except OSError:  # another worker of this machine was faster
            if not folder.exists():
                raise
    open_prepared(str(folder), digest)
    return str(folder)


def _with_data(spec: Spec) -> Spec:
    """Return the spec with folders that exist here. Raises DataAbsentError with the digest that is missing."""
    data: DataSpec = spec.data
    found: dict[str, Any] = {"folder": _locate(data.folder, data.digest)}
    if data.valid_folder is not None and data.valid_digest is not None:
        found["valid_folder"] = _locate(data.valid_folder, data.valid_digest)
    return replace(spec, data=replace(data, **found))


def _locate(folder: str, digest: str) -> str:
    for place in (Path(folder), store() / digest):
        if (place / "manifest.json").is_file():
            return str(place)
    raise DataAbsentError(digest)
