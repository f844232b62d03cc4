"""The study's own events, as tracking and progress hear them."""

import shlex
import time

from pipeline.config import Config
from pipeline.redact import redact
from pipeline.search import leaderboard
from pipeline.search.code_version import code_version
from pipeline.search.events import StudyEnded, StudyStarted
from pipeline.search.ledger import StorageFailed
from pipeline.search.session import Session
from pipeline.search.stop import FAILED
from pipeline.slots.base import Machine


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


def study_started(session: Session, slots: int, machine: Machine) -> StudyStarted:
    """Return the event of a run that begins, stamped now."""
    config = session.config
    return StudyStarted(
        study=config.study.name,
        folder=config.paths.folder,
        note=config.study.note,
        seed=config.study.seed,
        resumed=session.resumed,
        total=session.ledger.total,
        slots=slots,
        directions=session.problem.directions,
        tags=run_tags(config, session.problem.data.digest, machine, "sweep"),
        config_yaml=config.yaml,
        time_s=time.time(),
    )


def study_ended(session: Session, outside: float) -> StudyEnded:
    """Return the event of a run that ends; a database that fails now makes it a failure."""
    stop = session.stop
    state = {0: "COMPLETE", FAILED: "FAIL"}.get(stop.exit_code, "INTERRUPTED")
    try:
        counts = session.ledger.counts()
        best = leaderboard.best_number(session.study, session.config.paths)
    except StorageFailed as error:
        stop.request(str(error), FAILED)
        counts, best = {}, None
    return StudyEnded(
        state=state,
        reason=stop.reason,
        trials=counts,
        best_number=best,
        outside_training=outside,
        time_s=time.time(),
    )
