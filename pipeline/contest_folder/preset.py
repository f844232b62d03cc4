"""The preset that a contest's folder makes: experiment=contest on its files."""

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from pipeline.configuration import override
from pipeline.contest_folder.roles import ContestFiles
from pipeline.files import atomic_write_bytes, atomic_write_text

_HEAD = """# @package _global_
# Made by python -m pipeline.contest from {folder}; change it by hand and run
#   {command}
"""


def preset_name(folder: Path) -> str:
    """Return a name for the preset and the study: the folder's, of letters that names may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", folder.name).strip("_-") or "my_contest"


def preset_path(presets: Path, name: str) -> Path:
    """Return the file of a preset."""
    return presets / "experiment" / f"{name}.yaml"


@contextmanager
def undone_if_refused(path: Path) -> Iterator[None]:
    """Leave the file as it was before, and no folder that was made for it, where the block ends
    with an exception.
    """
    before = path.read_bytes() if path.exists() else None
    made = [folder for folder in list(path.parents)[:3] if not folder.exists()]
    try:
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            atomic_write_bytes(path, before)
        with suppress(OSError):  # not empty: the rest of the list is above it
            for folder in made:
                folder.rmdir()
        raise


def write_preset(
    presets: Path, name: str, base: str, roles: ContestFiles, folder: Path, data: Mapping[str, Any]
) -> Path:
    """Write the preset `name`, which is the preset `base` on these files with these settings of
    data; return its path.
    """
    settings: dict[str, Any] = {"images": str(roles.training)}
    if roles.labels is not None:
        settings["labels"] = str(roles.labels)
    if roles.parts is not None:
        settings["images_key"] = roles.parts.training
    content = {
        "defaults": [base, {"override /data": "files"}, "_self_"],
        "study": {"name": name},
        "data": settings | dict(data),
    }
    path = preset_path(presets, name)
    words = ["python", "-m", "pipeline.sweep", "--config-dir", str(presets)]
    root = override("root", presets.parent)
    command = shlex.join([*words, f"experiment={name}", root])
    head = _HEAD.format(folder=folder, command=command)
    atomic_write_text(path, head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path
