"""Pause, from outside, whatever trains in a study: as Ctrl-C in its terminal does."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.configuration import Command, Config, again, command_line, setting
from pipeline.files import atomic_write_text
from pipeline.slots.owner_lock import is_locked, read_owner
from pipeline.slots.stop_request import AT_ONCE, STOP_FILE

LOOK_S = 0.2


@dataclass
class StopKeys:
    now: bool = setting(False, "do not finish the epochs in flight, as a second Ctrl-C")
    wait: bool = setting(False, "return only when it has ended")


COMMAND = Command(
    name="stop",
    about="Pauses the sweep, the final training or the nets of pipeline.train that run under a "
    "study's name, as Ctrl-C does; the same command as before resumes. A file of the name stop in "
    "the study's folder does the same. Exit code 1 where nothing runs.",
    examples=(
        "python -m pipeline.stop study.name=digits",
        "python -m pipeline.stop study.name=digits wait=true",
    ),
    keys=StopKeys,
    sections=("study",),
)


def main(config: Config) -> int:
    """Ask every coordinator of the study to pause; return 0, or 1 where there is none."""
    keys: StopKeys = config.arguments
    running = [
        folder
        for folder in (config.paths.folder, *sorted(config.paths.folder.glob("train/*")))
        if _is_held(folder)
    ]
    for folder in running:
        atomic_write_text(folder / STOP_FILE, AT_ONCE if keys.now else "")
        print(f"{folder}: {_who(folder)} is asked to pause")
    if not running:
        print(f"nothing runs in {config.paths.folder}")
        return 1
    if not keys.wait:
        print(f"wait for it with: {again(config, 'wait=true')}")
        return 0
    while any(map(_is_held, running)):
        time.sleep(LOOK_S)
    print("paused")
    return 0


def _is_held(folder: Path) -> bool:
    """Tell whether a coordinator has the folder, here or on another machine."""
    owner = read_owner(folder / "owner.json")
    return is_locked(folder / "owner.json") or (owner is not None and owner.elsewhere)


def _who(folder: Path) -> str:
    owner = read_owner(folder / "owner.json")
    return "a coordinator" if owner is None else f"process {owner.pid} on {owner.host}"


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
