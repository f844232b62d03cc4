"""The house as its own imports tell it: ``python -m benchmarks.house [--write]``.

Prints the rooms by floor with their files and lines; with ``--write`` the table and the picture in
docs/ARCHITECTURE.md are renewed. tests/test_house.py holds the floors.
"""

import argparse
import ast
import sys
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
PICTURE = ROOT / "docs" / "img" / "house.svg"
BEGIN, END = "<!-- begin rooms -->", "<!-- end rooms -->"
# From the ground up: a room imports rooms of lower floors alone. A room is a folder, or a file at
# the top of pipeline/.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("cnn_core",),
    ("events", "redact", "structured_text"),
    ("files", "sqlite_files", "journal", "inputs"),
    ("configuration", "records", "trial_folder", "picture_sheet"),
    ("data", "contest_folder"),
    ("slots", "reporting"),
    ("tracking",),
    ("search", "bundle"),
    ("ensemble", "showing", "predictions", "demo_page", "claims_page"),
    (
        *("prepare", "train", "show", "report", "replay", "ui", "stop", "doctor", "check"),
        *("final", "evaluate", "export", "compress", "predict", "demo"),
    ),
    ("whole_sweep",),
    ("sweep", "contest", "claims", "study"),
)
COMMANDS = {*FLOORS[-3], *FLOORS[-1]} - {"study"}
# The same inside cnn_core, where a file at the top is a room too.
CORE: tuple[tuple[str, ...], ...] = (
    ("axes", "errors", "whole_files"),
    ("field_checks", "plugin_source", "cores", "plain_text", "plain_json"),
    ("initializers", "losses", "metrics", "schedules", "train_spec", "augment_spec", "streams"),
    ("spec", "kernels", "optimizers", "augmentation", "measures"),
    ("data", "layers", "regularizers"),
    ("model", "layer_groups", "checkpoint", "input_scaling"),
    ("repeats", "averaging", "net_html", "pyramid", "fused", "low_rank", "training_data"),
    ("architectures", "replicas", "replanning"),
    ("training_net",),
    ("plugins", "epoch", "estimator_spec"),
    ("training", "laws"),
    ("finishing", "estimator"),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/ARCHITECTURE.md")
    options = parser.parse_args(argv)
    print(table())
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}")
        PICTURE.write_text(picture())
    return 0


@cache
def files() -> tuple[Path, ...]:
    """Return the product's files."""
    packages = [ROOT / "cnn_core", ROOT / "pipeline"]
    return tuple(sorted(path for package in packages for path in package.rglob("*.py")))


def dotted(path: Path) -> str:
    """Return a file's dotted module name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported(path: Path) -> frozenset[str]:
    """Return the modules of this project that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in below if _is_module(name)} or {node.module}
    return frozenset(name for name in found if name.split(".")[0] in ("cnn_core", "pipeline"))


def _is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def room_of(name: str, inside: str = "") -> str:
    """Return the room of a module: cnn_core as a whole, or a folder or file of pipeline; with
    `inside`, the room within cnn_core.
    """
    parts = name.split(".")
    if parts[0] == "cnn_core":
        return (parts[1] if len(parts) > 1 else "") if inside else "cnn_core"
    return parts[1] if len(parts) > 1 else ""


def arrows(inside: str = "") -> set[tuple[str, str, str, str]]:
    """Return (room, room that it imports, file, module) of the whole house, or of cnn_core."""
    found = set()
    for path in files():
        here = dotted(path)
        if inside and not here.startswith(f"{inside}."):
            continue
        for name in imported(path):
            pair = room_of(here, inside), room_of(name, inside)
            within = not inside or name.startswith(f"{inside}.")
            if "" not in pair and pair[0] != pair[1] and within:
                found.add((*pair, here, name))
    return found


def table() -> str:
    """Return the rooms, from the top floor down, with their files and lines."""
    rows = [
        "| floor | room | files | lines | what it holds |",
        "| ---: | --- | ---: | ---: | --- |",
    ]
    for floor in range(len(FLOORS), 0, -1):
        for room in FLOORS[floor - 1]:
            members = [path for path in files() if room_of(dotted(path)) == room]
            lines = sum(len(path.read_text().splitlines()) for path in members)
            rows.append(f"| {floor} | {room} | {len(members)} | {lines:,} | {_about(room)} |")
    count = sum(len(path.read_text().splitlines()) for path in files())
    rows.append(f"|  | **together** | {len(files())} | {count:,} |  |")
    return "\n".join(rows)


def _about(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    places = [ROOT / "pipeline" / f"{room}.py", ROOT / "pipeline" / room / "__init__.py"]
    place = next((path for path in places if path.exists()), ROOT / room / "__init__.py")
    words = " ".join((ast.get_docstring(ast.parse(place.read_text())) or "").split())
    return words.split(". ")[0].rstrip(".")


def picture() -> str:
    """Return the floors as SVG, one box per room."""
    width, row = 960, 44
    parts = []
    for floor, rooms in enumerate(FLOORS):
        y = 10 + (len(FLOORS) - 1 - floor) * row
        parts.append(f'<text x="10" y="{y + 22}" class="n">{floor + 1}</text>')
        step = (width - 50) / len(rooms)
        for index, room in enumerate(rooms):
            x = 40 + index * step
            parts.append(
                f'<rect x="{x:.0f}" y="{y}" width="{step - 8:.0f}" height="{row - 10}" rx="5"/>'
                f'<text x="{x + step / 2 - 4:.0f}" y="{y + 21}" text-anchor="middle">'
                f"{escape(room)}</text>"
            )
    height = 20 + len(FLOORS) * row
    style = (
        "text{font:13px system-ui,sans-serif;fill:#1d1f21}.n{fill:#8a9199}"
        "rect{fill:#eef3f7;stroke:#0072b2}"
        "@media(prefers-color-scheme:dark){text{fill:#e7e9eb}rect{fill:#1f2328;stroke:#5db4e8}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>Rooms by floor: each imports lower floors alone</title><style>{style}</style>"
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
