"""Write docs/RESULTS.md from what the commands named in it left behind; nothing is trained and no
test split is opened here.

    python -m benchmarks.results [--root outputs] [--write]

Figures of studies come from their evaluation/ folders, of single nets from
benchmarks/single_net.json; the time of prediction is measured. With --write the rows of what was
found below ROOT replace theirs, with the machine's name; the others stay (docs/results.json).
"""

import argparse
import csv
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.document import DOCS, markdown_table
from benchmarks.environment import kernels, machine, restart_unpinned
from pipeline import journal
from pipeline.bundle.predictor import Bundle, load
from pipeline.bundle.running import quicken
from pipeline.events import StudyStarted

PAGE, KEPT = DOCS / "RESULTS.md", DOCS / "results.json"
PREAMBLE = (
    "# Results\n"
    "\n"
    "Written by `python -m benchmarks.results --write` from what the commands in the table left "
    "behind. Test splits were opened by\n"
    "`pipeline.evaluate` alone, as often as the last table says; every choice was made out of fold "
    "or on validation images. Intervals are\n"
    "Wilson's at 95 %; one test set of 10,000 has a standard error of 0.05 points at 99.75 %. "
    "The contest proxy is made of 5,000 reserved\n"
    "training images with a seed of its own (`pipeline/data/proxy.py`, digest in "
    "`pipeline/data/frozen_proxies.json`).\n"
    "What is called hard_digits and mnist_quick here was called contest and contest_quick until "
    "2026-11-29, as the older openings are.\n"
    "Studies are one run each, of seed 0; the best member is the best of them on the very images, "
    "so the gain over it is a low estimate.\n"
    "Machines are told apart by the best 2048-cubed product in single precision on one of their "
    "cores.\n"
)
SWEEP = "python -m pipeline.sweep experiment={}"
FINAL = "python -m pipeline.final experiment={0} && python -m pipeline.evaluate study.name={0}"
# What any contest's preset must reach, in two hours and in a quarter of an hour.
ANY = {
    "fashion_mnist": (0.945, 0.93),
    "emnist_letters": (0.95, 0.94),
    "cifar10": (0.90, 0.80),
    "mnist": (0.997, 0.995),
}
STUDIES = (
    *(
        (f"{preset}_{data}", f"python -m pipeline.sweep experiment={preset} data={data}", target)
        for data, targets in ANY.items()
        for preset, target in zip(("contest", "contest_quick"), targets, strict=True)
    ),
    ("hard_digits", SWEEP, 0.9975),
    ("mnist_quick", SWEEP, 0.9960),
    ("hard_digits_ensemble", FINAL, None),
)
MINUTES_TARGET = {
    "hard_digits": 120,
    "mnist_quick": 15,
    **{f"contest_{data}": 120 for data in ANY},
    **{f"contest_quick_{data}": 15 for data in ANY},
}  # for one command, from nothing to a bundle
PROXY_TARGET, GAIN_TARGET, SECONDS_TARGET = 0.97, 1 / 3, 60.0
SINGLE = ("python -m benchmarks.single_net --seeds 5 --jobs 2", 0.9965, 12.0)
OPENING = ("time", "study", "model", "data")
Row = tuple[str, str, str, str]
_TIMED = 1000  # images of the 10,000


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect, print, and write the page where asked; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("outputs"))
    parser.add_argument("--write", action="store_true", help="write docs/RESULTS.md")
    options = parser.parse_args(arguments)
    restart_unpinned("benchmarks.results", 1)
    kept = join(
        json.loads(KEPT.read_text()) if KEPT.exists() else {"rows": {}, "openings": []},
        collect(options.root),
        openings(options.root),
    )
    page = page_of(kept)
    print(page)
    if options.write:
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        PAGE.write_text(page)
    return 0


def collect(root: Path) -> dict[str, list[Row]]:
    """Return the rows of everything run below `root`, keyed by what was run."""
    found = {"single_net": single_net_rows(root)}
    for name, command, target in STUDIES:
        found[name] = study_rows(root / name, command.format(name), target)
    return {name: rows for name, rows in found.items() if rows}


def join(
    kept: dict[str, Any], found: dict[str, list[Row]], opened: list[dict[str, str]]
) -> dict[str, Any]:
    """Return what was kept, updated with the rows found now, and every opening of the test split
    ever noted.
    """
    where = machine() if found else ""
    rows = kept["rows"] | {
        name: {"machine": where, "rows": list(map(list, rows))} for name, rows in found.items()
    }
    noted = {tuple(sorted(row.items())): row for row in [*kept["openings"], *opened]}
    return {"rows": rows, "openings": sorted(noted.values(), key=lambda row: row["time"])}


def page_of(kept: dict[str, Any]) -> str:
    """Return the page: a table of all rows, those of `STUDIES` first and in their order, and one of
    the openings.
    """
    now = [
        name for name in ("single_net", *(study[0] for study in STUDIES)) if name in kept["rows"]
    ]
    order = [
        *now,
        *(name for name in kept["rows"] if name not in now),
    ]  # earlier presets, kept for comparison
    rows = [
        (*row, kept["rows"][name]["machine"])
        for name in order
        for row in kept["rows"][name]["rows"]
    ]
    opened = [tuple(row[key] for key in OPENING) for row in kept["openings"]]
    noted = markdown_table(OPENING, opened) if opened else "None."
    table = markdown_table(("what", "figure", "asked", "command", "machine"), rows)
    return f"{PREAMBLE}\n{table}\n\n## Openings of the test split\n\n{noted}\n"


def single_net_rows(root: Path) -> list[Row]:
    """Return mean, spread and time of the single nets; empty where they have not been run."""
    path = root / "benchmarks" / "single_net.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())["rows"]
    accuracies, minutes = [row["accuracy"] for row in found], [row["minutes"] for row in found]
    spread = (
        f" +- {statistics.stdev(accuracies):.3%} (standard deviation)" if len(found) > 1 else ""
    )
    command, target, most = SINGLE
    times = f"median {statistics.median(minutes):.1f} min, longest {max(minutes):.1f} min"
    figure = f"{statistics.mean(accuracies):.3%}{spread}, {len(found)} seeds"
    return [
        ("one net, test accuracy after the last epoch", figure, f">= {target:.2%}", f"`{command}`"),
        ("one net, training on one core", times, f"<= {most:.0f} min", f"`{command}`"),
    ]


def study_rows(folder: Path, command: str, target: float | None) -> list[Row]:
    """Return what a study's evaluation and bundle say, empty where it has not been evaluated."""
    name, cell = folder.name, f"`{command}`"
    rows: list[Row] = []
    for part, asked in (
        ("test", target),
        ("proxy", PROXY_TARGET if name == "hard_digits" else None),
    ):
        path = folder / "evaluation" / f"{part}.json"
        if not path.exists():
            continue
        figures = json.loads(path.read_text())
        interval = f"{figures['accuracy']:.2%} [{figures['low']:.2%}, {figures['high']:.2%}]"
        rows.append(
            (f"{name}: {part} accuracy", interval, "" if asked is None else f">= {asked:.2%}", cell)
        )
        gain = figures.get("gain_over_best_member")
        if gain and part == "proxy":
            shown = (
                f"{gain['gain']:+.2%} [{gain['low']:+.2%}, {gain['high']:+.2%}], "
                f"{gain['errors_removed']:.0%} of its errors removed"
            )
            rows.append(
                (
                    f"{name}: gain over its best member on the proxy",
                    shown,
                    f">= {GAIN_TARGET:.0%} removed" if name == "hard_digits" else "",
                    cell,
                )
            )
    if rows and (folder / "bundle" / "manifest.json").exists():
        if name in MINUTES_TARGET:
            rows += _whole_rows(folder, cell)
        rows.append(_prediction_row(name, load(folder / "bundle")))
    return rows


def _whole_rows(folder: Path, cell: str) -> list[Row]:
    """Return the time from the sweep's first start to the written bundle; empty where no journal
    records it.

    A command that was stopped and resumed has started more than once: its pauses count, and the row
    says so.
    """
    begins = [event.time_s for event in journal.read_all(folder) if isinstance(event, StudyStarted)]
    if not begins:
        return []
    minutes = ((folder / "bundle" / "manifest.json").stat().st_mtime - begins[0]) / 60
    paused = f", begun {len(begins)} times, pauses included" if len(begins) > 1 else ""
    what = f"{folder.name}: from the sweep's begin to the last written bundle{paused}"
    return [(what, f"{minutes:.0f} min", f"<= {MINUTES_TARGET[folder.name]} min", cell)]


def _prediction_row(name: str, bundle: Bundle) -> Row:
    """Time the ensemble on one core as pipeline.predict computes it, without test-time views."""
    plain = quicken(Bundle(replace(bundle.manifest, views=()), bundle.nets))
    images = np.random.default_rng(0).integers(
        0, 256, (_TIMED, *bundle.image_shape), dtype=np.uint8
    )
    plain.predict_proba(images[:100])
    started = time.perf_counter()
    plain.predict_proba(images)
    seconds = (time.perf_counter() - started) * 10_000 / _TIMED
    nets = sum(len(member) for member in bundle.nets)
    what = (
        f"{name}: prediction of 10,000 images without views, {nets} nets, "
        f"one core, {kernels()} kernels"
    )
    return (what, f"{seconds:.0f} s", f"< {SECONDS_TARGET:.0f} s", "`python -m benchmarks.results`")


def openings(root: Path) -> list[dict[str, str]]:
    """Return every opening noted below `root`."""
    found: list[dict[str, str]] = []
    for path in sorted(root.glob("*/evaluation/openings.csv")):
        found += [
            {key: row[key] for key in OPENING}
            for row in csv.DictReader(path.read_text().splitlines())
        ]
    return found


if __name__ == "__main__":
    raise SystemExit(main())
