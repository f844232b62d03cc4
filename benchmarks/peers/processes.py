"""Peers as processes that run alternately: the others wait, without using the processor, while one
is measured.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from benchmarks.environment import measured_environment


def has_pytorch() -> bool:
    """Tell whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


class Process:
    """A running module that answers each line of JSON by one; a context manager that ends it."""

    def __init__(self, who: str, module: str, words: Sequence[str], env: Mapping[str, str]) -> None:
        self.who = who
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )

    def ask(self, **order: Any) -> Any:
        """Send an order and wait for its answer; raise RuntimeError where the worker died."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"peer {self.who} ended with code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()


def peer(who: str, net: str, threads: int, *, dropout: bool = True, isa: str = "native") -> Process:
    """Start a `benchmarks.peers.worker`."""
    words = [who, net, "--threads", str(threads), *([] if dropout else ["--no-dropout"])]
    # our threads share a batch; each of their products is one thread's
    env = measured_environment(1 if who.startswith("ours") else threads, isa)
    return Process(who, "benchmarks.peers.worker", words, env)
