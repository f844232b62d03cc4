"""All of cnn_core on one page, from its docstrings: ``python -m benchmarks.core_page [--write]``.

Every public function and class, with the first sentence of its docstring and the equation in it,
room by room from the ground up. With ``--write`` docs/learn/cnn_core.md is renewed;
tests/test_core_page.py holds it to the sources.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.house import CORE, ROOT, dotted, files, room_of

PAGE = ROOT / "docs" / "learn" / "cnn_core.md"
COMMAND = "python -m benchmarks.core_page --write"
_CODE = re.compile(r"``([^`]+)``")
# What makes a piece of code in a docstring an equation: an assignment, a sum, a power, a quotient.
_EQUATION = re.compile(r"<-|\bsum\b|\bexp\(|\bsqrt\(|N\(0|[\w)] ?[/^*] ?[\w(]|\b\w{1,3} = ")
_HEADING = (
    "# All of cnn_core\n\n"
    "Every public function and class, a sentence each, and its equation where its docstring has\n"
    "one: from the ground up, as the rooms import each other. What a function takes, gives and\n"
    "refuses stands in its docstring (`help(name)` in Python). Written by\n"
    f"`{COMMAND}`; do not edit.\n"
)

Definition = ast.FunctionDef | ast.ClassDef


def public(path: Path) -> Iterator[Definition]:
    """Yield a file's public functions and classes, in its order."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def words(node: Definition | ast.Module) -> str:
    """Return a docstring, each of its paragraphs as one line."""
    parts = (ast.get_docstring(node) or "").split("\n\n")
    return "\n".join(" ".join(part.split()) for part in parts)


def sentence(text: str) -> str:
    """Return the first sentence: up to a full stop that a capital, or nothing, follows, outside of
    code and brackets.
    """
    paragraph = text.partition("\n")[0]
    for found in re.finditer(r"\.(?= [A-Z`(]|$)", paragraph):
        before = paragraph[: found.start()]
        closed = before.count("``") % 2 == 0 and before.count("(") == before.count(")")
        if closed and not re.search(r"\b(?:et al|e\.g|i\.e)$", before):
            return before + "."
    return paragraph


def equation(text: str) -> str:
    """Return the first equation in a docstring, "" where it has none."""
    return next((code for code in _CODE.findall(text) if _EQUATION.search(code)), "")


def in_markdown(text: str) -> str:
    """Return a docstring's text for a cell: code in single backticks, bars escaped."""
    return _CODE.sub(r"`\1`", text).replace("|", "\\|")


def table(path: Path) -> str:
    """Return a file's names with their sentences and equations."""
    rows = []
    for node in public(path):
        text = words(node)
        first, found = sentence(text), equation(text)
        rest = "" if not found or found in first else f" ``{found}``."
        rows.append(f"| `{node.name}` | {in_markdown(first + rest)} |")
    return "\n".join(["| name | what it is |", "| --- | --- |", *rows])


def core_files(room: str) -> list[Path]:
    """Return the files of a room of cnn_core."""
    names = {path: dotted(path) for path in files()}
    own = {path: name for path, name in names.items() if name.startswith("cnn_core.")}
    return [path for path, name in own.items() if room_of(name, "cnn_core") == room]


def page() -> str:
    """Return the whole page."""
    parts = [_HEADING]
    for floor, rooms in enumerate(CORE, 1):
        for room in rooms:
            for path in (path for path in core_files(room) if any(public(path))):
                about = in_markdown(sentence(words(ast.parse(path.read_text(encoding="utf-8")))))
                parts.append(f"## {dotted(path)}\n\nFloor {floor}. {about}\n\n{table(path)}\n")
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core_page", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/learn/cnn_core.md")
    options = parser.parse_args(argv)
    if options.write:
        PAGE.write_text(page())
    else:
        print(page(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
