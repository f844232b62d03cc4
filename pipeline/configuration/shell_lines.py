"""Commands as lines that a user can paste into a shell, which then do what was announced."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cnn_core.plugins import loaded
from pipeline.configuration.overrides import PLUGINS, named_plugins, override, parse_override
from pipeline.configuration.tree import ROOT_KEYS, Config
from pipeline.redact import redact


def command_of(command: str, root: Path, *overrides: str) -> str:
    """Return the shell line that runs a command of this project on `root` with the plug-ins of this
    process; the default root is left out.
    """
    usual = root.absolute() == Path(ROOT_KEYS["root"]).absolute()
    where = [] if usual else [override("root", root)]
    if loaded() and not any(text.startswith(f"{PLUGINS}=") for text in overrides):
        where.append(named_plugins(loaded()))
    return shlex.join(["python", "-m", f"pipeline.{command}", *where, *overrides])


def again(config: Config, *more: str) -> str:
    """Return what the user typed, with `more` in place of what it says of the same keys."""
    command, *given = config.invocation or (config.command, *config.overrides)
    keys = {text.partition("=")[0] for text in more}
    kept = [text for text in given if text.partition("=")[0] not in keys]
    return redact(shlex.join(["python", "-m", f"pipeline.{command}", *kept, *more]))


def going_on(config: Config, command: str, sections: Sequence[str], *more: str) -> str:
    """Return the line that runs another command on this study: where it is, and what the user said
    of these `sections` as far as it is not about a single run.
    """
    name = override("study.name", config.study.name)
    about = given_of(config, (*sections, "study.storage"))
    return redact(command_of(command, config.root, *about, name, *more))


def given_of(config: Config, keys: Sequence[str]) -> list[str]:
    """Return the user's overrides of these sections and keys."""
    found = [(parse_override(text).key_or_group, text) for text in config.overrides]
    return [text for key, text in found if key in keys or key.partition(".")[0] in keys]
