"""The sweep's own command, run for a measurement: the net of report 5, equal trials, no pruning.

pip compiles every library that it installs; without bytecode, each start compiles them anew, which
doubles MLflow's time. So that figures match the former anywhere, sweeps below one root share a
bytecode cache, which the first, `warm_up`, fills.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

EQUAL_TRIALS = (
    "space={model.init:{choice:[xavier,he]}}",
    "pruner=none",
    "sampler=random",
    "study.enqueue=[]",
)
SAMPLE_S = 0.2


@dataclass(frozen=True)
class Run:
    """One sweep: when its command was started and ended, its events (none without MLflow), and
    samples (clock, seconds) of the coordinator's processor time, including the process that sends
    to MLflow.
    """

    given: float
    ended: float
    events: list[dict[str, Any]]
    processor: list[tuple[float, float]]

    def times(self, kind: str) -> list[float]:
        """Return when the events of a kind happened, in order."""
        return sorted(event["time_s"] for event in self.events if event["event"] == kind)

    def coordinator_s(self, begin: float, end: float) -> float:
        """Return the coordinator's processor time between two times: asking, saving, telling, and
        all of MLflow.
        """
        clock, seconds = zip(*self.processor, strict=True)
        return float(np.interp(end, clock, seconds) - np.interp(begin, clock, seconds))


def warm_up(root: Path, data: str) -> None:
    """Run a short sweep: it prepares the data, creates MLflow's store, and fills the bytecode
    cache.
    """
    run_sweep(root, "warm-up", f"data={data}", "budget.trials=1", "train.epochs=1")


def run_sweep(root: Path, name: str, *overrides: str) -> Run:
    """Run a sweep and return what happened; exit as the command does where it fails."""
    command = [
        sys.executable,
        "-m",
        "pipeline.sweep",
        f"root={root}",
        f"study.name={name}",
        *EQUAL_TRIALS,
        *overrides,
        "-q",
    ]
    environment = {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    }
    environment["PYTHONPYCACHEPREFIX"] = str(root / "bytecode")
    given = time.time()
    processor = [(given, 0.0)]
    senders: list[psutil.Process] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        coordinator = psutil.Process(process.pid)
        while process.poll() is None:
            processor.append(
                (time.time(), max(processor[-1][1], _used(coordinator, senders)))
            )  # the sender ends a little earlier
            time.sleep(SAMPLE_S)
    ended = time.time()
    if process.returncode:
        raise SystemExit(process.returncode)  # the command has printed why
    journal = root / name / "events.jsonl"
    events = (
        [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    )
    return Run(given, ended, events, processor)


def _used(coordinator: psutil.Process, senders: list[psutil.Process]) -> float:
    """Return the processor time of the coordinator and of its child that sends to MLflow, which is
    looked for until it appears.
    """
    total = 0.0
    with contextlib.suppress(psutil.Error):
        senders += [
            child
            for child in coordinator.children()
            if not senders and "pipeline.tracking.mlflow_process" in child.cmdline()
        ]
        for process in (coordinator, *senders):
            used = process.cpu_times()
            total += used.user + used.system
    return total
