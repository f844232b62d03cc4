"""What the project depends on, as it is installed: ``python -m benchmarks.packages [--write]``.

Renews the columns of docs/DEPENDENCIES.md that can be read off: where a package is imported, what
comes with it, its licence. What it is for, and what doing without would cost, are written by hand.
tests/test_packages.py holds the page to this, and the imports to pyproject.toml.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "DEPENDENCIES.md"
FOLDERS = ("cnn_core", "pipeline", "benchmarks", "tests")
OWN = {*FOLDERS, *sys.stdlib_module_names}
# What a package is imported as, where that is not its own name.
MODULES = {
    "configspace": "ConfigSpace",
    "hydra-core": "hydra",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "pytest-xdist": "xdist",
}
MOST_ROOMS = 4  # that the page names; beyond, it counts them
ABSENT = "not installed"
_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packages", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew docs/DEPENDENCIES.md")
    options = parser.parse_args(argv)
    page = renewed(PAGE.read_text(encoding="utf-8"))
    if options.write:
        PAGE.write_text(page, encoding="utf-8")
    print("\n".join(row.group(0) for row in _ROW.finditer(page)))
    return 0


@cache
def declared() -> dict[str, list[Requirement]]:
    """Return the requirements of pyproject.toml: "" for the package itself, then by extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {group: [Requirement(line) for line in lines] for group, lines in groups.items()}


def names() -> list[str]:
    """Return every package that is required directly, in the order of pyproject.toml."""
    lines = [requirement for group in declared().values() for requirement in group]
    return list(dict.fromkeys(canonicalize_name(line.name) for line in lines))


def module_of(name: str) -> str:
    """Return what a package is imported as."""
    return MODULES.get(name, name.replace("-", "_"))


@cache
def imports() -> dict[str, set[str]]:
    """Return for each foreign module the files that import it, anywhere in them."""
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for module in modules_in(path.read_text(encoding="utf-8")):
                found.setdefault(module, set()).add(str(path.relative_to(ROOT)))
    return found


def modules_in(source: str) -> set[str]:
    """Return the top-level foreign modules that a source imports, in functions and tests too."""
    named: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            named.append(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
            named += [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
    return {name.partition(".")[0] for name in named} - OWN


def rooms(files: Iterable[str]) -> str:
    """Return the folders of files that import a module, in pipeline/ its rooms; "" for none."""
    inside = {Path(file).parts[1] for file in files if file.startswith("pipeline/")}
    places = {Path(file).parts[0] for file in files} - {"pipeline"}
    if len(inside) > MOST_ROOMS:
        places.add(f"pipeline ({len(inside)} rooms)")
    else:
        places |= {f"pipeline/{room}" for room in inside}
    return ", ".join(sorted(places))


def brought(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Return the installed packages that a package needs, itself left out."""
    found: set[str] = set()
    waiting = [(name, extras)]
    while waiting:
        package, wanted = waiting.pop()
        for line in _needs(package):
            chosen = ["", *wanted]
            if line.marker is None or any(line.marker.evaluate({"extra": e}) for e in chosen):
                needed = canonicalize_name(line.name)
                if needed not in found:
                    found.add(needed)
                    waiting.append((needed, frozenset(line.extras)))
    return found - {name}


def _needs(name: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in distribution(name).requires or []]
    except PackageNotFoundError:
        return []


def licence(name: str) -> str:
    """Return the licence that an installed package states."""
    try:
        about = distribution(name).metadata
    except PackageNotFoundError:
        return ABSENT
    stated = about.get("License-Expression") or ""
    kinds = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    text = stated or ", ".join(kinds) or (about.get("License") or "").partition("\n")[0]
    return text.replace(" License", "").replace("|", "or")


def renewed(page: str) -> str:
    """Return the page with the columns that can be read off as they are now."""
    extras = {
        canonicalize_name(line.name): frozenset(line.extras)
        for group in declared().values()
        for line in group
    }

    def row(found: re.Match[str]) -> str:
        name = found.group(1)
        cells = [cell.strip() for cell in found.group(2).split(" | ")]
        if licence(name) != ABSENT:
            cells[3:] = [str(len(brought(name, extras.get(name, frozenset())))), licence(name)]
        cells[1] = rooms(imports().get(module_of(name), ())) or cells[1]
        return f"| `{name}` | {' | '.join(cells)} |"

    return _ROW.sub(row, page)


if __name__ == "__main__":
    sys.exit(main())
