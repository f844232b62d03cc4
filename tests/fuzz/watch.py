"""Calls a target again and again, counts, and keeps what it finds.

A finding is an exception that escapes, more than 500 MB of memory, or more than five seconds of
processor time for one input; the search goes on behind it. The count and the input at hand lie in
shared memory: they outlive a process that dies by a signal.
"""

import json
import mmap
import os
import re
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from tests.fuzz.mutations import of_bytes
from tests.fuzz.target import Target

MOST_MEMORY = 500 << 20  # resident, of the whole process
MOST_ADDRESSES = 4 << 30  # libraries take one or two of them
MOST_SECONDS = 5.0  # of processor time
MOST_HELD = 1 << 20
_HEAD = struct.Struct("<QQ")  # executions, length of the input at hand


class AtHand:
    """How often a target was called, and with what, seen by two processes."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, _HEAD.size + MOST_HELD)

    def put(self, executions: int, data: bytes) -> None:
        held = data[:MOST_HELD]
        _HEAD.pack_into(self._map, 0, executions, len(held))
        self._map[_HEAD.size : _HEAD.size + len(held)] = held

    @property
    def executions(self) -> int:
        return int(_HEAD.unpack_from(self._map)[0])

    @property
    def data(self) -> bytes:
        return self._map[_HEAD.size : _HEAD.size + _HEAD.unpack_from(self._map)[1]]


class Watch:
    """Calls a target and keeps the smallest input of each kind of finding."""

    def __init__(self, target: Target, folder: Path, at_hand: AtHand) -> None:
        self.target, self.findings, self.at_hand = target, folder / "findings", at_hand
        self.executions = 0
        self.most_memory = MOST_MEMORY
        self.sizes: dict[str, int] = {}

    def __call__(self, data: bytes) -> None:
        """Call the target once."""
        self.executions += 1
        self.at_hand.put(self.executions, data)
        begun = time.process_time()
        try:
            self.target.call(data)
        except Exception as error:
            self.found(data, kind_of(error), traceback.format_exc())
        except (SystemExit, KeyboardInterrupt) as error:
            self.found(data, type(error).__name__, traceback.format_exc())
        if (spent := time.process_time() - begun) > MOST_SECONDS:
            self.found(data, "slow", f"{spent:.1f} s of processor time")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
        if memory > self.most_memory:
            self.found(data, "memory", f"{memory >> 20} MB")
            self.most_memory = memory + (50 << 20)  # the peak stays; only more is told again

    def found(self, data: bytes, kind: str, words: str) -> None:
        """Keep an input where it is the first or the smallest of its kind."""
        if len(data) >= self.sizes.get(kind, sys.maxsize):
            return
        self.sizes[kind] = len(data)
        self.findings.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "_", kind)[:120]
        (self.findings / name).write_bytes(data)
        note = {"kind": kind, "bytes": len(data), "words": words}
        (self.findings / f"{name}.json").write_text(json.dumps(note, indent=1))


def kind_of(error: BaseException) -> str:
    """Return what tells an error from others: its class and the innermost line of this project."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame for frame in frames if not frame.filename.startswith((sys.prefix, sys.base_prefix))
    ]
    last = (ours or frames)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name} {last.name}"


def search(atheris: Any, watch: Watch, corpus: Path, end: float, seed: int) -> NoReturn:
    """Call the target until `end`, then end the process: libFuzzer has no other way back.

    `atheris` is None where it is not installed; new inputs that reach new code go to `corpus`.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    warnings.simplefilter("error")  # as in the tests: a user would see them
    parent = os.getppid()

    def once(data: bytes) -> None:
        watch(data)
        if time.monotonic() > end or os.getppid() != parent:
            sys.stderr.flush()
            os._exit(0)

    if atheris is None:
        _by_mutations(once, watch.target, seed)
    _by_coverage(atheris, once, watch.target, corpus, seed)
    os._exit(3)


def _by_coverage(atheris: Any, once: Any, target: Target, corpus: Path, seed: int) -> None:
    rng = Random(seed)
    arguments = ["fuzz", str(corpus), str(target.folder), f"-max_len={target.longest}"]
    arguments += [f"-seed={seed}", "-rss_limit_mb=0", "-timeout=3000", "-len_control=20"]
    arguments += [f"-artifact_prefix={corpus.parent}/"]

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        assert target.mutate is not None
        rng.seed(seed)
        return target.mutate(data, rng, lambda part: atheris.Mutate(part, most))[:most]

    how = {} if target.mutate is None else {"custom_mutator": mutated}
    atheris.Setup(arguments, once, **how)
    atheris.Fuzz()


def _by_mutations(once: Any, target: Target, seed: int) -> NoReturn:
    rng = Random(seed)
    known = [path.read_bytes() for path in target.corpus]

    def plain(data: bytes) -> bytes:
        return of_bytes(data, rng, known)

    while True:
        data = rng.choice(known)
        for _ in range(rng.choice((1, 1, 2, 5))):
            data = plain(data) if target.mutate is None else target.mutate(data, rng, plain)
        once(data[: target.longest])
