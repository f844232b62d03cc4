"""What runs in a Dask worker: a call, announced when it begins, with its data found by digest
wherever this machine keeps them.
"""

import contextlib
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from cnn_core.cores import FREE_CORES
from cnn_core.data.prepared import DataAbsentError, open_prepared
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec, Spec
from pipeline.slots import worker
from pipeline.slots.file_lock import not_here

TOPIC = "cnn-sweep"
FILES = ("images.npy", "labels.npy", "manifest.json")


def invoke(
    call: str, function: Callable[..., Any], args: tuple[Any, ...], memory_mb: int | None = None
) -> tuple[str, Any]:
    """Announce the call, then return what `worker.invoke` returns; ("DataAbsentError", "digest
    address") if data must be sent first.

    `memory_mb` limits the memory of the call beyond that of the Dask worker's process itself.
    """
    from distributed import get_worker

    here = get_worker()
    os.environ.setdefault(FREE_CORES, str(here.state.nthreads))
    here.log_event(TOPIC, {"call": call, "address": here.address})
    try:
        args = tuple(_with_data(arg) if isinstance(arg, Spec) else arg for arg in args)
    except DataAbsentError as error:
        return DataAbsentError.__name__, f"{error} {here.address}"
    with limited(memory_mb):
        return worker.invoke(function, args)


@contextlib.contextmanager
def limited(memory_mb: int | None) -> Iterator[None]:
    """Limit this process's memory in this context only: the process is Dask's, and may serve
    another sweep next.
    """
    if memory_mb is None:
        yield
        return
    if sys.platform == "win32":
        raise InputError(not_here("slots.memory_mb"))
    import resource

    before = limits_before()
    limit, hard = own_bytes() + memory_mb * 2**20, before[1]
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@cache
def limits_before() -> tuple[int, int]:
    """Return this process's limits of its address space (bytes) before its first call."""
    if sys.platform == "win32":
        return -1, -1
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)


@cache
def own_bytes() -> int:
    """Return the address space that this process took before its first call."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[0]) * mmap.PAGESIZE if status.exists() else 0


def kernels() -> str:
    """Return the kernel set of this worker's OpenBLAS."""
    import numpy  # noqa: F401 - loads the library

    return worker.openblas_kernels()


def store() -> Path:
    """Return this machine's folder of data that coordinators have sent; only this user can write
    it.
    """
    if sys.platform == "win32":  # where each user has a temporary folder of his own
        folder = Path(tempfile.gettempdir()) / "cnn-sweep"
        folder.mkdir(exist_ok=True)
        return folder
    folder = Path(tempfile.gettempdir()) / f"cnn-sweep-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder}: must belong to user {os.getuid()}")
    return folder


def receive(digest: str, files: Mapping[str, bytes]) -> str:
    """Store prepared data that were sent, whole or not at all, and check their digest; return the
    folder.
    """
    folder = store() / digest
    if not folder.exists():
        temporary = Path(tempfile.mkdtemp(dir=store()))
        try:
            for name in FILES:
                (temporary / name).write_bytes(files[name])
            temporary.rename(folder)
        except OSError:  # another worker of this machine was faster
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    open_prepared(str(folder), digest)
    return str(folder)


def _with_data(spec: Spec) -> Spec:
    """Return the spec with folders that exist here. Raises DataAbsentError with the digest that is
    missing.
    """
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
