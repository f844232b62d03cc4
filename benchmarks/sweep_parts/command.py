"""The sweep's own command, run for a measurement: net of report 5, equal trials, no pruning."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

EQUAL_TRIALS = ("space={model.init:{choice:[xavier,he]}}", "pruner=none", "sampler=random", "study.enqueue=[]")


def run_sweep(root: Path, name: str, *overrides: str) -> tuple[float, list[dict[str, Any]]]:
    """Return the time at which the command was given, and the events of its study; exit as the command does where it fails."""
    command = [sys.executable, "-m", "pipeline.sweep", f"root={root}", f"study.name={name}", *EQUAL_TRIALS, *overrides, "-q"]
    given = time.time()
    if status := subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(status)  # it has said why
    return given, [json.loads(line) for line in (root / name / "events.jsonl").read_text().splitlines()]


def times(events: list[dict[str, Any]], kind: str) -> list[float]:
    """Return when the events of a kind happened, in order."""
    return sorted(event["time_s"] for event in events if event["event"] == kind)
