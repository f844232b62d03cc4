"""A study's events as calls to MLflow, in order; an event that is applied twice changes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.events import (
    EpochDone,
    Event,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.redact import redact
from pipeline.reporting.table import confirmed_metrics
from pipeline.tracking import run_files
from pipeline.tracking.mlflow_runs import Runs, metrics_of, milliseconds
from pipeline.tracking.mlflow_view import share_view
from pipeline.tracking.store import Store, Target, is_refusal

if TYPE_CHECKING:
    from mlflow.entities import Metric

METRICS_PER_CALL = 1000
STATUS = {
    "COMPLETE": "FINISHED",
    "FAIL": "FAILED",
    "PRUNED": "KILLED",
    "INTERRUPTED": "KILLED",
    "PAUSED": "SCHEDULED",
}


@dataclass
class ReplayedTrial:
    """What the journal has recorded of a trial so far; kept to draw its curves and to log each
    epoch only once.
    """

    number: int
    name: str = ""
    retries: int = 0
    worker_pid: int | None = None
    was_paused: bool = False  # so it may go on although it was told pruned
    epochs: dict[int, EpochDone] = field(default_factory=dict)
    unsent: list["Metric"] = field(default_factory=list)
    unsent_tags: dict[str, object] = field(default_factory=dict)


class Replay:
    """Applies a study's events to a store, in order.

    `remember` takes an event that the store already holds and only builds state; `apply` also sends
    it. The first report of an epoch counts: an epoch that a resumed trial repeats keeps its first
    timestamp and value. Metrics are gathered and sent by `flush`, many to a call. `skipped` lists
    what the store refused for good; `shared` says whether it accepted the study's view.
    """

    def __init__(
        self,
        store: Store,
        study_id: str,
        target: Target,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.skipped: list[str] = []
        self.shared = False
        self._runs = Runs(store, study_id)
        self._experiment_id = store.experiment_id
        self._target = target
        self._on_progress = on_progress
        self._trials: dict[int, ReplayedTrial] = {}
        self._study: StudyStarted | None = None
        # Tags that the starts before this one have given, and this one's too.
        self._before: dict[str, str] = {}
        self._given: dict[str, str] = {}
        self._unnamed: set[int] = set()  # runs created without their trial's name
        self._gathered: set[int] = set()  # trials that have something to send
        self._handlers: Mapping[type[Event], Callable[[Any], None]] = {
            StudyStarted: self._start_study,
            TrialStarted: self._start_trial,
            EpochDone: self._epoch,
            TrialRetried: self._retry,
            TrialEnded: self._end_trial,
            StudyEnded: self._end_study,
        }

    @property
    def has_parent(self) -> bool:
        return self._runs.parent is not None

    @property
    def remark(self) -> str:
        """What the user should know of runs that were deleted, "" if none were."""
        return self._runs.about_deleted()

    def all_sent(self) -> None:
        """Take runs that remembered events made, and that are not there, for deleted."""
        self._runs.removed(self._trials)

    def remember(self, event: Event) -> None:
        self._note(event)
        self._forget(event)

    def _note(self, event: Event) -> None:
        match event:
            case StudyStarted():
                self._study, self._before = event, self._given
                self._given = self._given | _tags_of(event)
            case TrialStarted(number=number, name=name):
                self._trial(number).name = name
            case EpochDone(number=number):
                self._trial(number).epochs.setdefault(event.epoch, event)
            case TrialRetried(number=number):
                self._trial(number).retries += 1

    def _forget(self, event: Event) -> None:
        """Drop the epochs of a trial that has ended for good: a long study's would fill memory."""
        if isinstance(event, TrialEnded):
            trial = self._trial(event.number)
            trial.was_paused |= event.state == "PAUSED"
            lasting = ("COMPLETE", "FAIL") if trial.was_paused else ("COMPLETE", "FAIL", "PRUNED")
            if event.state in lasting:
                trial.epochs.clear()

    def apply(self, event: Event) -> None:
        self._note(event)
        if getattr(event, "number", None) not in self._runs.deleted:
            self._handlers[type(event)](event)
        self._forget(event)

    def flush(self) -> None:
        """Send the metrics gathered so far."""
        for number in sorted(self._gathered):
            self._send(self._trial(number))

    def _send(self, trial: ReplayedTrial, last: Sequence["Metric"] = ()) -> None:
        """Send a trial's gathered metrics and tags, and `last`, in as few calls as possible."""
        metrics = [*trial.unsent, *last]
        while metrics or trial.unsent_tags:
            try:
                self._runs.measure(
                    self._run(trial.number), metrics[:METRICS_PER_CALL], trial.unsent_tags
                )
            except Exception as error:
                if not is_refusal(error):
                    raise
                self.skipped.append(redact(f"metrics of trial {trial.number}: {error}"))
            del metrics[:METRICS_PER_CALL]
            trial.unsent_tags = {}
        trial.unsent = []
        self._gathered.discard(trial.number)

    def _trial(self, number: int) -> ReplayedTrial:
        return self._trials.setdefault(number, ReplayedTrial(number))

    def _run(
        self, number: int, tags: Mapping[str, str] | None = None, time_s: float | None = None
    ) -> str:
        """The id of a trial's child run, created if there is none yet (also where the journal
        begins in the middle of the trial).
        """
        if number not in self._runs.children:
            name = self._trial(number).name
            if not name:
                name = f"t{number:03d}"
                self._unnamed.add(number)
            self._runs.children[number] = self._runs.create(
                name, {"trial": str(number), **(tags or {})}, self._study, time_s
            )
        return self._runs.children[number]

    def _start_study(self, event: StudyStarted) -> None:
        runs = self._runs
        self.shared = share_view(runs.client, self._experiment_id, event.study)
        if runs.parent_deleted:
            return
        tags = _tags_of(event)
        if runs.parent is None:
            runs.parent = runs.create(
                event.study, {**tags, "state": "RUNNING"}, event, event.time_s
            )
        else:
            # What did not change is left as it is: somebody may have written it anew.
            before = self._before or tags
            changed = {key: value for key, value in tags.items() if before.get(key) != value}
            runs.client.update_run(runs.parent, status="RUNNING")
            runs.tag(runs.parent, {**changed, "state": "RUNNING"})
        runs.client.log_text(runs.parent, redact(event.config_yaml), "configuration.yaml")
        runs.use_data(runs.parent, event)

    def _start_trial(self, event: TrialStarted) -> None:
        runs = self._runs
        self._send(self._trial(event.number))
        tags = {
            "seed": str(event.seed),
            "state": "RUNNING",
            "slot": str(event.slot),
            "overrides": " ".join(event.overrides),
            **({"prior": event.prior} if event.prior else {}),
        }
        new = event.number not in runs.children
        run_id = self._run(event.number, tags, event.time_s)
        if not new:  # its name and what it holds may be the user's by now
            name = event.name if event.number in self._unnamed else None
            runs.client.update_run(run_id, status="RUNNING", name=name)
            tags = {key: tags[key] for key in ("state", "slot")}
        runs.describe(run_id, event.params, tags)
        if new and self._study is not None:
            runs.use_data(run_id, self._study)

    def _epoch(self, event: EpochDone) -> None:
        trial = self._trial(event.number)
        self._gathered.add(event.number)
        if event.worker_pid != trial.worker_pid:
            trial.unsent_tags["worker_pid"] = trial.worker_pid = event.worker_pid
        if trial.epochs[event.epoch] is event:
            trial.unsent.extend(metrics_of(event.metrics, event.time_s, event.epoch))

    def _retry(self, event: TrialRetried) -> None:
        trial = self._trial(event.number)
        trial.unsent_tags |= {"retries": trial.retries, "retry_reason": event.reason}
        self._send(trial)

    def _end_trial(self, event: TrialEnded) -> None:
        runs, run_id, trial = self._runs, self._run(event.number), self._trial(event.number)
        names = ["objective", *(f"objective_{i}" for i in range(2, len(event.objective) + 1))]
        values = {
            "duration_s": event.duration_s,
            **event.extra,
            **dict(zip(names, event.objective, strict=False)),
        }
        trial.unsent_tags |= {"state": event.state, "reason": event.reason, "epochs": event.epochs}
        self._send(trial, list(metrics_of(values, event.time_s, event.epochs)))
        if event.state != "INTERRUPTED":
            history = {epoch: done.metrics for epoch, done in sorted(trial.epochs.items())}
            figures = self._target.figures
            event = replace(event, folder=self._here(event.folder))
            files = run_files.trial_artifacts(event, trial.name, history, figures=figures)
            run_files.log_artifacts(runs.client, run_id, files)
        self._terminate(run_id, event)

    def _end_study(self, event: StudyEnded) -> None:
        self.flush()
        runs, parent = self._runs, self._runs.parent
        if parent is None:
            return
        counts = {f"trials_{state.lower()}": float(count) for state, count in event.trials.items()}
        best = "" if event.best_number is None else str(event.best_number)
        values = {**counts, "outside_training": event.outside_training, **event.figures}
        tags = {"state": event.state, "reason": event.reason, "best_trial": best}
        runs.measure(parent, metrics_of(values, event.time_s, 0), tags)
        for number, found in confirmed_metrics(self._target.folder).items():
            if number not in runs.deleted:
                runs.measure(self._run(number), metrics_of(found, event.time_s, 0))
        self._terminate(parent, event)
        if self._target.figures and self._study is not None:
            files = run_files.study_artifacts(self._target.folder, self._study.study)
            self._on_progress()
            run_files.log_artifacts(runs.client, parent, files)
            self._on_progress()
            if event.best_number is not None and event.best_number not in runs.deleted:
                folder = self._target.folder / "trials" / str(event.best_number)
                files = run_files.best_artifacts(folder)
                run_files.log_artifacts(runs.client, self._run(event.best_number), files)

    def _here(self, folder: Path) -> Path:
        """Return where a folder that the journal names is now: its root may have been copied or
        moved. A folder elsewhere, of a journal that was received, is not looked into.
        """
        root, own = self._target.root.absolute(), self._target.folder.absolute()
        if self._study is not None and own.is_relative_to(root):
            before = self._study.folder
            for _ in own.relative_to(root).parts:
                before = before.parent
            folder = root / folder.relative_to(before) if folder.is_relative_to(before) else folder
        within = root if own.is_relative_to(root) else own
        return folder if folder.resolve().is_relative_to(within.resolve()) else own

    def _terminate(self, run_id: str, event: TrialEnded | StudyEnded) -> None:
        status = STATUS.get(event.state, "FAILED")
        if status == "SCHEDULED":  # such a run has not ended
            self._runs.client.update_run(run_id, status=status)
        else:
            self._runs.client.set_terminated(run_id, status, milliseconds(event.time_s))


def _tags_of(event: StudyStarted) -> dict[str, str]:
    """Return the tags of a study's run, its description only where there is one."""
    note = {"mlflow.note.content": event.note} if event.note else {}
    return {
        **event.tags,
        **note,
        "slots": str(event.slots),
        "trials_wanted": "by time" if event.total is None else str(event.total),
        "directions": ", ".join(event.directions),
    }
