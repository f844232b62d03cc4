"""The environment of a measured process: the BLAS library's own choice of kernels, and a given
number of threads.
"""

import os
import sys

import threadpoolctl

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def measured_environment(threads: int) -> dict[str, str]:
    """Return this environment without a pin of BLAS kernels (older ones run at half speed), with
    that many threads.
    """
    kept = {key: value for key, value in os.environ.items() if key not in PINS}
    return kept | dict.fromkeys(THREADS, str(threads))


def restart_unpinned(module: str, threads: int) -> None:
    """Run ``python -m module`` again in the measured environment, in place of this process, unless
    it is in it already.
    """
    wanted = measured_environment(threads)
    if wanted != dict(os.environ):
        os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], wanted)


def kernels() -> str:
    """Return the kernel set that NumPy's BLAS really uses, such as SkylakeX."""
    found = [
        info.get("architecture")
        for info in threadpoolctl.threadpool_info()
        if info.get("user_api") == "blas"
    ]
    return next((str(name) for name in found if name), "unknown")


def machine() -> str:
    """Return what tells this machine from others: cores, processor, and the best 2048-cubed product
    in single precision on one core.
    """
    from benchmarks.peers.worker import sgemm_peak
    from pipeline.slots.worker import describe

    return (
        f"{os.cpu_count()} cores of {describe()['processor']}, "
        f"{sgemm_peak(5):.0f} GFLOP/s, {kernels()} kernels"
    )
