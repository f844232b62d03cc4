"""The mutants of a file: every small change that mutmut's operators would make to it, but those
that only change words (tests/mutation/counted.py).

mutmut's own command does not fit here: it runs all mutants in one checkout behind trampolines, so
it leaves out decorated functions, methods of frozen settings and whatever stands outside of
functions, and it makes workers import more than NumPy. Its operators need none of that.
"""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

from tests.mutation.counted import counts, holds_only_words


@dataclass(frozen=True)
class Mutant:
    """One change to one file: which of the file's changes it is, and where it begins."""

    file: str  # relative to the checkout
    number: int
    line: int
    inside: tuple[str, ...]  # the class and functions around it, outermost first

    def text(self, root: Path) -> str | None:
        """Return the file's text with the change, None where it is no Python or no change."""
        module, changes = _parsed(root / self.file)
        change = changes[self.number]
        changed = module.deep_replace(change.before, change.after)
        text = changed.code if isinstance(changed, cst.Module) else module.code
        try:
            same = ast.dump(ast.parse(text)) == ast.dump(ast.parse(module.code))
        except SyntaxError:
            return None
        return None if same else text


@dataclass(frozen=True, eq=False)
class _Change:
    before: cst.CSTNode
    after: cst.CSTNode
    line: int
    inside: tuple[str, ...]


class _Changes(cst.CSTVisitor):
    """Collects the changes to a module."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[_Change] = []
        self._around: list[cst.CSTNode] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if holds_only_words(node, self._around):
            return False
        place = self.get_metadata(PositionProvider, node, None)
        line = place.start.line if place else 0
        names = (cst.ClassDef, cst.FunctionDef)
        inside = tuple(each.name.value for each in self._around if isinstance(each, names))
        for kind, operator in mutation_operators:
            if isinstance(node, kind):
                self.found += [
                    _Change(node, after, line, inside)
                    for after in operator(node)
                    if counts(node, after)
                ]
        self._around.append(node)
        return True

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if self._around and self._around[-1] is original_node:
            self._around.pop()


@cache
def _parsed(path: Path) -> tuple[cst.Module, list[_Change]]:
    wrapper = MetadataWrapper(cst.parse_module(path.read_text(encoding="utf-8")))
    visitor = _Changes()
    wrapper.visit(visitor)
    return wrapper.module, visitor.found


def mutants(root: Path, file: str) -> list[Mutant]:
    """Return every mutant of a file, some of which may turn out to be no Python."""
    _, changes = _parsed(root / file)
    return [
        Mutant(file, number, change.line, change.inside) for number, change in enumerate(changes)
    ]


def drawn(all_of_them: list[Mutant], seed: int, room: str) -> Iterator[Mutant]:
    """Return the mutants of a room in an order that follows from the seed."""
    chosen = list(all_of_them)
    random.Random(f"{seed} {room}").shuffle(chosen)
    return iter(chosen)


def changed_lines(before: str, after: str) -> tuple[int, str, str]:
    """Return the first changed line's number, and the changed lines before and after, each run of
    space made one.
    """
    old, new = before.splitlines(), after.splitlines()
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    edits = [block for block in blocks if block[0] != "equal"]
    first, last = edits[0], edits[-1]
    words = [
        " ".join(" ".join(lines).split())
        for lines in (old[first[1] : last[2]], new[first[3] : last[4]])
    ]
    return first[1] + 1, words[0], words[1]
