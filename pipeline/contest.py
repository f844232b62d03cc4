"""From a folder of anybody's files to a submission: look into it, say what was found and
understood, make a preset, and run it to the end.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from cnn_core.field_checks import setting
from cnn_core.spec import DataSpec
from pipeline.configuration import SWEEP, Command, Config, command_line, compose
from pipeline.configuration.hydra_tree import search_path_override
from pipeline.configuration.overrides import override
from pipeline.configuration.typed_tree import forget_trees
from pipeline.contest_folder.preset import (
    free_name,
    preset_name,
    preset_path,
    undone_if_refused,
    write_preset,
)
from pipeline.contest_folder.roles import KEYS, ContestFiles, roles_of
from pipeline.contest_folder.sizes import fitting_size
from pipeline.data import prepare
from pipeline.files import writable_file, writable_folder
from pipeline.predictions.asked import PredictKeys
from pipeline.predictions.rehearsal import rehearse
from pipeline.predictions.submission import FORMATS
from pipeline.whole_sweep import run_whole, submit


@dataclass
class ContestKeys:
    folder: str | None = setting(None, "folder of the contest's files")
    training: str | None = setting(
        None, "training data: a table or a folder; null: found in folder"
    )
    labels: str | None = setting(
        None, "table of the training pictures' labels; null: found; none: they have their own"
    )
    test: str | None = setting(None, "images to label; null: found; none: there are none")
    test_label: str = setting("auto", "label column of the test table: auto, none, or its name")
    test_id: str = setting("auto", "id column of the test table: auto, none, or its name")
    test_shape: list[int] = setting(
        [], "channels, height, width of a row's image in the test table; empty: as shape", low=1
    )
    test_images_key: str = setting("auto", "test images' name in an archive of arrays")
    test_labels_key: str = setting("auto", "their labels' name in an archive of arrays")
    template: str | None = setting(None, "sample submission; null: found; none: there is none")
    output: str | None = setting(None, "submission to write; null: in the study's folder")
    format: str = setting(
        "auto",
        "of the submission: labels, ids and labels, or probabilities; auto: as the template",
        choices=FORMATS,
    )
    label: str = setting(
        "auto", "label column of the training table: auto, first, last, none, or its name"
    )
    id: str = setting("auto", "id column of the training table: auto, none, or its name")
    only: str | None = setting(
        None, "table that names the training pictures of a folder; null: found, or all are"
    )
    shape: list[int] = setting(
        [], "channels, height, width of a row's image; empty: one square image", low=1
    )
    size: list[int] = setting(
        [], "height, width that every image is resampled to; empty: follows from pictures", low=1
    )
    images_key: str = setting("auto", "training images' name in an archive of arrays")
    labels_key: str = setting("auto", "their labels' name in an archive of arrays")
    on_damaged: str = setting(
        "refuse", "pictures that cannot be read: refuse, or skip them", choices=("refuse", "skip")
    )
    full_scale: float | None = setting(
        None, "value that stands for white in the test data; null: as in training", above=0
    )
    polarity: str = setting(
        "auto",
        "of the test data: auto turns light and dark round where the background is certainly not "
        "that of training; keep does not",
        choices=("auto", "keep"),
    )
    base: str = setting("contest", "preset that the made one builds on")
    dry: bool = setting(False, "only tell what was found and understood")


# Keys that the made preset sets in its data section.
_OF_DATA = ("label", "id", "only", "shape", "size", "images_key", "labels_key", "on_damaged")
_DATA_KEY = re.compile(rf"\bdata\.(?=(?:labels|{'|'.join(_OF_DATA)})\b)")
_OF_TEST = re.compile(r"(?<![\w.])((?:label|id|shape)(?=[=`])|(?:images|labels)_key\b)")
_PARTS = ("labels", "test", "template")  # that a contest need not have

COMMAND = Command(
    name="contest",
    about="Looks into a contest's folder, says what it found, trains experiment=contest on it and "
    "writes a submission in the contest's form. The preset that it makes can be changed by hand.",
    examples=(
        "python -m pipeline.contest folder=./my-contest",
        "python -m pipeline.contest folder=./my-contest dry=true",
        "python -m pipeline.contest folder=./my-contest base=contest_quick",
    ),
    keys=ContestKeys,
)


def main(config: Config) -> int:
    """Go from the folder that the arguments name to a submission; return the exit code."""
    try:
        return _run(config, config.arguments)
    except InputError as error:
        raise InputError(_DATA_KEY.sub("", str(error))) from None


def _run(config: Config, keys: ContestKeys) -> int:
    if keys.folder is None:
        raise InputError("contest needs folder=PATH, got none")
    folder = Path(keys.folder).expanduser().absolute()
    without = [key for key in _PARTS if getattr(keys, key) == "none"]
    roles = roles_of(folder, _given(keys, folder, without), without, (keys.id, keys.test_id))
    for line in roles.lines(folder):
        print(line)
    named = any(text.partition("=")[0] == "study.name" for text in config.overrides)
    name = config.study.name if named else preset_name(folder)
    preset = preset_path(config.root / "presets", free_name(name))
    with undone_if_refused(preset):
        swept = _with_preset(config, preset, name, roles, folder)
        # A sweep says itself how the training data were understood.
        data = prepare(swept.data, swept.root, print if keys.dry else None)
        asked = _asked(keys, roles, swept.paths.folder / "submission.csv")
        if asked is not None:
            for line in _rehearsed(data, asked):
                print(line)
    print(f"preset: {preset}")
    if keys.dry:
        return 0
    if asked is not None:
        writable_file(str(asked.output), "output")
    code = run_whole(swept)
    return code if code or asked is None else submit(swept, asked)


def _rehearsed(data: DataSpec, asked: PredictKeys) -> Iterator[str]:
    """Yield what the test data were taken for. Raises InputError in this command's own keys."""
    try:
        yield from rehearse(data, asked)
    except InputError as error:
        raise InputError(_OF_TEST.sub(r"test_\1", str(error))) from None


def _asked(keys: ContestKeys, roles: ContestFiles, output: Path) -> PredictKeys | None:
    """Return what is to be predicted once there is a bundle, None without test data."""
    if roles.test is None:
        return None
    images_key = keys.test_images_key
    if images_key == "auto" and roles.parts is not None:
        images_key = roles.parts.test
    return PredictKeys(
        input=str(roles.test),
        output=keys.output or str(output),
        label=keys.test_label,
        id=keys.test_id,
        template=None if roles.template is None else str(roles.template),
        format=keys.format,
        shape=keys.test_shape or keys.shape,
        polarity=keys.polarity,
        only=None if roles.listed is None else str(roles.listed.test),
        images_key=images_key,
        labels_key=keys.test_labels_key,
        full_scale=keys.full_scale,
        on_damaged=keys.on_damaged,
    )


def _data_settings(keys: ContestKeys, roles: ContestFiles, folder: Path) -> Mapping[str, Any]:
    """Return the settings of data that follow from the files, and those that the user gives."""
    empty = ContestKeys()
    given = {key: getattr(keys, key) for key in _OF_DATA}
    given = {key: value for key, value in given.items() if value != getattr(empty, key)}
    if keys.only is not None:
        given["only"] = str(_place("only", keys.only, folder))
    return {**fitting_size(roles), **given}


def _given(keys: ContestKeys, folder: Path, without: Sequence[str]) -> ContestFiles:
    """Return the roles that the user gives, below the folder or where they are. Raises InputError
    for a path that does not exist.
    """
    paths = {key: getattr(keys, key) for key in KEYS if key not in without}
    found = {key: _place(key, path, folder) for key, path in paths.items() if path is not None}
    return ContestFiles(**found)  # type: ignore[arg-type]


def _place(key: str, path: str, folder: Path) -> Path:
    places = (folder / path, Path(path).expanduser().absolute())
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise InputError(f"{key}: must exist, got {path}, looked at {places[0]}")
    return found


def _with_preset(
    config: Config, preset: Path, study: str, roles: ContestFiles, folder: Path
) -> Config:
    """Write the preset of these files and return the sweep's configuration with it."""
    keys: ContestKeys = config.arguments
    presets = writable_folder(preset.parent.parent, "root")
    write_preset(preset, study, keys.base, roles, folder, _data_settings(keys, roles, folder))
    forget_trees()  # that of an older preset of this name
    own = [text for text in config.overrides if text.partition("=")[0] != "study.name"]
    chosen = [search_path_override([str(presets)]), override("experiment", preset.stem), *own]
    found = compose(
        [*chosen, override("study.name", study)],
        SWEEP,
        quiet=config.quiet,
        verbose=config.verbose,
    )
    return replace(found, invocation=config.invocation)


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
