"""A record: an accuracy to be reached by test images, and the recipe that reaches it soonest, as a
ladder of rungs that each change something. One YAML file each in this folder.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a file says. `rungs`: overrides by what they bring, each added to those before it."""

    name: str
    title: str
    accuracy: float  # of the test images, the mean over `seeds`
    data: str
    seeds: int
    peer: str | None = None  # a function of benchmarks.records_parts.torch_recipes
    published: str = ""  # what its source says of it
    rungs: Mapping[str, str] = field(default_factory=dict)

    def overrides(self) -> dict[str, list[str]]:
        """Return of each rung all overrides that compose it."""
        base = [f"data={self.data}", "space=none", "pruner=none", "study.name=records"]
        added = [shlex.split(text) for text in self.rungs.values()]
        whole = accumulate(added, lambda before, new: [*before, *new], initial=base)
        return dict(zip(self.rungs, [*whole][1:], strict=True))


def records() -> dict[str, Record]:
    """Return all records by their names."""
    return {file.stem: _read(file) for file in sorted(FOLDER.glob("*.yaml"))}


def _read(file: Path) -> Record:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return Record(name=file.stem, **found)
