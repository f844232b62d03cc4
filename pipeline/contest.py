"""From a folder of anybody's files to a submission: look into it, say what was found and
understood, make a preset, and run it to the end.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.configuration import SWEEP, Command, Config, command_line, compose, setting
from pipeline.configuration.hydra_tree import search_path_override
from pipeline.configuration.overrides import override
from pipeline.contest_folder.preset import preset_name, write_preset
from pipeline.contest_folder.roles import KEYS, ContestFiles, roles_of
from pipeline.contest_folder.sizes import fitting_size
from pipeline.data import prepare
from pipeline.files import writable_file, writable_folder
from pipeline.predictions.rehearsal import rehearse
from pipeline.whole_sweep import run_whole, submit


@dataclass
class ContestKeys:
    folder: str | None = setting(None, "folder of the contest's files")
    training: str | None = setting(
        None, "training data: a table or a folder; null: found in folder"
    )
    labels: str | None = setting(None, "table of the training pictures' labels; null: found")
    test: str | None = setting(None, "images to label; null: found")
    template: str | None = setting(None, "sample submission; null: found")
    output: str | None = setting(None, "submission to write; null: in the study's folder")
    base: str = setting("contest", "preset that the made one builds on")
    dry: bool = setting(False, "only tell what was found and understood")


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
    keys: ContestKeys = config.arguments
    if keys.folder is None:
        raise InputError("contest needs folder=PATH, got none")
    folder = Path(keys.folder).expanduser().absolute()
    roles = roles_of(folder, _given(keys, folder))
    for line in roles.lines(folder):
        print(line)
    swept = _with_preset(config, keys, folder, roles)
    output = writable_file(keys.output or str(swept.paths.folder / "submission.csv"), "output")
    # A sweep says itself how the training data were understood.
    data = prepare(swept.data, swept.root, print if keys.dry else None)
    if roles.test is not None:
        for line in rehearse(data, roles.test, roles.template):
            print(line)
    if keys.dry:
        return 0
    code = run_whole(swept)
    if code or roles.test is None:
        return code
    return submit(swept, roles.test, roles.template, output)


def _given(keys: ContestKeys, folder: Path) -> ContestFiles:
    """Return the roles that the user gives, below the folder or where they are. Raises InputError
    for a path that does not exist.
    """
    found: dict[str, Path | None] = {}
    for key in KEYS:
        path = getattr(keys, key)
        places = [] if path is None else [folder / path, Path(path).expanduser().absolute()]
        found[key] = next((place for place in places if place.exists()), None)
        if places and found[key] is None:
            raise InputError(f"{key}: must exist, got {path}, looked at {places[0]}")
    return ContestFiles(**found)  # type: ignore[arg-type]


def _with_preset(config: Config, keys: ContestKeys, folder: Path, roles: ContestFiles) -> Config:
    """Write the preset of these files and return the sweep's configuration with it."""
    own = [text for text in config.overrides if text.partition("=")[0] != "study.name"]
    named = len(own) < len(config.overrides)
    name = config.study.name if named else preset_name(folder)
    presets = writable_folder(config.root / "presets", "root")
    path = write_preset(presets, name, keys.base, roles, folder, fitting_size(roles))
    print(f"preset: {path}")
    chosen = [search_path_override([str(presets)]), f"experiment={name}", *own]
    return compose(
        [*chosen, override("study.name", name)],
        SWEEP,
        quiet=config.quiet,
        verbose=config.verbose,
    )


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
