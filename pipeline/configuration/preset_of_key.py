"""Which preset set a key that an error names: what the user did not type, the message says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from pipeline.configuration.hydra_tree import SEARCH_PATH, conf_dir
from pipeline.configuration.overrides import parse_override
from pipeline.structured_text import own_text, parse_yaml

_KEY = re.compile(r"([a-z_]+(?:\.[a-z_0-9]+)+): ")


def preset_of(message: str, overrides: Sequence[str]) -> str:
    """Return ``, set by experiment=NAME`` where the key at the start of a message has its value
    from a preset, nothing where the user gave it or no preset did.
    """
    found = _KEY.match(message)
    try:
        parsed = [parse_override(text) for text in overrides]
    except InputError:
        return ""
    given = {override.key_or_group: override.value() for override in parsed}
    if found is None or found[1] in given:
        return ""
    sets = any(_holds(tree, found[1].split(".")) for _, tree in presets(given))
    return f", set by experiment={given['experiment']}" if sets else ""


def presets(given: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield file and content of the preset that the overrides' values choose, and of those that it
    builds on.
    """
    preset, places = given.get("experiment"), given.get(SEARCH_PATH)
    named = places if isinstance(places, list) else []
    if isinstance(preset, str):
        yield from _presets(preset, [Path(str(place).removeprefix("file://")) for place in named])


def _presets(name: str, folders: Sequence[Path]) -> Iterator[tuple[Path, Any]]:
    for folder in (*folders, conf_dir()):
        path = folder / "experiment" / f"{name}.yaml"
        if path.is_file():
            try:
                tree = parse_yaml(own_text(path)) or {}
            except (OSError, ValueError):  # composing it says so
                return
            yield path, tree
            for base in tree.get("defaults", ()) if isinstance(tree, dict) else ():
                if isinstance(base, str) and base not in ("_self_", name):
                    yield from _presets(base, folders)
            return


def _holds(tree: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True
