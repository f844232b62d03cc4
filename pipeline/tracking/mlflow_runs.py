"""Events to MLflow calls: a study is one parent run, a trial a child run, found again by tags.
Replaying an event twice changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.events import (
    EpochDone,
    Event,
    Scalar,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.redact import redact
from pipeline.reporting.table import confirmed_metrics
from pipeline.tracking import run_files
from pipeline.tracking.store import Store, is_refusal

if TYPE_CHECKING:
    from mlflow.entities import Metric


METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
_TAG_LENGTH = 5000
_PARAM_LENGTH = 6000
_DIGEST_LENGTH = 36


class Runs:
    """The parent run of a study and its child runs. Raises what MLflow raises.

    Runs are found by the tags `study_id` and `trial`, so one whose making was not acknowledged is
    not made twice.
    """

    def __init__(self, store: Store, study_id: str) -> None:
        self.client = store.client
        self.parent: str | None = None
        self.children: dict[int, str] = {}
        self._experiment_id, self._study_id = store.experiment_id, study_id
        self._find()

    def _find(self) -> None:
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self._experiment_id],
                f"tags.study_id = '{self._study_id}'",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                number = run.data.tags.get("trial")
                if number is None:
                    self.parent = run.info.run_id
                else:
                    self.children[int(number)] = run.info.run_id
            token = page.token
            if not token:
                return

    def create(
        self, name: str, tags: Mapping[str, str], study: StudyStarted | None, time_s: float | None
    ) -> str:
        """Makes a run, below the parent if there is one, and returns its id."""
        own = {
            "study_id": self._study_id,
            "mlflow.source.type": "LOCAL",
            "mlflow.source.name": "pipeline",
        }
        if study is not None:
            own |= {"study": study.study, "seed": str(study.seed)} | dict(study.tags)
            if code := study.tags.get("code"):
                own["mlflow.source.git.commit"] = code
        if self.parent is not None:
            own["mlflow.parentRunId"] = self.parent
        clean = {key: _tag_value(value) for key, value in (own | dict(tags)).items()}
        started = None if time_s is None else milliseconds(time_s)
        run = self.client.create_run(
            self._experiment_id, start_time=started, tags=clean, run_name=name
        )
        return str(run.info.run_id)

    def tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Sets tags in one call."""
        from mlflow.entities import RunTag

        self.client.log_batch(
            run_id, tags=[RunTag(key, _tag_value(value)) for key, value in tags.items()]
        )

    def describe(
        self, run_id: str, params: Mapping[str, Scalar], tags: Mapping[str, object]
    ) -> None:
        """Sets parameters and tags in one call."""
        from mlflow.entities import Param, RunTag

        told = [Param(key, _param_value(value)) for key, value in params.items()][:PARAMS_PER_CALL]
        self.client.log_batch(
            run_id,
            params=told,
            tags=[RunTag(key, _tag_value(value)) for key, value in tags.items()],
        )

    def measure(
        self,
        run_id: str,
        values: Mapping[str, float],
        time_s: float,
        step: int,
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Logs metrics and tags in one call."""
        from mlflow.entities import RunTag

        told = [RunTag(key, _tag_value(value)) for key, value in (tags or {}).items()]
        self.client.log_batch(run_id, metrics=list(metrics_of(values, time_s, step)), tags=told)

    def use_data(self, run_id: str, study: StudyStarted) -> None:
        """Logs the training data set with its digest, where the study names one."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = study.tags.get("data"), study.tags.get("data_digest")
        if name and digest:
            data = Dataset(
                name=name,
                digest=digest[:_DIGEST_LENGTH],
                source_type="local",
                source=f'{{"sha256": "{digest}"}}',
            )
            self.client.log_inputs(
                run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])]
            )


def metrics_of(values: Mapping[str, float], time_s: float, step: int) -> Iterable["Metric"]:
    """The values as MLflow's metrics."""
    from mlflow.entities import Metric

    return (Metric(key, float(value), milliseconds(time_s), step) for key, value in values.items())


def milliseconds(time_s: float) -> int:
    """Seconds of the wall clock as MLflow counts time."""
    return round(time_s * 1000)


def _tag_value(value: object) -> str:
    return redact(str(value))[:_TAG_LENGTH]


def _param_value(value: Scalar) -> str:
    return redact(f"{value:.6g}" if isinstance(value, float) else str(value))[:_PARAM_LENGTH]


STATUS = {"COMPLETE": "FINISHED", "FAIL": "FAILED", "PRUNED": "KILLED", "INTERRUPTED": "KILLED"}


@dataclass
class Trial:
    """What the journal has told of a trial so far; kept to draw its curves and to log an epoch
    once.
    """

    number: int
    name: str = ""
    retries: int = 0
    worker_pid: int | None = None
    epochs: dict[int, EpochDone] = field(default_factory=dict)
    unsent: list["Metric"] = field(default_factory=list)


class Replay:
    """Applies a study's events to a store, in order.

    `remember` takes an event that the store already holds (only state is built); `apply` sends it.
    The first report of an epoch counts: an epoch that a resumed trial repeats keeps its first time
    stamp and value. Metrics are gathered and sent by `flush`, many to a call. `skipped` lists what
    the store refused for good.
    """

    def __init__(
        self,
        store: Store,
        study_id: str,
        folder: Path,
        *,
        figures: bool = True,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.skipped: list[str] = []
        self._runs = Runs(store, study_id)
        self._folder = folder
        self._figures = figures
        self._on_progress = on_progress
        self._trials: dict[int, Trial] = {}
        self._study: StudyStarted | None = None

    @property
    def has_parent(self) -> bool:
        return self._runs.parent is not None

    def remember(self, event: Event) -> None:
        match event:
            case StudyStarted():
                self._study = event
            case TrialStarted(number=number, name=name):
                self._trial(number).name = name
            case EpochDone(number=number):
                self._trial(number).epochs.setdefault(event.epoch, event)
            case TrialRetried(number=number):
                self._trial(number).retries += 1

    def apply(self, event: Event) -> None:
        if isinstance(event, StudyEnded):
            self.flush()
        elif isinstance(event, TrialStarted | TrialRetried | TrialEnded):
            self._send(self._trial(event.number))
        match event:
            case StudyStarted():
                self.remember(event)
                self._start_study(event)
            case TrialStarted():
                self.remember(event)
                self._start_trial(event)
            case EpochDone():
                self._epoch(event)
            case TrialRetried():
                self.remember(event)
                tags = {"retries": self._trial(event.number).retries, "retry_reason": event.reason}
                self._runs.tag(self._run(event.number), tags)
            case TrialEnded():
                self._end_trial(event)
            case StudyEnded():
                self._end_study(event)

    def rehearse(self, interrupted: Callable[[], bool]) -> bool:
        """Draws the study's pictures as they are now and drops them; tells whether there was
        anything to draw yet.
        """
        table = (
            None if self._study is None else run_files.read_table(self._folder, self._study.study)
        )
        if table is None or len(table.complete) < run_files.FEWEST_FOR_OVERVIEW:
            return False
        from pipeline.reporting import net_pictures  # noqa: F401 - the best trial's net is drawn at the end

        for name, make in run_files.study_artifacts(table).items():
            if interrupted():
                break
            if name.startswith(("pictures/", "interactive")):
                make()
        return True

    def flush(self) -> None:
        """Sends the metrics gathered so far."""
        for trial in self._trials.values():
            self._send(trial)

    def _send(self, trial: Trial) -> None:
        while trial.unsent:
            try:
                self._runs.client.log_batch(
                    self._run(trial.number), metrics=trial.unsent[:METRICS_PER_CALL]
                )
            except Exception as error:
                if not is_refusal(error):
                    raise
                self.skipped.append(redact(f"metrics of trial {trial.number}: {error}"))
            del trial.unsent[:METRICS_PER_CALL]

    def _trial(self, number: int) -> Trial:
        return self._trials.setdefault(number, Trial(number))

    def _run(
        self, number: int, tags: Mapping[str, str] | None = None, time_s: float | None = None
    ) -> str:
        """The child run of a trial, made if there is none yet (also where the journal begins in the
        middle of it).
        """
        if number not in self._runs.children:
            name = self._trial(number).name or f"t{number:03d}"
            self._runs.children[number] = self._runs.create(
                name, {"trial": str(number), **(tags or {})}, self._study, time_s
            )
        return self._runs.children[number]

    def _start_study(self, event: StudyStarted) -> None:
        runs = self._runs
        if runs.parent is None:
            runs.parent = runs.create(event.study, {"state": "RUNNING"}, event, event.time_s)
        else:
            runs.client.update_run(runs.parent, status="RUNNING")
        wanted = "by time" if event.total is None else event.total
        about = {
            "state": "RUNNING",
            "mlflow.note.content": event.note,
            "slots": event.slots,
            "trials_wanted": wanted,
        }
        runs.tag(runs.parent, {**event.tags, **about, "directions": ", ".join(event.directions)})
        runs.client.log_text(runs.parent, redact(event.config_yaml), "configuration.yaml")
        runs.use_data(runs.parent, event)

    def _start_trial(self, event: TrialStarted) -> None:
        runs = self._runs
        tags = {
            "seed": str(event.seed),
            "state": "RUNNING",
            "slot": str(event.slot),
            "overrides": " ".join(event.overrides),
        }
        new = event.number not in runs.children
        run_id = self._run(event.number, tags, event.time_s)
        if not new:
            runs.client.update_run(run_id, status="RUNNING", name=event.name)
        runs.describe(run_id, event.params, tags)
        if new and self._study is not None:
            runs.use_data(run_id, self._study)

    def _epoch(self, event: EpochDone) -> None:
        trial = self._trial(event.number)
        if event.worker_pid != trial.worker_pid:
            self._runs.tag(self._run(event.number), {"worker_pid": event.worker_pid})
            trial.worker_pid = event.worker_pid
        if trial.epochs.setdefault(event.epoch, event) is event:
            trial.unsent.extend(metrics_of(event.metrics, event.time_s, event.epoch))

    def _end_trial(self, event: TrialEnded) -> None:
        runs, run_id, trial = self._runs, self._run(event.number), self._trial(event.number)
        names = ["objective", *(f"objective_{i}" for i in range(2, len(event.objective) + 1))]
        values = {
            "duration_s": event.duration_s,
            **event.extra,
            **dict(zip(names, event.objective, strict=False)),
        }
        runs.measure(
            run_id,
            values,
            event.time_s,
            event.epochs,
            {"state": event.state, "reason": event.reason, "epochs": event.epochs},
        )
        if event.state != "INTERRUPTED":
            history = {epoch: done.metrics for epoch, done in sorted(trial.epochs.items())}
            files = run_files.trial_artifacts(event, trial.name, history, figures=self._figures)
            run_files.log_artifacts(runs.client, run_id, files)
        runs.client.set_terminated(
            run_id, STATUS.get(event.state, "FAILED"), milliseconds(event.time_s)
        )

    def _end_study(self, event: StudyEnded) -> None:
        runs, parent = self._runs, self._runs.parent
        if parent is None:
            return
        counts = {f"trials_{state.lower()}": float(count) for state, count in event.trials.items()}
        best = "" if event.best_number is None else str(event.best_number)
        figures = {**counts, "outside_training": event.outside_training, **event.figures}
        runs.measure(
            parent,
            figures,
            event.time_s,
            0,
            {"state": event.state, "reason": event.reason, "best_trial": best},
        )
        for number, values in confirmed_metrics(self._folder).items():
            runs.measure(self._run(number), values, event.time_s, 0)
        runs.client.set_terminated(
            parent, STATUS.get(event.state, "FAILED"), milliseconds(event.time_s)
        )
        if self._figures and self._study is not None:
            for makers, run_id in self._overviews(self._study.study, parent, event.best_number):
                for name, make in makers.items():
                    run_files.log_artifacts(runs.client, run_id, {name: make()})
                    self._on_progress()

    def _overviews(
        self, study: str, parent: str, best: int | None
    ) -> Iterator[tuple[Mapping[str, Callable[[], bytes]], str]]:
        """What is drawn at the end: (file name -> maker, run), for the study and for its best
        trial.
        """
        table = run_files.read_table(self._folder, study)
        if table is not None:
            yield run_files.study_artifacts(table), parent
        if best is not None:
            from pipeline.reporting.net_pictures import net_artifacts

            yield net_artifacts(self._folder / "trials" / str(best)), self._run(best)
