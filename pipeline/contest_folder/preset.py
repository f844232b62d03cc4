"""The preset that a contest's folder makes: experiment=contest on its files."""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from cnn_core.errors import InputError
from pipeline.configuration import override
from pipeline.configuration.hydra_tree import groups
from pipeline.contest_folder.roles import ContestFiles
from pipeline.files import atomic_write_bytes, atomic_write_text

_HEAD = """# @package _global_
{origin}; change it by hand and run
#   {command}
{digest}
"""
_NO_NAME = re.compile(r"(?i)null|true|false|nan|inf|[0-9_e-]+")
_ORIGIN = "# Made by python -m pipeline.contest from "
_DIGEST = "# As it was made: "


def preset_name(folder: Path) -> str:
    """Return a name for the preset and the study: the folder's, of letters that names may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", folder.name).strip("_-") or "my_contest"


def free_name(name: str) -> str:
    """Return a name that no preset of the project's own bears, which would be composed instead of
    the made one, and that does not read as a number or a truth on the command line.
    """
    taken = name in groups()["experiment"] or _NO_NAME.fullmatch(name)
    return f"{name}-files" if taken else name


def check_own(path: Path, folder: Path, study: str) -> None:
    """Raise InputError where a preset is there that this folder did not make, or that was changed
    by hand since: neither is written over.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    made = _ORIGIN + str(folder)
    if not any(line.startswith(_ORIGIN) and line.partition("; ")[0] == made for line in lines):
        raise InputError(
            f"a preset is written over by the folder alone that made it, {folder} did not make "
            f"{path}; study.name=NAME makes another, beside that of {study!r}"
        )
    digest = next((line for line in lines if line.startswith(_DIGEST)), "")
    settings = [line for line in lines if not line.startswith("#")]
    if digest != _DIGEST + _digest("\n".join(settings)):
        raise InputError(
            f"a preset that was changed by hand is not written over, got {path}: sweep it by the "
            "command on its third line, delete it, or make another by study.name=NAME"
        )


def _digest(settings: str) -> str:
    return hashlib.sha256(settings.strip().encode()).hexdigest()[:16]


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
    path: Path, study: str, base: str, roles: ContestFiles, folder: Path, data: Mapping[str, Any]
) -> None:
    """Write the preset of that path and study, which is the preset `base` on these files with these
    settings of data. Raises InputError where another file is there, see `check_own`.
    """
    check_own(path, folder, study)
    settings: dict[str, Any] = {"images": str(roles.training)}
    if roles.labels is not None:
        settings["labels"] = str(roles.labels)
    if roles.listed is not None:
        settings["only"] = str(roles.listed.training)
    if roles.parts is not None:
        settings["images_key"] = roles.parts.training
    content = {
        "defaults": [base, {"override /data": "files"}, "_self_"],
        "study": {"name": study},
        "data": settings | dict(data),
    }
    presets = path.parent.parent
    words = ["python", "-m", "pipeline.sweep", "--config-dir", str(presets)]
    root = override("root", presets.parent)
    command = shlex.join([*words, override("experiment", path.stem), root])
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    digest = _DIGEST + _digest(text)
    head = _HEAD.format(origin=f"{_ORIGIN}{folder}", command=command, digest=digest)
    atomic_write_text(path, head + text)
