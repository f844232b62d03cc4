"""A run of any command as its listeners hear of it: how it begins, how it ends, and who listens."""

import shlex
import time
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.events import State, StudyEnded, StudyStarted
from pipeline.redact import redact
from pipeline.search.fingerprint import code_version
from pipeline.slots.slot import Machine
from pipeline.slots.stop import FAILED, Stop
from pipeline.tracking.listeners import Listeners, LogListener, make_listeners
from pipeline.tracking.progress import ProgressListener


def run_tags(config: Config, data_digest: str, machine: Machine, command: str) -> dict[str, str]:
    """Return what marks all runs of a command: code, machine, data, and the line that was typed."""
    return {
        "code": code_version(),
        "kernels": machine.kernels,
        "processor": machine.processor,
        "blas": machine.blas,
        "numpy": machine.numpy,
        "data": config.data.name,
        "data_digest": data_digest,
        "command": redact(shlex.join(["python", "-m", f"pipeline.{command}", *config.overrides])),
        "mlflow.source.name": f"pipeline.{command}",
    }


def study_started(config: Config, tags: dict[str, str], **differing: Any) -> StudyStarted:
    """Return the event of a run that begins, stamped now: the study's own but for `differing`."""
    fields: dict[str, Any] = {
        "study": config.study.name,
        "folder": config.paths.folder,
        "note": config.study.note,
        "seed": config.study.seed,
        "resumed": False,
        "directions": ("maximize",),
        "tags": tags,
        "config_yaml": config.yaml,
        "time_s": time.time(),
    }
    return StudyStarted(**{**fields, **differing})


def study_ended(stop: Stop, **differing: Any) -> StudyEnded:
    """Return the event of a run that ends as its stop says, stamped now."""
    good = State.INTERRUPTED if stop.exit_code else State.COMPLETE
    fields: dict[str, Any] = {
        "state": State.FAIL if stop.exit_code == FAILED else good,
        "reason": stop.reason,
        "trials": {},
        "best_number": None,
        "outside_training": 0.0,
        "time_s": time.time(),
    }
    return StudyEnded(**{**fields, **differing})


def listeners_of(config: Config, folder: Path, stop: Stop, *, verbose: bool) -> Listeners:
    """Return who hears of a run in `folder`: its log, the terminal, and MLflow where it is asked
    for.
    """
    progress = ProgressListener(quiet=config.quiet, verbose=verbose)
    return make_listeners(config, folder, [LogListener(folder / "log.txt"), progress], stop)
