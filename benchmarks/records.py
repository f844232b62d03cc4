"""How soon an accuracy is reached: recipes of `benchmarks/records_parts/*.yaml`, several seeds
each, after the last epoch, data in memory, beside PyTorch with the best published recipe.

    python -m benchmarks.records mnist_99 --rungs   # each rung on validation images, to choose by
    python -m benchmarks.records mnist_99           # the last rung: trained on all training images,
                                                    # scored on the test split, which is opened once

One training uses the machine's first --cores cores, as PyTorch's does. Ours and PyTorch's take
turns, seed by seed, after one each that is not counted; timed is the training alone.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.document import DOCS, command_of, markdown_table, write_section
from benchmarks.environment import machine, measured_environment, restart_unpinned
from benchmarks.peers.processes import Process, has_pytorch
from benchmarks.records_parts.nets import Trained, spec_of_recipe, train
from benchmarks.records_parts.record import Record, records
from benchmarks.scored import accuracies_on_test
from pipeline.files import StudyPaths

PAGE = DOCS / "RECORDS.md"
PREAMBLE = (
    "# Records\n"
    "\n"
    "How soon an accuracy is reached from nothing, in seconds of training on the machine\n"
    "named, imports and reading left out. Every choice was made on validation images\n"
    "(`--rungs`): a recipe whose mean reaches the goal there is put to the test, for which the\n"
    "test split is opened once for the nets of all seeds. The recipes are\n"
    "`benchmarks/records_parts/*.yaml`, a line a rung.\n"
)
WARM_UP = 1_000_000  # a seed of nets that are not counted
PYTORCH = "PyTorch"
LAYOUTS = ("nchw", "channels_last")


@dataclass(frozen=True)
class Row:
    """A recipe's accuracies, of validation or of test images, and seconds, by seed."""

    what: str
    accuracies: Sequence[float]
    seconds: Sequence[float]

    def cells(self) -> tuple[str, ...]:
        known = self.accuracies
        mean = f"{statistics.mean(known):.3%}" if known else "-"
        spread = f"{statistics.stdev(known):.3%}" if len(known) > 1 else "-"
        low, high = min(self.seconds), max(self.seconds)
        median = statistics.median(self.seconds)
        return self.what, mean, spread, f"{median:.2f}", f"{low:.2f} to {high:.2f}"


HEADER = ("recipe", "accuracy, mean", "deviation", "seconds, median", "range")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = records()
    parser.add_argument("record", choices=known)
    parser.add_argument("--rungs", action="store_true", help="every rung, on validation images")
    parser.add_argument("--seeds", type=int, help="nets of each recipe; the record's own number")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--root", type=Path, default=Path("outputs"))
    parser.add_argument("--write", action="store_true", help="write the table to docs/RECORDS.md")
    asked = parser.parse_args(arguments)
    for name in ("seeds", "cores"):
        given = getattr(asked, name)
        if given is not None and given < 1:
            parser.error(f"--{name} must be at least 1, got {given}")
    restart_unpinned("benchmarks.records", 1)
    record, root = known[asked.record], asked.root.absolute()
    seeds = asked.seeds or record.seeds
    rows = measure(record, root, seeds, asked.cores, rungs=asked.rungs)
    text = section(record, rows, asked.cores, rungs=asked.rungs)
    print(text)
    if asked.write:
        words = [record.name, *(["--rungs"] if asked.rungs else []), "--seeds", str(seeds)]
        name = record.name + ("_rungs" if asked.rungs else "")
        title = record.title + (", rung by rung" if asked.rungs else "")
        command = command_of("benchmarks.records", words)
        write_section(name, title, f"`{command}`: {text}", PAGE, PREAMBLE)
    return 0


def measure(record: Record, root: Path, seeds: int, cores: int, *, rungs: bool) -> list[Row]:
    """Return a row for each recipe: all rungs or the last, and PyTorch's where it is installed."""
    recipes = record.overrides()
    if not rungs:
        recipes = {"all rungs": [*recipes.values()][-1]}
    specs = {
        name: spec_of_recipe(own, root, cores, whole=not rungs) for name, own in recipes.items()
    }
    ours: dict[str, list[Trained]] = {name: [] for name in specs}
    theirs: list[dict[str, float]] = []
    with ExitStack() as stack:
        peer = pytorch_of(record, root, cores, stack, whole=not rungs)
        for seed in (WARM_UP, *range(seeds)):
            done = {name: train(spec, seed) for name, spec in specs.items()}
            other = peer.ask(seed=seed) if peer else None
            if seed != WARM_UP:
                for name, net in done.items():
                    ours[name].append(net)
                theirs += [other] if other else []
            print(progress(seed, done, other), flush=True)
    rows = []
    for name, nets in ours.items():
        accuracies = accuracies_of(nets, recipes[name], root, rungs=rungs)
        rows.append(Row(name, accuracies, [net.seconds for net in nets]))
    if peer:
        known = [found["accuracy"] for found in theirs if rungs]
        rows.append(Row(f"{PYTORCH}, {peer.who}", known, [found["seconds"] for found in theirs]))
    return rows


def pytorch_of(
    record: Record, root: Path, cores: int, stack: ExitStack, *, whole: bool
) -> Process | None:
    """Return PyTorch's process in the memory layout that is faster here; None without it."""
    if record.peer is None or not has_pytorch():
        print("without PyTorch (pip install '.[bench]'), or a published recipe: ours alone")
        return None
    found: dict[str, Process] = {}
    for layout in LAYOUTS:
        words = [record.name, layout, "--root", str(root), "--threads", str(cores)]
        words += ["--whole"] if whole else []
        env = measured_environment(cores)
        found[layout] = Process(layout, "benchmarks.records_parts.torch_worker", words, env)
        stack.enter_context(found[layout])
    for layout in LAYOUTS:
        found[layout].ask(seed=WARM_UP)
    taken = {layout: found[layout].ask(seed=WARM_UP)["seconds"] for layout in LAYOUTS}
    return found[min(LAYOUTS, key=lambda layout: taken[layout])]


def accuracies_of(
    nets: Sequence[Trained], overrides: Sequence[str], root: Path, *, rungs: bool
) -> list[float]:
    """Return the nets' accuracies: what training saw on validation images, or of the test split."""
    if rungs:
        return [net.accuracy for net in nets]
    named = {f"seed{seed}": net.weights for seed, net in enumerate(nets)}
    return accuracies_on_test(StudyPaths(root, "records"), overrides, named)


def progress(seed: int, done: Mapping[str, Trained], other: Mapping[str, float] | None) -> str:
    """Return the line about what one seed gave."""
    ours = [
        f"{net.seconds:.2f} s" + ("" if math.isnan(net.accuracy) else f" {net.accuracy:.2%}")
        for net in done.values()
    ]
    theirs = f"; PyTorch {other['seconds']:.2f} s" if other else ""
    return f"{'warm-up' if seed == WARM_UP else f'seed {seed}'}: {', '.join(ours)}{theirs}"


def section(record: Record, rows: Sequence[Row], cores: int, *, rungs: bool) -> str:
    """Return the notes and the table."""
    images = "validation images, whose scoring counts as well" if rungs else "the test images"
    notes = [
        f"Goal {record.accuracy:.1%}. {machine()}; {cores} used; {len(rows[0].seconds)} seeds; "
        f"{images}."
    ]
    if not rungs and rows[-1].what.startswith(PYTORCH):  # whose time holds no scoring
        ours, theirs = (statistics.median(row.seconds) for row in rows[-2:])
        notes.append(f"PyTorch takes {theirs / ours:.1f} times as long.")
    if record.published:
        notes.append(f"PyTorch's recipe: {record.published}.")
    return "\n\n".join([" ".join(notes), markdown_table(HEADER, [row.cells() for row in rows])])


if __name__ == "__main__":
    raise SystemExit(main())
