"""The environment of a measured process: the BLAS library's own choice of kernels or a given set of
instructions for all libraries, and a given number of threads.
"""

import os
import sys

import threadpoolctl

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
ISAS = ("native", "avx2")  # the machine's best instructions, or no more than AVX2


def beyond_avx2() -> list[str]:
    """Return the groups of instructions beyond AVX2 that NumPy would choose between here."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return [
        name
        for name in __cpu_dispatch__
        if __cpu_features__.get(name) and (name.startswith("AVX512") or name == "X86_V4")
    ]


def held_to(isa: str) -> dict[str, str]:
    """Return the variables that hold OpenBLAS, NumPy, PyTorch and its oneDNN to these instructions;
    they count where they are set before a process starts.
    """
    if isa == "native":
        return {}
    return {
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(beyond_avx2()),
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    }


def measured_environment(threads: int, isa: str = "native") -> dict[str, str]:
    """Return this environment without a pin of BLAS kernels (older ones run at half speed) but that
    of `isa`, with that many threads.
    """
    kept = {key: value for key, value in os.environ.items() if key not in PINS}
    return kept | dict.fromkeys(THREADS, str(threads)) | held_to(isa)


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
