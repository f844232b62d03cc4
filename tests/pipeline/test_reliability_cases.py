"""The cases of load and size, each at a tiny scale, and the clock and the meter that they use."""

import importlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.reliability_parts import CASES, ensemble, trials
from benchmarks.reliability_parts.case import Trial, cells, section
from benchmarks.reliability_parts.meter import Ended, Look, metered
from benchmarks.reliability_parts.virtual_clock import VirtualClock
from pipeline.configuration import Command, command_line
from pipeline.configuration.undisturbed import undisturbed


def run_here(module: str, words: Sequence[str]) -> Ended:
    """Run a command in this process: nothing is measured."""
    found = importlib.import_module(module)
    name = module.rpartition(".")[2]
    with undisturbed():
        if module.startswith("benchmarks"):
            return Ended(found.main(words), 0.0, 0.0, [], [], warm=0)
        known = (value for value in vars(found).values() if isinstance(value, Command))
        command = next(value for value in known if value.name == name)
        return Ended(command_line(command, words, found.main), 0.0, 0.0, [], [], warm=0)


@pytest.mark.parametrize("name", ["trials", "rows", "ensemble", "slots"])
def test_a_case_holds_at_a_tiny_scale(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "SWEEPS", trials.SWEEPS[:1])  # MLflow alone takes ten seconds
    monkeypatch.setattr(ensemble, "METHODS", ())
    trial = Trial(tmp_path, 0.0002, run_here)
    CASES[name].measure(trial)
    assert trial.wrong == []
    assert trial.rows and trial.found
    text = section(CASES[name], trial, "`command`")
    assert "Does not hold" not in text and text.startswith("`command`")
    assert max(len(line) for line in text.splitlines() if line[:1] != "|") <= 100


@pytest.mark.slow
def test_a_simulated_hour_loses_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 0.05, metered)
    CASES["day"].measure(trial)
    assert trial.wrong == []
    assert len(trial.rows) == 3


def test_the_clock_jumps_to_the_next_that_wakes() -> None:
    clock, seen = VirtualClock(3), []

    def sleeper(naps: Sequence[float]) -> None:
        for nap in naps:
            clock.sleep(nap)
            seen.append(clock.now)
        clock.leave()

    clock.alarms.append((4000.0, lambda: seen.append(-1.0)))
    threads = [
        threading.Thread(target=sleeper, args=(naps,))
        for naps in ([3600.0, 3600.0], [1000.0], [5000.0, 1.0])
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [1000.0, 3600.0, -1.0, 5000.0, 5001.0, 7200.0]
    assert clock.now == 7200.0 > time.monotonic() - began


def test_the_meter_sees_growth_and_what_is_left_behind() -> None:
    looks = [Look(memory=m * 10**6, descriptors=4, threads=2, beside=0) for m in range(1, 9)]
    ended = Ended(0, 2.0, 1.0, looks, ["process 7"], "why", warm=0)
    assert ended.peak == 8 * 10**6
    assert ended.quarters("memory") == (1.5e6, 7.5e6)
    assert ended.quarters("descriptors") == (4, 4)
    trial = Trial(Path(), 1.0, lambda module, words: ended)
    trial.step("a step", (4, "units"), "module")
    assert trial.wrong == ["a step left behind: process 7"]
    assert cells("a step", (4, "units"), ended)[1:7] == [
        "4 units", "2.0", "1.0", "250.00", "8", "+6.0",
    ]  # fmt: skip
    trial.step("a step", (4, "units"), "module", code=3)
    assert trial.wrong[1] == "a step: exit code 0 (why)"


@pytest.mark.parametrize("growing", ["memory", "descriptors", "threads", ""])
def test_what_grows_does_not_hold(growing: str, tmp_path: Path) -> None:
    steady = {"memory": 10_000_000, "descriptors": 10, "threads": 3, "beside": 0}
    looks = [
        Look(**{key: n * (at + 1) if key == growing else n for key, n in steady.items()})
        for at in range(8)
    ]
    trial = Trial(tmp_path, 1.0, run_here)
    trial.flat(Ended(0, 1.0, 1.0, looks, [], warm=0), "it")
    assert len(trial.wrong) == bool(growing) and len(trial.found) == (not growing)


def test_a_command_that_never_began_has_shown_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path, 1.0, run_here)
    looks = [Look(memory=10_000_000, descriptors=10, threads=3, beside=0)]
    trial.flat(Ended(0, 1.0, 1.0, looks, []), "it")
    assert trial.wrong == ["it: it had something to do"] and not trial.found
