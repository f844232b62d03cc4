"""Nets that `pipeline.train` trained alone, read from the files below ``<study>/train``."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cnn_core.errors import InputError
from pipeline.config import compose
from pipeline.events import State
from pipeline.files import StudyPaths, TrialPaths
from pipeline.reporting.table import TrialRow
from pipeline.search.problem import trial_name
from pipeline.showing.studies import print_one, print_rows
from pipeline.trial_folder import TrialFolder

Nets = Mapping[Path, TrialRow]  # folder -> what is known of the net in it, its overrides whole


def trained_nets(paths: StudyPaths) -> Nets:
    """Return the nets of a study's name that were trained alone, the best first, those without an
    objective last.
    """
    folders = [file.parent for file in sorted(paths.folder.glob("train/*/overrides.yaml"))]
    nets = {folder: _read(folder) for folder in folders}
    best_first = sorted(nets.items(), key=lambda net: -net[1].value if net[1].objective else 1.0)
    return dict(best_first)


def _read(folder: Path) -> TrialRow:
    stored = TrialFolder(TrialPaths(folder)).read()
    row = TrialRow(
        stored.number,
        name=trial_name(stored.number, compose(stored.overrides)),
        state=State.INTERRUPTED,
        overrides=stored.overrides,
        epochs=len(stored.history),
        history=dict(enumerate(stored.history, 1)),
        duration_s=sum(epoch["epoch_s"] for epoch in stored.history),
        seed=stored.seed[0],
    )
    if (ended := stored.ended) is not None:
        row.state, row.reason, row.objective = ended.state, ended.reason, ended.objective
        row.duration_s = ended.duration_s
    return row


def print_nets(console: Console, nets: Nets, study: str) -> None:
    """Print a line a net; the whole of it where there is one alone."""
    first, count = next(iter(nets)), f"{len(nets)} {'net' if len(nets) == 1 else 'nets'}"
    console.print(Text(f"trained alone as {study}: {count}", style="bold"))
    rows = [(folder.name, row, folder is first) for folder, row in nets.items()]
    print_rows(console, "net", rows)
    command = f"python -m pipeline.show study.name={study} net={first.name}"
    console.print(f"one of them: {command}", markup=False, soft_wrap=True)


def print_net(console: Console, nets: Nets, wanted: str) -> None:
    """Print one net: how it went, its configuration, its curves, where it is. Raises InputError
    unless `wanted` begins one name alone.
    """
    found = [folder for folder in nets if folder.name.startswith(wanted)]
    if len(found) != 1:
        names = ", ".join(folder.name for folder in nets) or "none"
        rule = "net: must begin the name of one net that pipeline.train trained"
        raise InputError(f"{rule} ({names}), got {wanted!r}")
    row = nets[found[0]]
    console.print(Text(f"net {found[0].name}: {row.name}", style="bold"))
    print_one(console, row, row.overrides)
    console.print(f"\nin {found[0]}", markup=False, soft_wrap=True)
