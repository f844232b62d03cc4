"""What show prints: a search space as a tree, a study and its trials, and nets trained on their
own, all read without being written to.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import OmegaConf
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cnn_core.errors import InputError, did_you_mean
from cnn_core.measures import ranked_by
from pipeline import journal
from pipeline.configuration import Config, command_of, compose, override
from pipeline.configuration.overrides import literal
from pipeline.events import State
from pipeline.files import StudyPaths, TrialPaths
from pipeline.redact import shown
from pipeline.reporting.table import StudyTable, TrialRow, table_of
from pipeline.search.open_study import read_study
from pipeline.search.parameter import Parameter
from pipeline.search.problem import trial_name
from pipeline.search.space import Space
from pipeline.trial_folder import TrialFolder


def space_tree(space: Space, title: str) -> Tree:
    """Return the tree. A parameter with several conditions is shown under the one decided last; the
    others are named beside it.
    """
    tree = Tree(Text(title, style="bold"))
    order = {name: number for number, name in enumerate(space.names)}
    _add(tree, space, [parameter for parameter in space.parameters if not parameter.when], order)
    return tree


def _add(branch: Tree, space: Space, parameters: list[Parameter], order: dict[str, int]) -> None:
    width = max((len(_label(parameter)) for parameter in parameters), default=0)
    for parameter in parameters:
        dependent = [
            other
            for other in space.parameters
            if other.when and max(other.when, key=order.__getitem__) == parameter.name
        ]
        text = Text(_label(parameter).ljust(width), style="cyan").append(
            f"  {parameter.describe()}", style="default"
        )
        others = sorted(parameter.when, key=order.__getitem__)[:-1]
        if others:
            conditions = ", ".join(
                f"{name}={'|'.join(map(literal, parameter.when[name]))}" for name in others
            )
            text.append(f"  (where {conditions})", style="dim")
        node = branch.add(text)
        for value in parameter.choices if dependent else ():
            under = [other for other in dependent if value in other.when[parameter.name]]
            twig = node.add(Text(literal(value)))
            _add(twig, space, under, order)


def _label(parameter: Parameter) -> str:
    return (
        parameter.path
        if parameter.path == parameter.name
        else f"{parameter.path} ({parameter.name})"
    )


WIDE = 72  # terminal columns from which epochs and times are shown
TRAINED_BY = ("data", "model", "optimizer", "schedule", "regularizer", "augment", "train")


def open_table(config: Config) -> StudyTable:
    """Return the study named in `config`. Raises InputError with the existing names."""
    paths = config.paths
    known = known_studies(config.root)
    storage = config.study.storage
    if storage is None and not paths.study_db.exists():
        names = f"has {', '.join(known)}" if known else "has none"
        raise InputError(
            f"study.name: must be a study of root={config.root}, which {names}, got "
            f"{paths.name!r}{did_you_mean(paths.name, known)}"
        )
    return table_of(read_study(paths, storage), paths.folder, journal.read_all(paths.folder))


def known_studies(root: Path) -> list[str]:
    """Return the names of the studies below `root`."""
    return sorted(
        {path.parent.name for pattern in ("*/study.db", "*/train") for path in root.glob(pattern)}
    )


def print_trials(console: Console, table: StudyTable) -> None:
    """Print one line per trial, and the command that shows a single one."""
    best = table.best
    console.print(
        Text(f"study {table.name}: {len(table.trials)} trials, in {table.folder}", style="bold")
    )
    print_rows(console, "trial", [(str(row.number), row, row is best) for row in table.trials])
    if table.trials:
        number = (best or table.trials[0]).number
        console.print(
            f"one of them: {_command('show', table, number)}", markup=False, soft_wrap=True
        )


def print_rows(console: Console, what: str, rows: Sequence[tuple[str, TrialRow, bool]]) -> None:
    """Print one line per (name, row, whether it is the best)."""
    wide = console.width >= WIDE
    grid = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0)
    )
    for name in (what, "state", "objective", *(("epochs", "time") if wide else ())):
        grid.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    grid.add_column("what", overflow="fold")
    for name, row, best in rows:
        style = "bold green" if best else "dim" if row.state != "COMPLETE" else ""
        words = row.name.removeprefix(f"t{row.number:03d} ") + (
            f" ({row.reason})" if row.reason and row.state == "FAIL" else ""
        )
        words += f" ({row.foreign})" if row.foreign else ""
        times = (str(row.epochs), f"{row.duration_s:.1f} s") if wide else ()
        grid.add_row(
            *(Text(shown(cell)) for cell in (name, row.state, _objective(row), *times, words)),
            style=style,
        )
    console.print(grid)


def _command(name: str, table: StudyTable, number: int) -> str:
    return command_of(
        name, table.folder.parent, override("study.name", table.name), override("trial", number)
    )


def _objective(row: TrialRow) -> str:
    if not row.objective:
        last = ranked_by(row.history.get(row.epochs, {}))
        return f"({last:.4f})" if last is not None else ""
    values = [f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}" for value in row.objective]
    if row.std is not None:
        values[0] += f" ± {row.std:.4f}"
    return ", ".join(values)


def print_trial(console: Console, table: StudyTable, config: Config, number: int) -> None:
    """Print one trial: how it went, its configuration, its curves, and how to train it again.
    Raises InputError for an unknown number.
    """
    row = next((row for row in table.trials if row.number == number), None)
    if row is None:
        numbers = f"0 to {table.trials[-1].number}" if table.trials else "none yet"
        raise InputError(
            f"trial: must be a trial of the study {table.name} ({numbers}), got {number}"
        )
    origin = f" ({row.foreign})" if row.foreign else ""
    console.print(Text(shown(f"trial {number} of {table.name}: {row.name}{origin}"), style="bold"))
    overrides = _overrides(StudyPaths(config.root, table.name), row)
    print_one(console, row, overrides)
    if overrides is not None:
        console.print(f"\nagain: {_command('replay', table, number)}", markup=False, soft_wrap=True)


def print_one(console: Console, row: TrialRow, overrides: Sequence[str] | None) -> None:
    """Print how a net's training went, its configuration if its overrides are known, its curves."""
    reason = shown(f" ({row.reason})") if row.reason else ""
    console.print(
        f"{row.state}{reason} {_objective(row)} after {row.epochs} epochs, {row.duration_s:.1f} s",
        markup=False,
    )
    if overrides is not None:
        node = compose(overrides).node
        chosen = OmegaConf.create({section: node[section] for section in TRAINED_BY})
        console.print()
        console.print(shown(OmegaConf.to_yaml(chosen)).rstrip(), markup=False, highlight=False)
    _print_curves(console, row)


def _overrides(paths: StudyPaths, row: TrialRow) -> Sequence[str] | None:
    """Return all overrides of a trial, from its folder; None where they are gone."""
    try:
        return TrialFolder(paths.trial(row.number)).read().overrides
    except InputError:
        return None


def _print_curves(console: Console, row: TrialRow) -> None:
    epochs = sorted(row.history)
    for what in ("loss", "accuracy"):
        curves = {
            mark: [row.history[epoch].get(f"{part}_{what}", float("nan")) for epoch in epochs]
            for mark, part in (("o", "train"), ("*", "valid"))
        }
        lines = text_plot(curves, width=max(20, min(70, console.width - 20)))
        if lines:
            console.print()
            console.print(f"{what}: o training, * validation", markup=False)
            for line in lines:
                console.print(line, markup=False, highlight=False, no_wrap=True)


def text_plot(
    series: Mapping[str, Sequence[float]], *, width: int = 60, height: int = 10
) -> list[str]:
    """Return lines of a plot of several series over epochs 1, 2, ...; key: the mark, one character,
    in the order drawn.

    Values that are not finite leave a gap; nothing finite at all gives no lines.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite:
        return []
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    epochs = max(map(len, series.values()))
    width = min(width, max(epochs, 2) * 3)
    grid = [[" "] * width for _ in range(height)]
    for mark, values in series.items():
        for number, value in enumerate(values):
            if math.isfinite(value):
                column = 0 if epochs == 1 else round(number * (width - 1) / (epochs - 1))
                grid[height - 1 - round((value - low) / span * (height - 1))][column] = mark
    lines = []
    for row, cells in enumerate(grid):
        label = f"{high:9.4g}" if row == 0 else f"{low:9.4g}" if row == height - 1 else " " * 9
        lines.append(f"{label} |{''.join(cells).rstrip()}")
    lines.append(f"{'':9} +{'-' * width}")
    lines.append(f"{'':9}  1{str(epochs).rjust(width - 1)}  epoch")
    return lines


Nets = Mapping[Path, TrialRow]  # folder -> what is known of the net in it, with complete overrides


def trained_nets(paths: StudyPaths) -> Nets:
    """Return the nets trained on their own under a study's name, best first, those without an
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
        duration_s=sum(epoch.get("epoch_s", 0.0) for epoch in stored.history),
        seed=stored.seed[0],
    )
    if (ended := stored.ended) is not None:
        row.state, row.reason, row.objective = ended.state, ended.reason, ended.objective
        row.duration_s = ended.duration_s
    return row


def print_nets(console: Console, nets: Nets, study: str) -> None:
    """Print one line per net, and the command that shows a single one."""
    first, count = next(iter(nets)), f"{len(nets)} {'net' if len(nets) == 1 else 'nets'}"
    console.print(Text(f"trained without a sweep as {study}: {count}", style="bold"))
    rows = [(folder.name, row, folder is first) for folder, row in nets.items()]
    print_rows(console, "net", rows)
    root = first.parents[2]
    command = command_of("show", root, override("study.name", study), override("net", first.name))
    console.print(f"one of them: {command}", markup=False, soft_wrap=True)


def print_net(console: Console, nets: Nets, wanted: str) -> None:
    """Print one net: how it went, its configuration, its curves, where it is. Raises InputError
    unless `wanted` is a prefix of exactly one name.
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
