"""The house holds: imports point down, rooms form no loops, and a name says one thing."""

import ast
from collections import Counter

import pytest

from benchmarks.house import BEGIN, COMMANDS, CORE, FLOORS, PAGE, arrows, dotted, files, imported

MOST_FLOORS = 12


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


def test_the_map_names_every_room() -> None:
    listed = PAGE.read_text().partition(BEGIN)[2]
    assert not [room for floor in FLOORS for room in floor if f"| {room} |" not in listed]
