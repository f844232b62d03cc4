"""A copy of the checkout in which one file at a time is mutated and the tests chosen for it are
run, in processes with a limit of processor time.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.mutation import patience
from tests.mutation.chosen_tests import Nearness
from tests.mutation.mutants import Mutant, changed_lines
from tests.mutation.tests_that_ran import TestsThatRan

HERE = Path(__file__).resolve().parents[2]
TEST_S = 20  # processor seconds of one test
RUN_S = 60  # of all tests for a mutant
SLOW_TIMES = 3  # as long for slow tests
SLOW_FILES = 2  # files of slow tests that are asked about a survivor, where they are asked at all
QUICK, SLOW = "not slow", "slow"  # pytest's -m
FIRST = 2  # test files that are asked first, since collecting all takes longer than most of them
MOST_UNSOUND = 20  # tests that fail without any mutant, met in one run
WAITS = 10  # times as long by the clock
LEFT_OUT = {"outputs", "dist", "site"}
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    file: str
    line: int
    before: str
    after: str
    outcome: str
    test: str  # the one that noticed it

    def told(self) -> str:
        by = f"by {self.test}" if self.test else f"{self.before}  ->  {self.after}"
        return f"{self.outcome:9} {self.file}:{self.line}: {by}"


class Part(NamedTuple):
    """Tests that are run together, and pytest's -m."""

    tests: Sequence[str]
    marks: str = QUICK


class Checkout:
    """The copy; tests that fail without any mutant are found when they first notice one, and left
    out from then on.
    """

    def __init__(
        self,
        root: Path,
        folder: Path,
        test_s: int = TEST_S,
        run_s: int = RUN_S,
        *,
        slow: bool = False,
    ) -> None:
        """Copy the checkout in `root` into `folder`; `slow`: ask slow tests about survivors too."""
        self._run_s, self._most_s, self._slow = run_s, run_s + 2 * test_s, slow
        self.root, self._notes, self._temporary = (
            folder / name for name in ("copy", "notes", "tmp")
        )
        self.root.mkdir(parents=True)
        for entry in root.iterdir():
            if entry.is_dir() and entry.name.isidentifier() and entry.name not in LEFT_OUT:
                shutil.copytree(entry, self.root / entry.name, symlinks=True)
            elif entry.is_file():
                shutil.copy2(entry, self.root)
        if (root / ".ci").exists():
            shutil.copytree(root / ".ci", self.root / ".ci")
        self._entries = set(self.root.iterdir())
        self._nearness = Nearness(self.root)
        self._ran = TestsThatRan(root / ".coverage")
        data = os.environ.get("CNN_DATA_DIR") or root.parent / "shared" / "data"
        self._environment = {
            **os.environ,
            # Before the checkout that is installed; the plug-in is here.
            "PYTHONPATH": os.pathsep.join([str(self.root), str(HERE)]),
            "CNN_DATA_DIR": str(Path(data).absolute()),
            "OPENBLAS_NUM_THREADS": "1",
            patience.NOTES: str(self._notes),
            patience.TEST_S: str(test_s),
        }
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._sound: dict[str, bool] = {}
        self._writes = 0

    def tests_for(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests for a mutant in the parts that are asked one after another: those that
        are known to run its line, then the nearest files where others may run it too.
        """
        ran = self._ran.of(mutant)
        near = [] if ran.are_all else self._nearness.tests_of(mutant)
        return [part for part in (ran.tests, near[:FIRST], near[FIRST:]) if part]

    def judge(self, mutant: Mutant, parts: Sequence[Sequence[str]]) -> Verdict | None:
        """Run the tests on a mutant, part after part; None where the change is none."""
        path = self.root / mutant.file
        text = path.read_text(encoding="utf-8")
        mutated = mutant.text(self.root)
        if mutated is None:
            return None
        line, before, after = changed_lines(text, mutated)
        outcome, test = SURVIVED, ""
        asked = [Part(tests) for tests in parts]
        if self._slow:
            files = self._nearness.slow_tests_of(mutant, SLOW_FILES)
            asked += [Part([file], SLOW) for file in files]
        for part in asked:
            outcome, test = self._asked(part, path, text, mutated)
            if outcome != SURVIVED:
                break
        return Verdict(mutant.file, line, before, after, outcome, test)

    def _asked(self, part: Part, path: Path, text: str, mutated: str) -> tuple[str, str]:
        """Return the outcome of a part's tests, and the sound test that made it."""
        for _ in range(MOST_UNSOUND):
            # those that fail anyway would be deselected
            chosen = part._replace(tests=[one for one in part.tests if one not in self.unsound])
            if not chosen.tests:
                return SURVIVED, ""
            self._write(path, mutated)
            try:
                outcome, test = self._run(chosen)
            finally:
                self._write(path, text)
            if outcome == SURVIVED or self._passes(test, chosen):
                return outcome, test
        raise RuntimeError(f"too many tests fail without any mutant: {', '.join(self.unsound)}")

    @property
    def unsound(self) -> list[str]:
        """The tests that fail without any mutant."""
        return sorted(test for test, sound in self._sound.items() if not sound)

    def _passes(self, test: str, part: Part) -> bool:
        """Whether the test that noticed a mutant passes without it; "" is the collection of all."""
        if test not in self._sound:
            tests = [test] if test else ["--collect-only", *part.tests]
            self._sound[test] = self._run(part._replace(tests=tests))[0] == SURVIVED
            if not self._sound[test] and not test:
                raise RuntimeError(f"pytest does not run here: {' '.join(tests)}")
        return self._sound[test]

    def _run(self, part: Part) -> tuple[str, str]:
        """Return the outcome and the test that made it."""
        self._notes.write_text("")
        times = SLOW_TIMES if part.marks == SLOW else 1
        command = [sys.executable, "-m", "pytest", "-x", "-m", part.marks, "--tb=no"]
        command += ["-p", "no:cacheprovider", "-p", patience.__name__]
        command += [f"--basetemp={self._temporary}", *(f"--deselect={one}" for one in self.unsound)]
        process = subprocess.Popen(
            [*command, *part.tests],
            cwd=self.root,
            env={**self._environment, patience.RUN_S: str(times * self._run_s)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(_limit, self._most_s),
        )
        try:
            code = process.wait(times * self._run_s * WAITS)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it started too
            process.wait()
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._tidy()
        return _outcome(code, self._notes.read_text())

    def _tidy(self) -> None:
        """Remove what a mutant has written beside the copied files."""
        for entry in set(self.root.iterdir()) - self._entries:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()

    def _write(self, path: Path, text: str) -> None:
        """Write a source with a time that no earlier one had: compiled files are told apart by
        seconds.
        """
        path.write_text(text, encoding="utf-8")
        self._writes += 1
        begin = path.stat().st_mtime
        os.utime(path, (begin, int(begin) + self._writes))


def _limit(seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _outcome(code: int, notes: str) -> tuple[str, str]:
    lines = [line.split("\t") for line in notes.splitlines()]
    failed = [test for kind, test in lines if kind == "failed"]
    if failed:
        return KILLED, failed[0]
    if code in (0, 5) or ["stopped", ""] in lines:  # 5: none of the files has a quick test
        return SURVIVED, ""
    last = lines[-1][1] if lines else ""
    return (TIMED_OUT if code < 0 else KILLED), last
