"""Events to MLflow calls: a study is one parent run, a trial a child run. Replaying an event twice changes nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.search.events import EpochDone, Event, StudyEnded, StudyStarted, TrialEnded, TrialRetried, TrialStarted
from pipeline.tracking import pictures
from pipeline.tracking.store import Store, is_refusal, redact

if TYPE_CHECKING:
    from mlflow.entities import Metric

STATUS = {"COMPLETE": "FINISHED", "FAIL": "FAILED", "PRUNED": "KILLED", "INTERRUPTED": "KILLED"}
METRICS_PER_CALL = 1000
_TAG_LENGTH = 5000
_PARAM_LENGTH = 6000
_DIGEST_LENGTH = 36


@dataclass
class Trial:
    """What the journal has told of a trial so far; kept to draw its curves and to log an epoch once."""

    number: int
    name: str = ""
    run_id: str | None = None
    retries: int = 0
    worker_pid: int | None = None
    epochs: dict[int, EpochDone] = field(default_factory=dict)
    unsent: list["Metric"] = field(default_factory=list)


class Replay:
    """Applies a study's events to a store, in order.

    `remember` takes an event that the store already holds (only state is built); `apply` sends it. The first report of an
    epoch counts: an epoch that a resumed trial repeats keeps its first time stamp and value. Metrics are gathered and sent by
    `flush`, many to a call. Runs are found again by tags (`study_id`, `trial`), so a call whose acknowledgement was lost
    is not made twice.
    """

    def __init__(
        self, store: Store, study_id: str, folder: Path, *, figures: bool = True, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self._store = store
        self._client = store.client
        self._study_id = study_id
        self._folder = folder
        self.skipped: list[str] = []
        self._figures = figures
        self._on_progress = on_progress
        self._trials: dict[int, Trial] = {}
        self._study: StudyStarted | None = None
        self._parent: str | None = None
        self._find_runs()

    @property
    def has_parent(self) -> bool:
        return self._parent is not None

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
                self._tag(self._run(event.number), {"retries": self._trial(event.number).retries, "retry_reason": event.reason})
            case TrialEnded():
                self._end_trial(event)
            case StudyEnded():
                self._end_study(event)

    def flush(self) -> None:
        """Sends the metrics gathered so far."""
        for trial in self._trials.values():
            self._send(trial)

    def _send(self, trial: Trial) -> None:
        while trial.unsent:
            try:
                self._client.log_batch(self._run(trial.number), metrics=trial.unsent[:METRICS_PER_CALL])
            except Exception as error:
                if not is_refusal(error):
                    raise
                self.skipped.append(redact(f"metrics of trial {trial.number}: {error}"))
            del trial.unsent[:METRICS_PER_CALL]

    def _find_runs(self) -> None:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._store.experiment_id], f"tags.study_id = '{self._study_id}'", max_results=1000, page_token=token
            )
            for run in page:
                number = run.data.tags.get("trial")
                if number is None:
                    self._parent = run.info.run_id
                else:
                    self._trial(int(number)).run_id = run.info.run_id
            token = page.token
            if not token:
                return

    def _trial(self, number: int) -> Trial:
        return self._trials.setdefault(number, Trial(number))

    def _run(self, number: int) -> str:
        """The child run of a trial, made if the journal begins in the middle of it."""
        trial = self._trial(number)
        if trial.run_id is None:
            trial.run_id = self._create(trial.name or f"t{number:03d}", {"trial": str(number)}, None)
        return trial.run_id

    def _create(self, name: str, tags: Mapping[str, str], time_s: float | None) -> str:
        own = {"study_id": self._study_id, "mlflow.source.type": "LOCAL", "mlflow.source.name": "pipeline.sweep"}
        if self._study is not None:
            own |= {"study": self._study.study, "seed": str(self._study.seed)} | dict(self._study.tags)
            if code := self._study.tags.get("code"):
                own["mlflow.source.git.commit"] = code
        if self._parent is not None:
            own["mlflow.parentRunId"] = self._parent
        clean = {key: redact(value)[:_TAG_LENGTH] for key, value in (own | dict(tags)).items()}
        started = None if time_s is None else _milliseconds(time_s)
        run = self._client.create_run(self._store.experiment_id, start_time=started, tags=clean, run_name=name)
        return str(run.info.run_id)

    def _tag(self, run_id: str, tags: Mapping[str, object]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(run_id, tags=[RunTag(key, redact(str(value))[:_TAG_LENGTH]) for key, value in tags.items()])

    def _start_study(self, event: StudyStarted) -> None:
        if self._parent is None:
            self._parent = self._create(event.study, {"state": "RUNNING"}, event.time_s)
        else:
            self._client.update_run(self._parent, status="RUNNING")
        wanted = "by time" if event.total is None else event.total
        about = {"state": "RUNNING", "mlflow.note.content": event.note, "slots": event.slots, "trials_wanted": wanted}
        self._tag(self._parent, {**event.tags, **about, "directions": ", ".join(event.directions)})
        self._client.log_text(self._parent, redact(event.config_yaml), "configuration.yaml")
        self._log_data(self._parent, event)

    def _log_data(self, run_id: str, event: StudyStarted) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, digest = event.tags.get("data"), event.tags.get("data_digest")
        if name and digest:
            data = Dataset(name=name, digest=digest[:_DIGEST_LENGTH], source_type="local", source=f'{{"sha256": "{digest}"}}')
            self._client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "training")])])

    def _start_trial(self, event: TrialStarted) -> None:
        from mlflow.entities import Param, RunTag

        trial = self._trial(event.number)
        new = trial.run_id is None
        tags = {"trial": str(event.number), "seed": str(event.seed), "state": "RUNNING", "slot": str(event.slot)}
        if trial.run_id is None:
            trial.run_id = self._create(event.name, tags, event.time_s)
        else:
            self._client.update_run(trial.run_id, status="RUNNING", name=event.name)
        params = [Param(key, _short(value)) for key, value in event.params.items()]
        changed = [RunTag(key, value) for key, value in tags.items()]
        self._client.log_batch(
            trial.run_id, params=params[:100], tags=[*changed, RunTag("overrides", " ".join(event.overrides)[:_TAG_LENGTH])]
        )
        if new and self._study is not None:
            self._log_data(trial.run_id, self._study)

    def _epoch(self, event: EpochDone) -> None:
        from mlflow.entities import Metric

        trial = self._trial(event.number)
        if event.worker_pid != trial.worker_pid:
            self._tag(self._run(event.number), {"worker_pid": event.worker_pid})
            trial.worker_pid = event.worker_pid
        first = trial.epochs.setdefault(event.epoch, event)
        if first is event:
            time_ms = _milliseconds(event.time_s)
            trial.unsent.extend(Metric(key, float(value), time_ms, event.epoch) for key, value in event.metrics.items())

    def _end_trial(self, event: TrialEnded) -> None:
        from mlflow.entities import Metric

        run_id, trial, time_ms = self._run(event.number), self._trial(event.number), _milliseconds(event.time_s)
        names = ["objective", *(f"objective_{i}" for i in range(2, len(event.objective) + 1))]
        values = {"duration_s": event.duration_s, **event.extra, **dict(zip(names, event.objective, strict=False))}
        self._client.log_batch(run_id, metrics=[Metric(key, float(value), time_ms, event.epochs) for key, value in values.items()])
        self._tag(run_id, {"state": event.state, "reason": event.reason, "epochs": event.epochs})
        if event.state != "INTERRUPTED":
            history = {epoch: done.metrics for epoch, done in sorted(trial.epochs.items())}
            pictures.log_artifacts(self._client, run_id, pictures.trial_artifacts(event, trial.name, history, figures=self._figures))
        self._client.set_terminated(run_id, STATUS.get(event.state, "FAILED"), time_ms)

    def _end_study(self, event: StudyEnded) -> None:
        from mlflow.entities import Metric

        if self._parent is None:
            return
        time_ms = _milliseconds(event.time_s)
        counts = {f"trials_{state.lower()}": float(count) for state, count in event.trials.items()}
        values = {**counts, "outside_training": event.outside_training}
        self._client.log_batch(self._parent, metrics=[Metric(key, float(value), time_ms, 0) for key, value in values.items()])
        best = "" if event.best_number is None else str(event.best_number)
        self._tag(self._parent, {"state": event.state, "reason": event.reason, "best_trial": best})
        self._client.set_terminated(self._parent, STATUS.get(event.state, "FAILED"), time_ms)
        if self._figures and self._study is not None:
            for makers, run_id in self._overviews(event.best_number):
                for name, make in makers.items():
                    pictures.log_artifacts(self._client, run_id, {name: make()})
                    self._on_progress()

    def _overviews(self, best: int | None) -> Iterator[tuple[Mapping[str, Callable[[], bytes]], str]]:
        """What is drawn at the end: (file name -> maker, run), for the study and for its best trial."""
        table = None if self._study is None else pictures.read_table(self._folder, self._study.study, None)
        if table is not None and self._parent is not None:
            yield pictures.study_artifacts(table), self._parent
        if best is not None:
            from pipeline.tracking.net_pictures import net_artifacts

            yield net_artifacts(self._folder / "trials" / str(best)), self._run(best)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def _short(value: object) -> str:
    return redact(f"{value:.6g}" if isinstance(value, float) else str(value))[:_PARAM_LENGTH]
