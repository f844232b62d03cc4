"""Peers as processes that run alternately: the others wait, without using the processor, while one
is measured.
"""

import importlib.util
import json
import subprocess
import sys
from types import TracebackType
from typing import Any

from benchmarks.environment import measured_environment


def has_pytorch() -> bool:
    """Tell whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


class Process:
    """A running `benchmarks.peers.worker`; a context manager that ends it."""

    def __init__(
        self, who: str, net: str, threads: int, dropout: bool = True, isa: str = "native"
    ) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.peers.worker",
            who,
            net,
            "--threads",
            str(threads),
        ]
        command += [] if dropout else ["--no-dropout"]
        self.who = who
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # our threads share a batch; each of their products is one thread's
            env=measured_environment(1 if who.startswith("ours") else threads, isa),
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
