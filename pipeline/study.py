"""The commands as Python functions, for notebooks and scripts: compose, sweep, resume, look, build
and predict, without a trace in the process that calls them.
"""

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_core.errors import InputError
from pipeline import export, final, journal
from pipeline.bundle.exported_model import ExportedModel
from pipeline.configuration import SWEEP, Config, override
from pipeline.configuration.compose import compose as composed
from pipeline.configuration.hydra_tree import search_path_override
from pipeline.configuration.named_plugins import load_named
from pipeline.configuration.overrides import Value
from pipeline.configuration.termination import RunFailed, terminable
from pipeline.configuration.tree import FREE_SECTIONS
from pipeline.configuration.typed_tree import forget_trees
from pipeline.configuration.undisturbed import undisturbed
from pipeline.events import State
from pipeline.files import check_enclosed, check_root
from pipeline.report import write_report
from pipeline.slots.owner_lock import is_locked
from pipeline.slots.stop_request import FAILED, HUNG_UP, INTERRUPTED, TERMINATED
from pipeline.trial_folder import TrialFolder
from pipeline.whole_sweep import run_whole

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from pipeline.reporting.notebook import ReportPage
    from pipeline.reporting.table import StudyTable


def compose(
    *overrides: str,
    config_dir: str | Path | None = None,
    quiet: bool = False,
    verbose: bool = False,
    **values: Any,
) -> Config:
    """Return the configuration of a sweep: overrides as on the command line, then keywords with
    Python's values (``root=Path("out")``, ``budget={"trials": 8}``), checked as there.

    config_dir: a folder with files of one's own, read anew each time. Raises InputError.
    """
    texts = _texts(overrides, values)
    if config_dir is not None:
        folder = Path(config_dir).expanduser()
        if not folder.is_dir():
            raise InputError(f"config_dir: must be a folder, got {str(config_dir)!r}")
        texts.insert(0, search_path_override([str(folder.resolve())]))
    forget_trees()  # files may have changed since the process began
    config = composed(load_named(texts), SWEEP, quiet=quiet, verbose=verbose)
    check_root(config.root)
    check_enclosed(config.paths.folder, config.root)
    return config


def sweep(*overrides: str, **settings: Any) -> "Study":
    """Run the sweep that ``compose(*overrides, **settings)`` describes, or go on with it where it
    was begun before; return its study.

    Ctrl-C pauses it: the study is returned, its state "paused", and the same call resumes. Raises
    InputError for whatever the command refuses, RunFailed where the sweep cannot go on.
    """
    return _swept(compose(*overrides, **settings))


def open_study(name: str, root: str | Path = "outputs", storage: str | None = None) -> "Study":
    """Return an existing study for looking and building, also while another process sweeps it.

    storage: the URL of its database where that is not the file in its folder. Raises InputError
    with the names of the studies that there are.
    """
    study = Study(compose(root=root, study={"name": name, "storage": storage}), resumable=False)
    study.optuna  # noqa: B018 - it must exist
    return study


@dataclass(frozen=True)
class BestTrial:
    """The trial to use. Composing `overrides` gives its configuration; `params` are those of them
    that the search chose, by path; `history` holds a row an epoch, a column a metric.
    """

    number: int
    values: Mapping[str, float]  # objective -> value
    overrides: tuple[str, ...]
    params: Mapping[str, Value]
    history: "pd.DataFrame"

    @property
    def value(self) -> float:
        """The first objective."""
        return next(iter(self.values.values()))


class Study:
    """A study as its files have it now: each look reads them again, so it may be running."""

    def __init__(self, config: Config, *, resumable: bool = True) -> None:
        """`config` names the study; `resumable`: it is the one that the study was swept with."""
        self.config = config
        self.name, self.folder = config.study.name, config.paths.folder
        self._resumable = resumable

    @property
    def state(self) -> str:
        """running (in any process on this machine), complete, or paused: resumable."""
        if is_locked(self.config.paths.owner):
            return "running"
        from pipeline.search.run_sweep import ENDED

        return "complete" if self.optuna.user_attrs.get(ENDED, -1) >= 0 else "paused"

    @property
    def optuna(self) -> "optuna.Study":
        """The Optuna study, for its own analyses and plots; whatever would write to it raises
        InputError.
        """
        from pipeline.search.open_study import read_study

        return read_study(self.config.paths, self.config.study.storage)

    @property
    def trials(self) -> "pd.DataFrame":
        """The trials as a table: number, state, a column an objective, epochs, seconds, and a
        column a searched path, named as its override is.
        """
        from pipeline.reporting.data_frames import trials_frame

        return trials_frame(self._table().trials, self._objectives)

    @property
    def best(self) -> BestTrial | None:
        """The best complete trial by the program's one ranking, None while there is none."""
        from pipeline.reporting.best_trials import best_of
        from pipeline.reporting.data_frames import history_frame, params_of
        from pipeline.search.fingerprint import BASE

        row = best_of(self._table())
        if row is None:
            return None
        history = TrialFolder(self.config.paths.trial(row.number)).history()
        return BestTrial(
            row.number,
            dict(zip(self._objectives, row.objective, strict=True)),
            (*self.optuna.user_attrs.get(BASE, ()), *row.overrides),
            params_of(row),
            history_frame(history),
        )

    def resume(self, *overrides: str, **values: Any) -> "Study":
        """Sweep on, with overrides added such as ``budget.trials=40``; return the study. Raises
        InputError for a study that was only opened: how it was swept, `sweep` must be told.
        """
        if not self._resumable:
            raise InputError(
                f"study {self.name!r}: was opened by its name alone; to go on, call sweep(...) "
                "with the overrides that it was swept with"
            )
        return _swept(self._with(overrides, values))

    def report(self) -> "ReportPage":
        """Write the study's page and return its path; a notebook shows the page."""
        from pipeline.reporting.notebook import ReportPage

        return ReportPage(write_report(self.config))

    def build(self, *overrides: str, **values: Any) -> ExportedModel:
        """Train the final models, join them and export them; return the model. What is trained
        already is not trained again.

        overrides: such as ``final.members=3``. Raises KeyboardInterrupt after Ctrl-C, with every
        finished epoch kept; InputError and RunFailed as `sweep` does.
        """
        config = self._with(overrides, values)
        with undisturbed(), terminable():
            _pass_on(final.main(config.acting_as(final.FINAL)))
            keys = export.ExportKeys(onnx=find_spec("onnxruntime") is not None)
            export.main(replace(config.acting_as(export.COMMAND), arguments=keys))
        return self.model

    @property
    def model(self) -> ExportedModel:
        """The exported model. Raises InputError where none was built."""
        return ExportedModel(self.config.paths.bundle)

    def __repr__(self) -> str:
        from pipeline.reporting.notebook import counted

        best = self.best
        found = "" if best is None else f", best trial {best.number}: {dict(best.values)}"
        return (
            f"study {self.name!r} in {self.folder}: {self.state}, {counted(self._table())}{found}"
        )

    def _repr_html_(self) -> str:
        from pipeline.reporting.notebook import study_card

        return study_card(self._table(), self.state, self._objectives)

    @property
    def _objectives(self) -> tuple[str, ...]:
        return tuple(json.loads(self._fingerprint["study.objectives"]))

    @property
    def _fingerprint(self) -> dict[str, str]:
        from pipeline.search.fingerprint import FINGERPRINT

        return dict(self.optuna.user_attrs[FINGERPRINT])

    def _table(self) -> "StudyTable":
        """Return the study's trials; those that wait for their first epoch are left out."""
        from pipeline.reporting.table import table_of
        from pipeline.search.fingerprint import chosen_overrides

        study = self.optuna
        mark = self._fingerprint
        begun = {trial.number: trial for trial in study.get_trials(deepcopy=False) if trial.params}
        table = table_of(study, self.folder, journal.read_all(self.folder))
        table.trials = [row for row in table.trials if row.number in begun]
        running = is_locked(self.config.paths.owner)
        for row in table.trials:
            row.overrides = chosen_overrides(mark, row.suggested)
            frozen = begun[row.number].state
            if not frozen.is_finished():
                alive = running and frozen.name == "RUNNING"
                row.state = State.RUNNING if alive else State.INTERRUPTED
        return table

    def _with(self, overrides: Sequence[str], values: Mapping[str, Any]) -> Config:
        """Return the study's configuration with overrides in place of its own of the same keys."""
        added = _texts(overrides, values)
        keys = {text.partition("=")[0] for text in added}
        kept = [text for text in self.config.overrides if text.partition("=")[0] not in keys]
        return compose(*kept, *added, quiet=self.config.quiet, verbose=self.config.verbose)


def _texts(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Return what a caller gave as overrides, keywords last. Raises InputError."""
    for given in overrides:
        if not isinstance(given, str):
            raise InputError(f"override: must be a text such as 'budget.trials=8', got {given!r}")
    return [*overrides, *_written(values)]


def _written(values: Mapping[str, Any]) -> list[str]:
    """Return keywords as overrides: a section's mapping as one override a key."""
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in FREE_SECTIONS:
            found += _written({f"{key}.{name}": each for name, each in value.items()})
        else:
            found.append(override(key, value))
    return found


def _swept(config: Config) -> Study:
    with undisturbed():
        try:
            with terminable():
                _pass_on(run_whole(config))
        except KeyboardInterrupt:
            if config.study.storage is None and not config.paths.study_db.exists():
                raise  # before there was a study to return
            print("interrupted; the same call resumes")
    return Study(config)


def _pass_on(code: int) -> None:
    """Raise for an exit code what a caller in Python expects; signals go to the process's own
    handlers, now that nothing is left open.
    """
    if code == INTERRUPTED:
        raise KeyboardInterrupt("the same call resumes")
    if code in (TERMINATED, HUNG_UP):
        signal.raise_signal(signal.Signals(code - 128))
    if code == FAILED:
        raise RunFailed("it failed for the reason printed above; once that is fixed, it resumes")
