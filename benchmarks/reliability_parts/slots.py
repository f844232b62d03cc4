"""Slots opened and closed again and again, each with a worker process of its own."""

from benchmarks.reliability_parts.case import Case, Trial

CYCLES = 10_000


def measure(trial: Trial) -> None:
    cycles = trial.size(CYCLES)
    words = [str(cycles), str(trial.folder)]
    module = "benchmarks.reliability_parts.open_and_close"
    ended = trial.step("open, call, close", (cycles, "cycles"), module, *words)
    trial.flat(ended, "open, call, close")


SLOTS = Case(
    name="slots",
    title="Opening and closing slots",
    about="A slot is opened, its worker process answers one call, and it is closed, in one process "
    "again and again. A unit is a cycle.",
    measure=measure,
)
