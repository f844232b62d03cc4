"""What is fuzzed: a reader as a function of bytes, from which only findings escape.

Nothing of the product is imported before a call: what is imported first inside a fuzzing process is
instrumented, and each process loads no more than its own reader.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"
SEPARATOR = b"\n--\n"  # between the parts of an input that becomes several files or members
Plain = Callable[[bytes], bytes]  # a mutator of bytes that knows no structure
Mutation = Callable[[bytes, Random, Plain], bytes]


@dataclass(frozen=True)
class Target:
    """A reader: `call` gives it bytes and lets through whatever it does not document.

    Where a checksum would stop a mutator at the door, `call` makes it right: the input is what the
    checksum covers. `mutate` knows the structure of the bytes; None: any byte may change.
    """

    name: str
    call: Callable[[bytes], object]
    mutate: Mutation | None = None
    longest: int = 4096  # bytes of an input

    @property
    def folder(self) -> Path:
        """Return where its committed inputs lie."""
        return CORPUS / self.name

    @property
    def corpus(self) -> list[Path]:
        """Return the committed inputs, the smallest first."""
        found = [path for path in self.folder.glob("*") if path.is_file()]
        return sorted(found, key=lambda path: (path.stat().st_size, path.name))


@cache
def place() -> "tempfile.TemporaryDirectory[str]":
    """Return this process's folder for inputs, removed at its end."""
    return tempfile.TemporaryDirectory(prefix="fuzz-")


def written(data: bytes, name: str = "input") -> Path:
    """Write an input into a file of that name; return its path."""
    path = Path(place().name) / name
    path.write_bytes(data)
    return path
