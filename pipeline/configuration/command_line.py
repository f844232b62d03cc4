"""The frame of every command: flags, help, one line and an exit code for invalid user input."""

import difflib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cnn_core.errors import InputError
from cnn_core.plugins import raised_in
from pipeline.configuration.compose import compose
from pipeline.configuration.help import print_help
from pipeline.configuration.hydra_tree import search_path_override
from pipeline.configuration.named_plugins import load_named
from pipeline.configuration.preset_of_key import preset_of
from pipeline.configuration.standard_streams import lasting_streams
from pipeline.configuration.termination import (
    RunFailed,
    Terminated,
    refused_by_system,
    terminable,
)
from pipeline.configuration.tree import Command, Config
from pipeline.files import check_enclosed, check_root
from pipeline.redact import redacted, shown

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
DISTRIBUTION = "numpy-cnn-sweep"
FLAGS = {
    "-h": "help",
    "--help": "help",
    "--version": "version",
    "--cfg": "cfg",
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "--verbose": "verbose",
    "-m": "multirun",
    "--multirun": "multirun",
    "-cd": "config_dir",
    "--config-dir": "config_dir",
}


@dataclass
class _Request:
    """What a command line asks for."""

    overrides: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)


def command_line(command: Command, argv: Sequence[str], main: Callable[[Config], int]) -> int:
    """Read `argv` (without the program's name), compose, run `main`; return the exit code.

    0 done, 1 failed, 2 refused (one line on stderr), 130, 143, 129 interrupted, terminated, its
    terminal gone.
    """
    lasting_streams()
    request = _Request()
    try:
        with terminable():
            return _run(command, argv, main, request)
    except InputError as error:
        text = " ".join(str(error).split())
        print(f"error: {shown(text + preset_of(text, request.overrides))}", file=sys.stderr)
        return REFUSED
    except RunFailed as error:
        print(f"error: {shown(str(error))}", file=sys.stderr)
        return FAILED
    except Exception as error:
        if (place := raised_in(error)) is not None:
            text = f"plugins: {place}: {type(error).__name__}: {error}"
        elif isinstance(error, OSError):
            text = f"{refused_by_system(error)}; once that is fixed, give the same command again"
        else:
            raise
        print(f"error: {shown(text)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated as ended:
        print(f"ended by {ended.name}", file=sys.stderr)
        return int(str(ended.code))


def _run(
    command: Command, argv: Sequence[str], main: Callable[[Config], int], request: _Request
) -> int:
    """Fill in the request and do what it asks for; return the exit code."""
    _read(command, argv, request)
    if "help" in request.flags:
        print_help(command)
        return DONE
    if "version" in request.flags:
        print(version())
        return DONE
    request.overrides = load_named(request.overrides)
    config = compose(
        request.overrides,
        command,
        quiet="quiet" in request.flags,
        verbose="verbose" in request.flags,
    )
    if "cfg" in request.flags:
        print(_job(config, command), end="")
        return DONE
    check_root(config.root)
    check_enclosed(config.paths.folder, config.root)
    return main(config)


def _job(config: Config, command: Command) -> str:
    """Return as YAML the configuration that the command reads, its own keys first; interpolations
    unresolved, secrets redacted.
    """
    own = [field.name for field in fields(command.keys)] if command.keys else []
    sections = [
        key
        for key in config.node
        if key not in own and (command.sections is None or key in ("root", *command.sections))
    ]
    tree = OmegaConf.to_container(config.node, resolve=False)
    ordered: dict[str, Any] = {str(key): tree[key] for key in (*own, *sections)}  # type: ignore[index]
    # The name may be interpolated from a section that is not shown.
    ordered.get("study", {})["name"] = config.study.name
    return OmegaConf.to_yaml(OmegaConf.create(redacted(ordered)))


def version() -> str:
    """Return the installed version."""
    try:
        return f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{DISTRIBUTION} (not installed, running from {Path(__file__).parents[2]})"


def _read(command: Command, argv: Sequence[str], request: _Request) -> None:
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name not in FLAGS:
            if word.startswith("-"):
                _refuse_flag(word)
            request.overrides.append(word)
            continue
        flag = FLAGS[name]
        if equals and flag not in ("cfg", "config_dir"):
            raise InputError(f"{name}: takes no value, got {word!r}")
        if flag == "multirun":
            raise InputError(
                f"{name}: is not how this project sweeps, since it can neither prune nor resume; "
                "say what to search by space=, such as 'space={model.filters:{int:[8,32]}}', and "
                "run python -m pipeline.sweep"
            )
        if flag in ("cfg", "config_dir"):
            value = value if equals else next(words, "")
            _take_value(request, name, flag, value)
        request.flags.add(flag)


def _take_value(request: _Request, name: str, flag: str, value: str) -> None:
    if flag == "cfg" and value != "job":
        raise InputError(f"--cfg: must be job, got {value!r}")
    if flag == "config_dir":
        folder = Path(value).expanduser()
        if not value or not folder.is_dir():
            raise InputError(
                f"{name}: must be a folder with groups such as space/ or experiment/ in it, got "
                f"{value!r}"
            )
        request.overrides.insert(0, search_path_override([str(folder.resolve())]))


def _refuse_flag(word: str) -> None:
    close = difflib.get_close_matches(word.partition("=")[0], FLAGS, n=1, cutoff=0.6)
    hint = f'; did you mean "{close[0]}"?' if close else "; --help lists flags and keys"
    raise InputError(f"{word}: is not a flag of this command{hint}")
