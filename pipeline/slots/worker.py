"""What runs in a worker process. Imports only the standard library, and NumPy on the first call."""

import ctypes
import math
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WATCH_S = 0.5
STUDY_MARK = "CNN_SWEEP_STUDY"  # environment variable that names the study a worker belongs to
THREADS = (
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
ONE_THREAD = dict.fromkeys(THREADS, "1")


def begin(coordinator_pid: int, memory_mb: int | None) -> None:
    """Prepare a fresh worker: limit its memory, and end it soon after its coordinator is gone.

    The coordinator's pid is passed in: os.getppid() would already differ here if the coordinator
    had died.
    """
    if memory_mb is not None and sys.platform != "win32":  # there no worker is started
        import resource

        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    threading.Thread(target=_watch, args=(coordinator_pid,), name="watchdog", daemon=True).start()


def _watch(coordinator_pid: int) -> None:
    while os.getppid() == coordinator_pid:
        time.sleep(WATCH_S)
    os._exit(1)


def invoke(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[str, Any]:
    """Return ("", function(*args)), or (kind, text) of what it raised: an exception would not
    survive being sent back.
    """
    try:
        return "", function(*args)
    except (Exception, SystemExit) as error:
        plugins = sys.modules.get("cnn_core.plugins")  # loaded with what trains
        place = None if plugins is None else plugins.raised_in(error)
        return type(error).__name__, str(error) + (f" at {place}" if place else "")


def describe() -> dict[str, Any]:
    """Return the fields of `pipeline.slots.slot.Machine`, as this process sees them; loads NumPy
    and with it the BLAS.
    """
    import numpy as np

    dependencies: Any = np.show_config(mode="dicts")
    blas = dependencies["Build Dependencies"]["blas"]
    return {
        "pid": os.getpid(),
        "host": platform.node(),
        "processor": _processor(),
        "kernels": openblas_kernels(),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "numpy": np.__version__,
        "gflops": _product_speed(),
    }


def _product_speed(size: int = 512, repeats: int = 4) -> float:
    """Return the speed of the single-precision matrix product here, in GFLOP/s; takes a few
    milliseconds.
    """
    import numpy as np

    a = np.ones((size, size), np.float32)
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def warm_up() -> dict[str, Any]:
    """Import what an epoch needs and return `describe`; a slot's first call, so that everything is
    loaded before its first epoch.
    """
    import cnn_core.training  # noqa: F401

    return describe()


def openblas_kernels() -> str:
    """Return the kernel set that the loaded OpenBLAS uses ("SkylakeX", "Zen", ...), "" when there
    is no OpenBLAS.
    """
    for path in _loaded_libraries("openblas"):
        library = ctypes.CDLL(path)
        for name in (
            "scipy_openblas_get_corename64_",
            "scipy_openblas_get_corename",
            "openblas_get_corename64_",
            "openblas_get_corename",
        ):
            function = getattr(library, name, None)
            if function is not None:
                function.restype = ctypes.c_char_p
                return str(function().decode())
    return ""


def _loaded_libraries(word: str) -> list[str]:
    """Return the files mapped into this process whose name contains `word` (Linux)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    paths = {
        line.split(maxsplit=5)[5].strip()
        for line in maps.read_text().splitlines()
        if len(line.split(maxsplit=5)) == 6
    }
    return sorted(path for path in paths if word in Path(path).name)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()
