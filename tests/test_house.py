"""The house holds: imports point down, rooms form no loops, and a name says one thing.

The floors stand in docs/ARCHITECTURE.md too; a new room is added to both.
"""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the ground up: a room imports rooms of lower floors alone. A room is a folder, or a file at
# the top of pipeline/.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("cnn_core",),
    ("events", "redact"),
    ("files", "journal", "inputs"),
    ("configuration", "records"),
    ("data",),
    ("slots", "reporting"),
    ("tracking",),
    ("search", "bundle"),
    ("ensemble", "showing", "predictions", "demo_page"),
    (
        "demo",
        "doctor",
        "evaluate",
        "export",
        "final",
        "predict",
        "prepare",
        "replay",
        "report",
        "show",
        "train",
        "ui",
    ),
    ("after_sweep",),
    ("sweep",),
)
COMMANDS = {*FLOORS[-3], *FLOORS[-1]}
# The same inside cnn_core, where a file at the top is a room too.
CORE: tuple[tuple[str, ...], ...] = (
    ("axes", "errors"),
    ("initializers", "losses", "metrics", "schedules", "spec", "streams"),
    ("kernels", "optimizers", "augmentation", "data", "state"),
    ("layers", "regularizers", "checkpoint"),
    ("model",),
    ("averaging", "architectures", "fused", "low_rank"),
    ("caches",),
    ("training",),
    ("finishing",),
)
MOST_FLOORS = 12


@cache
def files() -> tuple[Path, ...]:
    return tuple(
        sorted(
            path for package in ("cnn_core", "pipeline") for path in (ROOT / package).rglob("*.py")
        )
    )


def imported(path: Path) -> set[str]:
    """Return the modules of this project that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in below if is_module(name)} or {node.module}
    return {name for name in found if name.split(".")[0] in ("cnn_core", "pipeline")}


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(name: str, inside: str = "") -> str:
    """Return the room of a module: ``cnn_core`` as a whole, a folder or file of pipeline; or,
    `inside` cnn_core, of that.
    """
    parts = name.split(".")
    if name == "pipeline.config":  # the door to configuration
        return "configuration"
    if parts[0] == "cnn_core":
        return (parts[1] if len(parts) > 1 else "") if inside else "cnn_core"
    return parts[1] if len(parts) > 1 else ""


def arrows(inside: str = "") -> set[tuple[str, str, str, str]]:
    """Return (room, room it imports, file, module) of the whole house, or of cnn_core alone."""
    found = set()
    for path in files():
        here = dotted(path)
        if inside and not here.startswith(f"{inside}."):
            continue
        for name in imported(path):
            pair = room_of(here, inside), room_of(name, inside)
            if (
                "" not in pair
                and pair[0] != pair[1]
                and (not inside or name.startswith(f"{inside}."))
            ):
                found.add((*pair, here, name))
    return found


@pytest.mark.parametrize(("floors", "inside"), [(FLOORS, ""), (CORE, "cnn_core")])
def test_every_room_has_a_floor_and_imports_lower_ones_alone(
    floors: tuple[tuple[str, ...], ...], inside: str
) -> None:
    height = {room: floor for floor, rooms in enumerate(floors) for room in rooms}
    assert len(floors) <= MOST_FLOORS
    found = arrows(inside)
    missing = {room for arrow in found for room in arrow[:2]} - height.keys()
    assert not missing, f"rooms without a floor: {missing}"
    upwards = sorted(
        f"{file} imports {module}"
        for room, other, file, module in found
        if height[other] >= height[room]
    )
    assert not upwards


def test_no_command_imports_a_command() -> None:
    assert not [arrow for arrow in arrows() if arrow[0] in COMMANDS and arrow[1] in COMMANDS]


def test_no_two_files_import_each_other_in_a_loop() -> None:
    graph = {dotted(path): imported(path) - {dotted(path)} for path in files()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a loop: {' -> '.join((*path[path.index(name) :], name))}"
        if name not in done:
            for other in sorted(graph.get(name, ())):
                visit(other, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_no_name_of_a_file_or_public_class_comes_twice() -> None:
    names = Counter(path.name for path in files() if path.name != "__init__.py")
    classes = Counter(
        node.name
        for path in files()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in (names + classes).items() if count > 1]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    assert not {
        dotted(path): lines
        for path in files()
        if (lines := len(path.read_text().splitlines())) > 300
    }
