"""`python -m tests.faults.every_write [COMMAND ...]`: each command again and again, each time with
another one of its file operations failing, and after each what must hold: nothing is lost, nothing
is partial under its final name, one line says why and where, and the same command then ends as if
nothing had happened.

Everything is imported once; each case is forked. Trainings run in the coordinator's own process,
which is the only one that writes (a test counts what workers write: nothing).
"""

import argparse
import atexit
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import every_write_section
from tests.faults.failing_writes import Fault, Operation, Watched, available, watch
from tests.faults.written import (
    STUDY,
    Disk,
    acknowledged,
    difference,
    leftovers,
    partial_files,
    results,
    steady,
    wrong_words,
)

MODES = ("once", "full", "gone", "killed")
COMMON = [f"study.name={STUDY}", "slots.n=1", "tracking=none"]
SEARCH = [
    *COMMON, "experiment=smoke", "model.filters=2", "space={optimizer.lr:{float:[0.001,0.1]}}",
    "budget.trials=3", "train.epochs=2", "study.deterministic=true", "study.round=3",
    "pruner=top_k", "pruner.look=1", "pruner.keep=2", "study.confirm=1",
]  # fmt: skip


@dataclass(frozen=True)
class Walk:
    """A command whose file operations are failed."""

    name: str
    module: str
    arguments: Sequence[str]
    after: str = ""  # the walk that has run undisturbed before
    only: str = ""  # a pattern of the operations that are failed


WALKS = {
    walk.name: walk
    for walk in (
        Walk("prepare", "prepare", ["data=digits", "output={}/data.json", "sheet={}/sheet.png"]),
        Walk("sweep", "sweep", SEARCH, "prepare"),
        Walk("journal", "sweep", [*SEARCH, "tracking=mlflow"], "prepare", r"events\.jsonl"),
        Walk("final", "final", [*COMMON, "final.members=1", "final.folds=2"], "sweep"),
        Walk("evaluate", "evaluate", COMMON[:2], "final"),
        Walk("export", "export", COMMON, "final"),
        Walk("export again", "export", [*COMMON, "onnx=false"], "export"),
        Walk(
            *("predict", "predict"),
            [*COMMON[:2], "input={}/../input.npy", "output={}/labels.csv"],
            "export",
        ),
    )
}


@dataclass
class Found:
    """What the walk over one command has found."""

    name: str
    operations: list[Operation]  # undisturbed
    cases: Counter[str] = field(default_factory=Counter)  # by mode
    ended_well: Counter[str] = field(default_factory=Counter)  # in spite of the fault
    problems: list[str] = field(default_factory=list)

    def row(self, words: Sequence[str]) -> list[str]:
        """Return the row of the section in docs/RELIABILITY.md."""
        tried = max(self.cases.values(), default=0)
        numbers = [len(self.operations), tried, self.cases.total(), self.ended_well.total()]
        command = shlex.join([*words, self.name])
        shown = [f"{number:,}" for number in (*numbers, len(self.problems))]
        return [self.name, *shown, f"`{command}`"]


class Walker:
    """Runs commands on a disk of their own, which is put back before each case."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self.disk = Disk(base / "disk")
        self.out, self.err = base / "out.txt", base / "err.txt"

    def warm_up(self) -> None:
        """Run every command here once: what it imports and builds, each fork then has."""
        warm = Disk(self._base / "warm")
        warm.clear()
        warm.enter()
        for walk in WALKS.values():
            said = io.StringIO()
            if walk.name != "journal":  # a sweep again
                with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                    assert command(walk) == 0, said.getvalue()
        assert threading.active_count() == 1, threading.enumerate()

    def run(self, walk: Walk, fault: Fault | None = None) -> Watched:
        """Run the command once, in a process of its own."""
        return watch(lambda: self._in_child(walk), self.disk.folder, fault, only=walk.only)

    def _in_child(self, walk: Walk) -> int:
        for descriptor, path in ((1, self.out), (2, self.err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        self.disk.enter()
        code = 1
        try:
            code = command(walk)
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        return code

    def begin(self, walk: Walk) -> None:
        """Put the disk back to where the command before has left it."""
        place = self._base / f"before {walk.name}"
        if not place.exists():
            if walk.after:
                self.begin(WALKS[walk.after])
                ended = self.run(WALKS[walk.after])
                assert ended.code == 0, self.err.read_text()
            else:
                self.disk.clear()
            shutil.copytree(self.disk.folder, place)
        shutil.rmtree(self.disk.folder, ignore_errors=True)
        shutil.copytree(place, self.disk.folder)
        self.disk.forget()

    def undisturbed(self, walk: Walk) -> tuple[list[Operation], dict[str, Any]]:
        """Return the operations and the results of a command that nothing disturbs."""
        self.begin(walk)
        ended = self.run(walk)
        assert ended.code == 0, self.err.read_text()
        return ended.operations, results(self.disk)

    def judge(self, walk: Walk, fault: Fault, whole: Any) -> tuple[list[str], Watched]:
        """Run one case, and the same command again; return what is wrong."""
        self.begin(walk)
        ended = self.run(walk, fault)
        if not ended.failed:
            return [], ended
        problems = self._after_the_fault(ended, fault)
        if ended.code == 0:
            if (found := results(self.disk)) != whole:
                problems.append(f"it said it ended well, but {difference(found, whole)}")
            return problems, ended
        told = acknowledged(self.disk)
        again = self.run(walk)
        said = self.err.read_text()
        if again.code or said:
            return [*problems, f"again: exit code {again.code}, {said[-1500:]}"], ended
        problems += [f"again: {text}" for text in (*partial_files(self.disk), *told.lost())]
        found = results(self.disk)
        for one in ended.failed:  # what could not be removed, and is needed no more, may stay
            name = one.path.removeprefix("root/")
            if one.kind == "remove" and name not in whole:
                found.pop(name, None)
        if found != whole:
            problems.append(f"again: another result: {difference(found, whole)}")
        return problems, ended

    def _after_the_fault(self, ended: Watched, fault: Fault) -> list[str]:
        problems = [
            *(["it hung"] if ended.hung else []),
            *(["it left processes behind"] if ended.left_behind else []),
            *partial_files(self.disk),
            *acknowledged(self.disk).lost(),
        ]
        if fault.mode != "killed":
            problems += wrong_words(self.disk, ended, self.err.read_text())
        # What could not be removed, or whose process is gone, is left.
        if fault.mode == "full" or (fault.mode == "once" and ended.failed[0].kind != "remove"):
            problems += leftovers(self.disk)
        return problems


def command(walk: Walk) -> int:
    """Run the walk's command in this process, in the root that it stands in; return its exit
    code.
    """
    from pipeline import evaluate, export, final, predict, prepare, sweep
    from pipeline.configuration import SWEEP, command_line

    module, described = {
        "prepare": (prepare, prepare.COMMAND),
        "sweep": (sweep, SWEEP),
        "final": (final, final.FINAL),
        "evaluate": (evaluate, evaluate.COMMAND),
        "export": (export, export.COMMAND),
        "predict": (predict, predict.COMMAND),
    }[walk.module]
    words = [word.replace("{}", str(Path.cwd())) for word in [*walk.arguments, "root={}"]]
    return command_line(described, words, module.main)


def install(*, workers: bool = False) -> None:
    """Have trainings run in this process, acknowledged trials noted, and MLflow's journal not read;
    from outside.
    """
    from pipeline import final, whole_sweep
    from pipeline.slots.stop_request import Stop
    from pipeline.tracking import mlflow_listener
    from tests.faults.toy_sweep import wrap_tell
    from tests.pipeline.here_slot import HereSlot

    @contextlib.contextmanager
    def open_slots(*_: Any) -> Iterator[Sequence[HereSlot]]:
        yield [HereSlot(Stop())]

    if not workers:
        final.open_slots = whole_sweep.open_slots = open_slots  # type: ignore[assignment]
    mlflow_listener._Process.news = lambda self: None  # type: ignore[method-assign]
    wrap_tell()


def go(
    walker: Walker,
    walk: Walk,
    modes: Collection[str],
    chosen: Callable[[list[Operation]], set[int]],
) -> Found:
    """Walk over the chosen operations of one command, counted from 1, in each mode."""
    operations, whole = walker.undisturbed(walk)
    found = Found(walk.name, operations)
    for mode in modes:
        for at in sorted(chosen(operations)):
            problems, ended = walker.judge(walk, Fault(at, mode), whole)
            if not ended.failed:
                continue
            found.cases[mode] += 1
            found.ended_well[mode] += ended.code == 0
            for problem in problems:
                found.problems.append(f"{walk.name}, {mode} at {at} ({ended.failed[0]}): {problem}")
                print(found.problems[-1], flush=True)
    return found


def every(step: int, first: int, kinds: bool) -> Callable[[list[Operation]], set[int]]:
    """Return what chooses every `step`th operation from the `first` on; with `kinds`, of these the
    first of each kind of operation on each kind of file.
    """

    def chosen(operations: list[Operation]) -> set[int]:
        known: dict[str, int] = {}
        for at in range(1 + first % step, len(operations) + 1, step):
            one = operations[at - 1]
            name = re.sub(r"\d+", "0", steady(one.path)) if kinds else str(at)
            known.setdefault(f"{one.kind} {name}", at)
        return set(known.values())

    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=", ".join(WALKS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--every", type=int, default=1, help="fail every so manieth operation")
    parser.add_argument("--first", type=int, default=0, help="of these, begin with this one")
    parser.add_argument("--kinds", action="store_true", help="one of each kind, and of each file")
    parser.add_argument("--write", action="store_true", help="write into docs/RELIABILITY.md")
    parser.add_argument("--workers", action="store_true", help="train in workers, as usual")
    options = parser.parse_args(argv)
    if not available():
        parser.error("it takes Linux on x86_64 or aarch64")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process with threads cannot be forked safely
    install(workers=options.workers)
    problems, begin = 0, time.monotonic()
    base = Path(tempfile.mkdtemp(prefix="every-write-"))  # a fork would remove a TemporaryDirectory
    try:
        walker = Walker(base)
        if not options.workers:  # workers have threads, with which a process cannot be forked
            walker.warm_up()
        for name in options.commands or WALKS:
            chosen = every(options.every, options.first, options.kinds)
            found = go(walker, WALKS[name], options.modes.split(","), chosen)
            problems += len(found.problems)
            if options.write:
                words = [word for word in argv or sys.argv[1:] if word not in ("--write", *WALKS)]
                every_write_section.write([found.row(words)])
            print(
                f"{name}: {len(found.operations)} operations, "
                f"{sum(not one.coordinator for one in found.operations)} of them by workers; "
                f"{found.cases.total()} cases, "
                f"{found.ended_well.total()} of them ended well, {len(found.problems)} problems; "
                f"{time.monotonic() - begin:.0f} s",
                flush=True,
            )
    finally:
        os.chdir("/")
        shutil.rmtree(base)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
