"""Which test files are run for a mutant: those that are called after its file or its room, name
what is changed, or import the file; of these, first those that need little else, which are quick.
Read off the sources, so nothing has to be measured.
"""

import ast
import re
from collections import deque
from pathlib import Path

from tests.mutation.mutants import Mutant

MOST_FILES = 8
SLOW_MARK = "mark.slow"
# A test that reaches many modules runs whole commands and takes long: so many cost it a point, as
# many as one name of what is changed is worth.
A_POINT = 100


class Nearness:
    """How many imports lie between a test file and a file that it may test. A name in a text counts
    as an import: tests start commands by their names.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = {_dotted(path, root): path for path in _sources(root)}
        self._below = {name: self._named(name) for name in self._files}
        for name in self._files.keys() - set().union(*self._below.values()):
            package = name.rpartition(".")[0]  # loaded by a name that is put together there
            self._below.setdefault(package, set()).add(name)
        self._steps = {name: self._from(name) for name in self._files if _is_test(name)}

    def slow_tests_of(self, mutant: Mutant, most: int) -> list[str]:
        """Return the files with slow tests for a mutant, the likeliest first."""
        files = self.tests_of(mutant, len(self._steps))
        return [file for file in files if SLOW_MARK in (self._root / file).read_text()][:most]

    def tests_of(self, mutant: Mutant, most: int = MOST_FILES) -> list[str]:
        """Return the test files for a mutant, the likeliest first."""
        module = _dotted(self._root / mutant.file, self._root)
        names = [name for name in mutant.inside if not name.startswith("__")]
        named = re.compile(rf"\b(?:{'|'.join(names)})\b") if names else re.compile(r"(?!)")
        own = {module.rpartition(".")[2], mutant.file.split("/")[-2]}  # test_losses is of losses
        ranked = []
        for test, steps in self._steps.items():
            if module in steps:
                path = self._files[test]
                text = path.read_text(encoding="utf-8")
                near = len(set(named.findall(text))) + 2 * bool(own & set(path.stem.split("_")))
                near += 2 * (steps[module] == 1)
                ranked.append((len(steps) / A_POINT - near, steps[module], len(text), path))
        return [str(path.relative_to(self._root)) for *_, path in sorted(ranked)[:most]]

    def _named(self, name: str) -> set[str]:
        """Return the modules that a file imports or names, and the packages that they are in."""
        text = self._files[name].read_text(encoding="utf-8")
        found = (
            set(re.findall(r"\b[a-z_]+(?:\.\w+)+", text)) if name.startswith("tests.") else set()
        )
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        found |= {name.rpartition(".")[0] for name in found & self._files.keys()}
        return found & self._files.keys()

    def _from(self, test: str) -> dict[str, int]:
        steps, waiting = {test: 0}, deque([test])
        while waiting:
            here = waiting.popleft()
            for name in self._below[here] - steps.keys():
                steps[name] = steps[here] + 1
                waiting.append(name)
        return steps


def _sources(root: Path) -> list[Path]:
    packages = [path for path in root.iterdir() if path.is_dir() and path.name.isidentifier()]
    return sorted(path for package in packages for path in package.rglob("*.py"))


def _is_test(name: str) -> bool:
    return name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")


def _dotted(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
