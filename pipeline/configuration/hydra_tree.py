"""Hydra, in one place: where conf/ is, which groups and choices it holds, and one composition per
combination of groups.
"""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from cnn_core.errors import InputError, did_you_mean
from cnn_core.plugins import Plugin, loaded

_LOCK = threading.RLock()
SEARCH_PATH = "hydra.searchpath"
# What a file that is no configuration makes of Hydra: its own errors, and those that it lets pass.
_UNCOMPOSED = (
    hydra.errors.HydraException,
    OmegaConfBaseException,
    yaml.YAMLError,
    *(ValueError, TypeError, AttributeError, RecursionError, OverflowError, OSError),
    AssertionError,
)
# What plug-ins declare -> the group in which it is chosen.
GROUP_OF = {
    "MODELS": "model",
    "OPTIMIZERS": "optimizer",
    "SCHEDULES": "schedule",
    "DATA_SOURCES": "data",
    "SAMPLERS": "sampler",
    "PRUNERS": "pruner",
}


@lru_cache(maxsize=1)
def conf_dir() -> Path:
    """Return the folder of the configuration: inside the installed package, or beside it in a
    checkout.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise InputError(
        f"conf: config.yaml must be in {package / 'conf'} or {package.parent / 'conf'}, found in "
        "neither: install again"
    )


@lru_cache(maxsize=1)
def groups() -> dict[str, list[str]]:
    """Return group -> sorted choices of the project's own conf/, as of the start of the process."""
    folder = conf_dir()
    return {
        path.name: sorted(file.stem for file in path.glob("*.yaml"))
        for path in sorted(folder.iterdir())
        if path.is_dir()
    }


def choices(group: str, search_path: tuple[str, ...] = ()) -> list[str]:
    """Return a group's choices, those of plug-ins and of the user's own folders included."""
    found = {*groups().get(group, ()), *_of_plugins(group)}
    for folder in search_path:
        if Path(folder, group).is_dir():
            found.update(file.stem for file in Path(folder, group).glob("*.yaml"))
    return sorted(found)


def _of_plugins(group: str) -> dict[str, Plugin]:
    """Return the choices that this process's plug-ins have added."""
    kind = next((kind for kind, other in GROUP_OF.items() if other == group), "")
    return {name: plugin for plugin in loaded() for name in plugin.names.get(kind, ())}


def _offer(search_path: tuple[str, ...]) -> None:
    """Tell Hydra of the choices that plug-ins declare without a file: their defaults."""
    store = ConfigStore.instance()
    for group in GROUP_OF.values():
        for name in _of_plugins(group):
            if any(Path(folder, group, f"{name}.yaml").exists() for folder in search_path):
                store.repo.get(group, {}).pop(f"{name}.yaml", None)
            else:
                store.store(name, {"name": name}, group)


def compose_groups(
    selected: tuple[str, ...], search_path: tuple[str, ...] = ()
) -> tuple[DictConfig, dict[str, str | None]]:
    """Compose conf/config.yaml with group overrides such as ``optimizer=adam``; return the plain
    tree and group -> choice.

    Raises InputError in one line for whatever Hydra finds wrong.
    """
    overrides = list(selected)
    if search_path:
        overrides.insert(0, search_path_override(search_path))
    with _LOCK, _initialized():
        _offer(search_path)
        try:
            tree = hydra.compose("config", overrides=overrides, return_hydra_config=True)
            chosen = {
                str(key): value
                for key, value in tree.hydra.runtime.choices.items()
                if not str(key).startswith("hydra/")
            }
            with open_dict(tree):
                del tree["hydra"]
        except _UNCOMPOSED as error:
            raise InputError(
                f"configuration: must compose, got {first_line(error)} (with "
                f"{' '.join(overrides) or 'conf/config.yaml'})"
            ) from error
    OmegaConf.set_struct(tree, True)
    return tree, chosen


def search_path_override(folders: Sequence[str]) -> str:
    """Return the override that adds the user's own folders to Hydra's search path. Raises
    InputError for a name that it cannot hold.
    """
    for folder in folders:
        if "'" in folder or "\\" in folder:
            raise InputError(
                "--config-dir: must be a folder without quotes and backslashes in its path, got "
                f"{folder!r}"
            )
    quoted = [f"'file://{folder}'" for folder in folders]
    return f"{SEARCH_PATH}=[{','.join(quoted)}]"


@contextlib.contextmanager
def _initialized() -> Iterator[None]:
    """Initialize Hydra for one composition; whoever calls may use it for another configuration."""
    running, rules = GlobalHydra.instance(), VersionBase.instance()
    before = running.hydra, rules.version_base
    running.clear()
    try:
        hydra.initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="pipeline")
        yield
    finally:
        running.hydra, rules.version_base = before


def check_choice(group: str, choice: object, search_path: tuple[str, ...] = ()) -> str | None:
    """Return the choice if the group has it, None for no preset, which Hydra cannot be told: it is
    the default. Raises InputError with the nearest one.
    """
    known = choices(group, search_path)
    if group == "experiment" and choice is None:
        return None
    if isinstance(choice, str) and choice in known:
        return choice
    if choice is None:
        raise InputError(f"{group}: must be one of {', '.join(known)}, got null")
    raise InputError(
        f"{group}: must be one of {', '.join(known)}, got "
        f"{choice!r}{_by_name(group, str(choice)) or did_you_mean(str(choice), known)}"
    )


def _by_name(group: str, choice: str) -> str:
    """Return how to choose a file of one's own, "" where none was given."""
    file = Path(choice)
    if file.suffix not in (".yaml", ".yml") and len(file.parts) < 2:
        return ""
    there = file.parent.name == group
    folder = str(file.parent.parent) if there else "DIR"
    move = "" if there else f"it in DIR/{group}/{file.stem}.yaml and "
    return (
        f"; a file of your own is chosen by its name, with {move}--config-dir {folder} "
        f"{group}={file.stem}"
    )


def file_of(group: str, choice: str | None, search_path: Sequence[str] = ()) -> str:
    """Return the file in which a choice is defined, as messages name it."""
    if choice is None:
        return "conf/config.yaml"
    own = (folder for folder in search_path if Path(folder, group, f"{choice}.yaml").exists())
    folder = "conf" if choice in groups().get(group, ()) else next(own, None)
    if folder is None and choice in (declared := _of_plugins(group)):
        return str(declared[choice].path)
    return f"{folder or 'conf'}/{group}/{choice}.yaml"


def first_line(error: BaseException) -> str:
    """Return the first non-blank line of an exception's message."""
    if isinstance(error, OmegaConfBaseException) and error.msg:
        text = error.msg
    else:
        text = str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
