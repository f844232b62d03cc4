"""One peer in its own process: it reads orders, one line of JSON each, and answers in kind.

Orders: ``{"steps": 5}`` -> their times in seconds; ``{"loss": true}``; ``{"peak": 3}`` -> the best
GFLOP/s of that many 2048-cubed sgemms; ``{"about": true}`` -> BLAS kernels in use, peak memory in
MB.
"""

import argparse
import json
import resource
import sys
import time

import numpy as np

from benchmarks.environment import kernels

PEAK_SIZE = 2048


def make_peer(who: str, net: str, threads: int, dropout: bool) -> object:
    """Return the peer of that name; libraries are imported only for the one that needs them."""
    if who.startswith("ours"):
        from benchmarks.peers.ours import Ours

        return Ours(net, dropout, 1 if who == "ours_one_core" else threads)
    if who == "report5":
        from benchmarks.peers.report5 import Report5

        return Report5(net, dropout)
    from benchmarks.peers.pytorch import PyTorch

    return PyTorch(net, who == "torch_channels_last", threads, dropout)


def sgemm_peak(repeats: int) -> float:
    """Return the best GFLOP/s of a 2048-cubed float32 product."""
    a = np.random.default_rng(0).random((PEAK_SIZE, PEAK_SIZE), np.float32)
    out, times = np.empty_like(a), []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        np.matmul(a, a, out=out)
        times.append(time.perf_counter() - started)
    return 2e-9 * PEAK_SIZE**3 / min(times)


def instructions() -> str:
    """Return what PyTorch, where this process uses it, computes elementwise with."""
    torch = sys.modules.get("torch")
    return "" if torch is None else str(torch.backends.cpu.get_cpu_capability())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("who")
    parser.add_argument("net")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-dropout", dest="dropout", action="store_false")
    arguments = parser.parse_args()
    peer = make_peer(arguments.who, arguments.net, arguments.threads, arguments.dropout)
    done = 0
    for line in sys.stdin:
        order = json.loads(line)
        answer: object = None
        if "steps" in order:
            times = []
            for _ in range(order["steps"]):
                started = time.perf_counter()
                peer.step(done)  # type: ignore[attr-defined]
                times.append(time.perf_counter() - started)
                done += 1
            answer = times
        elif "loss" in order:
            answer = peer.loss()  # type: ignore[attr-defined]
        elif "peak" in order:
            answer = sgemm_peak(order["peak"])
        elif "about" in order:
            answer = {
                "kernels": kernels(),
                "instructions": instructions(),
                "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
