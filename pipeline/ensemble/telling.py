"""Final training as its listeners hear of it: a study of its own whose trials are the nets, so that
journal and MLflow need nothing new.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from cnn_core.spec import Spec
from pipeline import journal
from pipeline.config import Config, compose
from pipeline.events import EpochDone, Event, StudyEnded, StudyStarted, TrialEnded, TrialStarted
from pipeline.files import StudyPaths, TrialPaths, sha256_bytes
from pipeline.records.ensemble_record import Ensemble, write_ensemble
from pipeline.redact import redact
from pipeline.search.problem import model_cost, shown_params
from pipeline.search.run_sweep import run_tags
from pipeline.search.trial_folder import read_history
from pipeline.slots.slot import Slot
from pipeline.slots.stop import FAILED, Stop
from pipeline.tracking.listeners import LogListener, make_listeners

Say = Callable[[str], None]
Row = Mapping[str, float]


@dataclass(frozen=True)
class Job:
    """One net to train."""

    number: int  # its place among the nets of all members
    member: str  # "m1-t017"
    part: str  # what it learns of the images: "fold 2/3" (all but that fold), "all images 1/2"
    spec: Spec
    paths: TrialPaths
    overrides: tuple[str, ...]
    statistics_batches: int

    @property
    def name(self) -> str:
        return f"{self.member} {self.part}"


class NetEvents:
    """Tells of nets as of trials. An epoch that the journal (`known`) lacks, because it was trained
    before there was one, is told late.
    """

    def __init__(self, emit: Callable[[Event], None], known: Sequence[Event] = ()) -> None:
        self._emit = emit
        self._told = {
            (event.number, event.epoch) for event in known if isinstance(event, EpochDone)
        }
        self._complete = {
            event.number
            for event in known
            if isinstance(event, TrialEnded) and event.state == "COMPLETE"
        }
        self.counts: dict[str, int] = {}

    def begin(self, job: Job, rows: Sequence[Row], slot: int, end_s: float | None = None) -> None:
        """Tell that a net begins, or goes on behind `rows`, the last of which ended at `end_s`
        (now).
        """
        time_s = (time.time() if end_s is None else end_s) - sum(row["epoch_s"] for row in rows)
        config = compose(job.overrides)
        started = TrialStarted(
            number=job.number,
            name=f"final {job.name}",
            overrides=job.overrides,
            params={"member": job.member, "part": job.part, **shown_params(config, job.overrides)},
            seed=job.spec.seed[0],
            slot=slot,
            resumed_from=len(rows),
            epochs=job.spec.train.epochs,
            time_s=time_s,
        )
        self._emit(started)
        for epoch, row in enumerate(rows, 1):
            time_s += row["epoch_s"]
            self.epoch(job, epoch, row, slot, 0, time_s)

    def epoch(
        self, job: Job, epoch: int, row: Row, slot: int, pid: int, time_s: float | None = None
    ) -> None:
        """Tell of one epoch, once."""
        if (job.number, epoch) not in self._told:
            self._told.add((job.number, epoch))
            time_s = time.time() if time_s is None else time_s
            self._emit(
                EpochDone(
                    number=job.number,
                    epoch=epoch,
                    metrics=dict(row),
                    slot=slot,
                    worker_pid=pid,
                    time_s=time_s,
                )
            )

    def end(
        self,
        job: Job,
        rows: Sequence[Row],
        state: str,
        reason: str = "",
        time_s: float | None = None,
    ) -> None:
        """Tell how a net's training ended; a complete one's objective is the accuracy on its fold,
        if any, of the weights it hands on.
        """
        self.counts[state] = self.counts.get(state, 0) + 1
        ended = TrialEnded(
            number=job.number,
            state=state,
            reason=reason,
            objective=_objective(job.spec, rows) if state == "COMPLETE" else (),
            epochs=len(rows),
            duration_s=sum(row["epoch_s"] for row in rows),
            folder=job.paths.folder,
            time_s=time.time() if time_s is None else time_s,
            extra=model_cost(job.spec.model, job.spec.data.image_shape, job.spec.data.classes),
        )
        self._emit(ended)

    def found(self, job: Job) -> None:
        """Tell of a net that was trained before, unless the journal holds it."""
        if job.number in self._complete:
            self.counts["COMPLETE"] = self.counts.get("COMPLETE", 0) + 1
        elif rows := read_history(job.paths):
            end_s = job.paths.weights.stat().st_mtime
            self.begin(job, rows, 0, end_s)
            self.end(job, rows, "COMPLETE", time_s=end_s)


def _objective(spec: Spec, rows: Sequence[Row]) -> tuple[float, ...]:
    if spec.data.fold is None:
        return ()
    chosen = (
        min(rows, key=lambda row: row["valid_loss"]) if spec.train.select == "best" else rows[-1]
    )
    return (chosen["valid_accuracy"],)


def runs_folder(paths: StudyPaths, jobs: Sequence[Job]) -> Path:
    """Return where a plan of nets has its journal: the same command goes on in the same runs,
    another plan gets its own.
    """
    return (
        paths.final
        / "runs"
        / sha256_bytes("".join(job.spec.digest() for job in jobs).encode())[:12]
    )


class FinalRuns:
    """The run of one plan of nets: within it, `events` reach the log and MLflow; `outside` and
    `content` are told at the end.
    """

    def __init__(
        self, config: Config, jobs: Sequence[Job], slots: Sequence[Slot], stop: Stop
    ) -> None:
        self.folder = runs_folder(config.paths, jobs)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.outside = 0.0
        self.content: Ensemble | None = None
        self._config, self._jobs, self._slots, self._stop = config, jobs, slots, stop
        self._known = journal.read_all(self.folder)
        self._listeners = make_listeners(config, self.folder, [LogListener(config.paths.log)], stop)
        self.events = NetEvents(self._listeners.emit, self._known)

    def __enter__(self) -> "FinalRuns":
        config = self._config
        tags = run_tags(config, self._jobs[0].spec.data.digest, self._slots[0].machine(), "final")
        started = StudyStarted(
            study=f"{config.study.name} final",
            folder=self.folder,
            note=f"final nets of the study {config.study.name}: members x (folds + refits); "
            f"{config.study.note}".rstrip("; "),
            seed=config.study.seed,
            resumed=bool(self._known),
            total=len(self._jobs),
            slots=len(self._slots),
            directions=("maximize",),
            tags={**tags, "study": config.study.name, "kind": "final"},
            config_yaml=config.yaml,
            time_s=time.time(),
        )
        self._listeners.emit(started)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stop = self._stop
        state = (
            "FAIL"
            if error is not None or stop.exit_code == FAILED
            else "INTERRUPTED"
            if stop.requested
            else "COMPLETE"
        )
        if self.content:
            write_ensemble(self.folder / "ensemble.json", self.content)
        ended = StudyEnded(
            state=state,
            reason=redact(str(error)) if error is not None else stop.reason,
            trials=self.events.counts,
            best_number=None,
            outside_training=self.outside,
            time_s=time.time(),
            figures=ensemble_figures(self.content),
        )
        self._listeners.emit(ended)
        self._listeners.close()


def ensemble_figures(ensemble: Ensemble | None) -> dict[str, float]:
    """Return what MLflow shows of an ensemble: out-of-fold scores and gains; the objective is the
    accuracy on what it is for.
    """
    found: dict[str, float] = {}
    if ensemble is None:
        return found
    for name, score in ensemble.out_of_fold.items():
        found[f"ensemble_{name}_accuracy"] = score.accuracy
        found[f"ensemble_{name}_log_loss"] = score.log_loss
        found[f"best_member_{name}_accuracy"] = score.best_member_accuracy
        found[f"gain_{name}"] = score.gain.gain
        found[f"errors_removed_{name}"] = score.gain.errors_removed
    found["objective"] = found[f"ensemble_{ensemble.chosen_on}_accuracy"]
    found["members"] = float(len(ensemble.members))
    return found


def one_line_at_a_time(say: Say) -> Say:
    """Return `say` for several threads: a line is whole before the next begins."""
    lock = threading.Lock()

    def said(line: str) -> None:
        with lock:
            say(line)

    return said
