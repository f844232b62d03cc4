"""What a sweep costs beyond its training, and how that grows: ``python -m benchmarks.sweep [--parts
...] [--write]``.

Each part is a table: trials an hour of real sweeps with 1, 2 and n slots, and on a Dask cluster of
two processes; the start; the coordinator's cost by trials in the study; by slots whose epochs are
simulated; and what tracking costs. With ``--write`` the parts that ran replace theirs in
docs/PERFORMANCE.md; the others stay as they were.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.document import DOCS, add_outputs, finish, panels
from benchmarks.environment import machine, restart_unpinned
from benchmarks.sweep_parts import PARTS

# Rows of every part with the command that measured them, for the parts that a later run leaves out.
KEPT = DOCS / "sweep.json"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--data", default="mnist", help="source of the real trials")
    parser.add_argument("--trials", type=int, default=8, help="real trials a slot")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of a real trial")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10, 100, 1000, 10_000], help="trials in the study"
    )
    parser.add_argument(
        "--slots", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64], help="simulated slots"
    )
    add_outputs(parser)
    options = parser.parse_args(argv)
    restart_unpinned("benchmarks.sweep", 1)
    measured = {}
    for name in options.parts:
        measured[name] = PARTS[name].measure(options)
        print(f"{PARTS[name].title}\n{PARTS[name].table(measured[name])}\n", flush=True)
    finish(
        "benchmarks.sweep",
        options,
        argv,
        measured,
        "The sweep",
        lambda command: section(command, measured),
    )
    return 0


def section(command: str, measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the tables of all parts ever measured, those of this run renewed, and draw them."""
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    where = machine()
    kept |= {
        name: {"command": command, "machine": where, "rows": rows}
        for name, rows in measured.items()
    }
    shown = [(PARTS[name], kept[name]) for name in PARTS if name in kept]
    KEPT.write_text(json.dumps({part.name: found for part, found in shown}, indent=1) + "\n")
    panels(DOCS / "sweep.png", [part.panel(found["rows"]) for part, found in shown])
    texts = ["![The sweep's costs](sweep.png)"]
    for part, found in shown:
        texts.append(
            f"### {part.title}\n\n`{found['command']}`: {found['machine']}. "
            f"{part.about}\n\n{part.table(found['rows'])}"
        )
    return "\n\n".join(texts)


if __name__ == "__main__":
    sys.exit(main())
