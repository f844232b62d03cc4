"""Nets that `pipeline.train` trained alone, read from the files below ``<study>/train``."""

from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.text import Text

from cnn_core.errors import InputError
from pipeline.config import compose
from pipeline.files import StudyPaths, TrialPaths
from pipeline.reporting.table import TrialRow
from pipeline.search.problem import trial_name
from pipeline.search.trial_folder import TrialRecord, read_history
from pipeline.showing.studies import print_one, print_rows


@dataclass(frozen=True)
class TrainedNet:
    """One net: its folder, what is known of it, the overrides that compose it."""

    folder: Path
    row: TrialRow
    overrides: tuple[str, ...]


def trained_nets(paths: StudyPaths) -> list[TrainedNet]:
    """Return the nets of a study's name that were trained alone, the best first, those without an
    objective last.
    """
    nets = [_read(file.parent) for file in sorted(paths.folder.glob("train/*/overrides.yaml"))]
    return sorted(nets, key=lambda net: -net.row.value if net.row.objective else 1.0)


def _read(folder: Path) -> TrainedNet:
    content = yaml.safe_load((folder / "overrides.yaml").read_text(encoding="utf-8"))
    overrides = tuple(str(text) for text in content["overrides"])
    record, number = TrialRecord(TrialPaths(folder)), int(content["number"])
    history = dict(enumerate(read_history(record.paths), 1))
    outcome = record.result(None)
    row = TrialRow(
        number,
        name=trial_name(number, compose(overrides)),
        epochs=len(history),
        history=history,
        seed=content["seed"][0],
    )
    row.state, row.duration_s = "INTERRUPTED", sum(epoch["epoch_s"] for epoch in history.values())
    if outcome is not None:
        row.state, row.reason, row.objective, row.duration_s = (
            outcome.state,
            outcome.reason,
            outcome.values,
            outcome.duration_s,
        )
    return TrainedNet(folder, row, overrides)


def print_nets(console: Console, nets: list[TrainedNet], study: str) -> None:
    """Print a line a net; the whole of it where there is one alone."""
    console.print(
        Text(
            f"trained alone as {study}: {len(nets)} {'net' if len(nets) == 1 else 'nets'}",
            style="bold",
        )
    )
    print_rows(console, "net", [(net.folder.name, net.row, net is nets[0]) for net in nets])
    console.print(
        f"one of them: python -m pipeline.show study.name={study} net={nets[0].folder.name}",
        markup=False,
        soft_wrap=True,
    )


def print_net(console: Console, nets: list[TrainedNet], wanted: str) -> None:
    """Print one net: how it went, its configuration, its curves, where it is. Raises InputError
    unless `wanted` begins one name alone.
    """
    found = [net for net in nets if net.folder.name.startswith(wanted)]
    if len(found) != 1:
        names = ", ".join(net.folder.name for net in nets) or "none"
        raise InputError(
            f"net: must begin the name of one net that pipeline.train trained ({names}), got "
            f"{wanted!r}"
        )
    net = found[0]
    console.print(Text(f"net {net.folder.name}: {net.row.name}", style="bold"))
    print_one(console, net.row, net.overrides)
    console.print(f"\nin {net.folder}", markup=False, soft_wrap=True)
