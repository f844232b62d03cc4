"""A study's runs in MLflow: one parent run and a child run per trial, identified by tags."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.events import Scalar, StudyStarted
from pipeline.redact import redact
from pipeline.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run, RunTag


PARAMS_PER_CALL = 100
_TAG_LENGTH = 5000
_PARAM_LENGTH = 6000
_DIGEST_LENGTH = 8  # enough to tell data sets apart; the full digest is in the source


class Runs:
    """The parent run of a study and its child runs. Raises what MLflow raises.

    Runs are found by the tags `study_id` and `trial`, so a run whose creation was not acknowledged
    is not created twice.
    """

    def __init__(self, store: Store, study_id: str) -> None:
        self.client = store.client
        self.parent: str | None = None
        self.children: dict[int, str] = {}
        # Runs that somebody deleted stay so: of the study, and of trials by number.
        self.parent_deleted = False
        self.deleted: set[int] = set()
        self._experiment_id, self._study_id = store.experiment_id, study_id
        self._find()

    def _find(self) -> None:
        from mlflow.entities import ViewType

        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self._experiment_id],
                f"tags.study_id = '{self._study_id}'",
                run_view_type=ViewType.ALL,
                max_results=1000,
                page_token=token,
            )
            for run in page:
                self._found(run)
            token = page.token
            if not token:
                break
        self.deleted -= self.children.keys()
        self.parent_deleted = self.parent_deleted and self.parent is None

    def _found(self, run: "Run") -> None:
        number, deleted = run.data.tags.get("trial"), run.info.lifecycle_stage == "deleted"
        if number is None and deleted:
            self.parent_deleted = True
        elif number is None:
            self.parent = run.info.run_id
        elif deleted:
            self.deleted.add(int(number))
        else:
            self.children[int(number)] = run.info.run_id

    def removed(self, numbers: Iterable[int]) -> None:
        """Take what this store has held, and holds no more, for deleted: the study's run, and those
        of the trials of these numbers.
        """
        self.parent_deleted = self.parent is None
        self.deleted |= set(numbers) - self.children.keys()

    def about_deleted(self) -> str:
        """Return a line about deleted runs, "" where there are none."""
        found = ["the study's own"] if self.parent_deleted else []
        if self.deleted:
            found.append(f"{len(self.deleted)} of its trials")
        return f"runs that were deleted there stay so: {' and '.join(found)}" if found else ""

    def create(
        self, name: str, tags: Mapping[str, str], study: StudyStarted | None, time_s: float | None
    ) -> str:
        """Creates a run, as a child of the parent if there is one, and returns its id."""
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
        """Set tags in one call."""
        self.client.log_batch(run_id, tags=_tags(tags))

    def describe(
        self, run_id: str, params: Mapping[str, Scalar], tags: Mapping[str, object]
    ) -> None:
        """Set parameters and tags in one call."""
        from mlflow.entities import Param

        told = [Param(key, _param_value(value)) for key, value in params.items()]
        self.client.log_batch(run_id, params=told[:PARAMS_PER_CALL], tags=_tags(tags))

    def measure(
        self, run_id: str, metrics: Iterable["Metric"], tags: Mapping[str, object] | None = None
    ) -> None:
        """Log metrics and tags in one call."""
        self.client.log_batch(run_id, metrics=list(metrics), tags=_tags(tags or {}))

    def use_data(self, run_id: str, study: StudyStarted) -> None:
        """Logs the training data set with its digest, if the study names both."""
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
    """The values as MLflow metrics."""
    from mlflow.entities import Metric

    return (Metric(key, float(value), milliseconds(time_s), step) for key, value in values.items())


def milliseconds(time_s: float) -> int:
    """Wall-clock seconds as milliseconds, MLflow's unit of time."""
    return round(time_s * 1000)


def _tags(tags: Mapping[str, object]) -> list["RunTag"]:
    from mlflow.entities import RunTag

    return [RunTag(key, _tag_value(value)) for key, value in tags.items()]


def _tag_value(value: object) -> str:
    return redact(str(value))[:_TAG_LENGTH]


def _param_value(value: Scalar) -> str:
    return redact(f"{value:.6g}" if isinstance(value, float) else str(value))[:_PARAM_LENGTH]
