"""`python -m tests.fuzz --minutes 10`: every reader, one after another, given bytes that nobody
meant, searched by coverage where atheris is installed (Linux on x86-64), else by mutations of the
corpus alone.

What is found (the inputs that reach new code, and the findings with their tracebacks) stays in
`--folder` for the next run. The counts are added to tests/fuzz/executions.csv; with `--write` they
are also written into docs/RELIABILITY.md (`--minutes 0` writes alone). Exit code 1: a finding.
"""

import argparse
import contextlib
import io
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.fuzz.counts import RECORD, Count, add, coverage_in, write
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import MOST_SECONDS, AtHand, Watch, search

INSTRUMENTED = ["cnn_core", "pipeline", "predict_alone"]
LOOK_S = 0.5


def fuzz(target: Target, folder: Path, seconds: float, seed: int, atheris: Any) -> Count:
    """Fuzz one target for so long in a process of its own; what ends the process is a finding, and
    it is started again.
    """
    corpus, log = folder / "corpus", folder / "log"
    corpus.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    for finding in findings_in(folder):  # of an earlier run: found again unless it was mended
        finding.rename(corpus / f"finding-{finding.name}")
    executions, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        at_hand = AtHand()
        watch = Watch(target, folder, at_hand)
        child = os.fork()  # what it imports and instruments is there already
        if child == 0:
            try:
                descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
                os.dup2(descriptor, 1)
                os.dup2(descriptor, 2)
                search(atheris, watch, corpus, end, seed)
            finally:
                os._exit(4)
        try:
            kind = ending(child, at_hand)
        except KeyboardInterrupt:
            os.kill(child, signal.SIGKILL)
            raise
        if kind:
            watch.found(at_hand.data, kind, log.read_text(errors="replace")[-4000:])
        executions += at_hand.executions
        seed += 1
    coverage, features = coverage_in(log.read_text(errors="replace"))
    return Count(target.name, executions, coverage, features, len(findings_in(folder)))


def ending(child: int, at_hand: AtHand) -> str:
    """Wait for the end of a process; return "" or how it ended before its time. One that computes
    long on one input is killed.
    """
    counted, since = -1, 0.0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return "" if code == 0 else signal.Signals(-code).name if code < 0 else f"exit {code}"
        spent = sum(psutil.Process(child).cpu_times()[:2])
        if at_hand.executions != counted:
            counted, since = at_hand.executions, spent
        elif spent - since > 4 * MOST_SECONDS and counted:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "endless"
        time.sleep(LOOK_S)


def findings_in(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "findings").glob("*") if path.suffix != ".json")


def run(names: list[str], folder: Path, minutes: float, seed: int, record: Path) -> list[Count]:
    """Fuzz these targets in equal parts of the time; print and record what each came to."""
    try:
        import atheris
    except ImportError:
        atheris = None
        print("atheris is not installed here: mutations of the corpus, without coverage")
    with contextlib.ExitStack() as stack:
        if atheris is not None:
            stack.enter_context(atheris.instrument_imports(include=INSTRUMENTED))
        with contextlib.redirect_stderr(io.StringIO()):  # a line for each module
            for name in names:  # imports what is needed, once for all
                for path in TARGETS[name].corpus:
                    TARGETS[name].call(path.read_bytes())
    counts = []
    for name in names:
        seconds = minutes * 60 / len(names)
        counts.append(fuzz(TARGETS[name], folder / name, seconds, seed, atheris))
        print(counts[-1].line(), flush=True)
        add(counts[-1], "mutations" if atheris is None else "atheris", record)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--targets", default=",".join(TARGETS), metavar="NAME,...")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 1 << 31))
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    parser.add_argument("--record", type=Path, default=RECORD, help="where the counts are added")
    parser.add_argument("--write", action="store_true", help="renew docs/RELIABILITY.md")
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    names = options.targets.split(",")
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"--targets must be of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    counts = []
    if options.minutes > 0:
        counts = run(
            names, options.folder.absolute(), options.minutes, options.seed, options.record
        )
        total = sum(count.executions for count in counts)
        print(f"{total:,} executions of {len(counts)} targets, seed {options.seed}")
    for count in counts:
        for finding in findings_in(options.folder / count.target):
            print(f"finding: {finding}")
    if options.write:
        write(options.record)
    return 1 if any(count.findings for count in counts) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
