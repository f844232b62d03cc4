"""A plug-in for pytest, loaded by name into the runs for a mutant: it notes what begins and what
fails, ends the process where a test computes without end, and the run where its time is used up.
"""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

NOTES, TEST_S, RUN_S = "MUTATION_NOTES", "MUTATION_TEST_S", "MUTATION_RUN_S"


def note(kind: str, test: str = "") -> None:
    with Path(os.environ[NOTES]).open("a") as file:
        file.write(f"{kind}\t{test}\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    note("began", item.nodeid)
    signal.setitimer(signal.ITIMER_PROF, float(os.environ[TEST_S]))  # unhandled, its signal kills
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if sum(os.times()[:4]) > float(os.environ[RUN_S]):
            note("stopped")
            item.session.shouldstop = "the time for this mutant is used up"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        note("failed", report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        note("failed", report.nodeid)
