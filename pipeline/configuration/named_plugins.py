"""The key ``plugins``: what a user's own command line names is loaded, here alone.

``plugins=[./my_net.py, my_package]``: a file, a package's folder, or the name under which an
installed package declares one (the entry-point group `GROUP`). Once loaded it is written as
``PATH@DIGEST``, so that a trial's stored overrides say what they need. Composing those loads
nothing: a path that stands in a study, a bundle or a data file is never imported.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from cnn_core.plugins import KINDS, Kind, Plugin, load, loaded, subclass_of
from pipeline.configuration.data_settings import DATA, DataSettings
from pipeline.configuration.hydra_tree import GROUP_OF
from pipeline.configuration.overrides import (
    PLUGINS,
    named_plugins,
    override,
    parse_override,
)
from pipeline.configuration.preset_of_key import presets
from pipeline.configuration.pruner_settings import PRUNERS, PrunerSettings
from pipeline.configuration.sampler_settings import SAMPLERS, SamplerSettings
from pipeline.configuration.tree import Config

GROUP = "numpy_cnn_sweep.plugins"
_MARKED = re.compile(r"(?P<path>.+)@(?P<digest>[0-9a-f]{16})")


def _with(base: type, method: str) -> Any:
    """Return the rule of a table of settings that have a member of their own."""

    def rule(name: str, value: Any) -> str:
        broken = subclass_of(base)(name, value)
        return broken or ("" if hasattr(value, method) else f"must define {method}")

    return rule


ALL_KINDS: Mapping[str, Kind] = {
    **KINDS,
    "DATA_SOURCES": Kind(DATA, _with(DataSettings, "source")),
    "SAMPLERS": Kind(SAMPLERS, _with(SamplerSettings, "sampler")),
    "PRUNERS": Kind(PRUNERS, _with(PrunerSettings, "pruner")),
}


def load_named(overrides: Sequence[str]) -> list[str]:
    """Load the plug-ins that a person's overrides, or a preset of theirs, name; return the
    overrides with them as ``PATH@DIGEST``. Never called with overrides from a file.

    Raises InputError, with file and line, for what cannot be used.
    """
    parsed = [parse_override(text) for text in overrides]
    named = [text for one in parsed if one.key_or_group == PLUGINS for text in _texts(one.value())]
    given = {one.key_or_group: one.value() for one in parsed}
    for file, tree in presets(given):
        named += [
            _beside(file, text)
            for text in _texts(tree.get(PLUGINS, []) if isinstance(tree, dict) else [])
        ]
    if not named:
        return list(overrides)
    found = [_load(text) for text in dict.fromkeys(named)]
    return [named_plugins(found), *without_plugins(overrides)]


def without_plugins(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of all other keys."""
    return [text for text in overrides if parse_override(text).key_or_group != PLUGINS]


def loaded_of(value: Any) -> Iterator[Plugin]:
    """Yield the plug-ins that an override's value names. Loads nothing: raises InputError where
    they are not those that this process has loaded.
    """
    for text in _texts(value):
        path, digest = _parts(text)
        same = next((plugin for plugin in loaded() if plugin.digest == digest), None)
        if same is not None:
            yield same
            continue
        changed = next((one for one in loaded() if one.path.name == Path(path).name), None)
        if digest is not None and changed is not None:
            raise InputError(
                f"plugins: must be the plug-in that this was made with, {path} of digest {digest}, "
                f"got {changed.digest} at {changed.path}"
            )
        raise InputError(
            f"plugins: a plug-in is loaded only where the command line names it, and this needs "
            f"{path}; give {_naming(Path(path))}"
        )


def named_in(overrides: Sequence[str]) -> tuple[Plugin, ...]:
    """Return the loaded plug-ins that overrides name, each once. Raises InputError as `loaded_of`
    does.
    """
    values = [one.value() for one in map(parse_override, overrides) if one.key_or_group == PLUGINS]
    return tuple(dict.fromkeys(plugin for value in values for plugin in loaded_of(value)))


def check_use(config: Config, plugins: Sequence[Plugin]) -> None:
    """Check that what a configuration uses of a plug-in is of one that it names. Raises
    InputError.
    """
    others = [plugin for plugin in loaded() if plugin not in plugins]
    for plugin in others:
        for kind, name in _used(config):
            if name in plugin.names.get(kind, ()):
                raise InputError(
                    f"plugins: {name} is of a plug-in that must be named, as {_naming(plugin.path)}"
                )


def _naming(path: Path) -> str:
    """Return what a shell needs to be given to name a plug-in, whatever its path holds."""
    return shlex.quote(override(PLUGINS, [path]))


def _used(config: Config) -> Iterator[tuple[str, str]]:
    for kind, group in GROUP_OF.items():
        settings: Any = getattr(config, group)
        yield kind, settings["name"] if isinstance(settings, Mapping) else settings.name
    yield "LAYERS", config.model.activation
    for name in config.augment:
        yield "AUGMENTATIONS", name


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item for item in items):
        raise InputError(f"plugins: must be a list of files, such as [./my_net.py], got {value!r}")
    return items


def _parts(text: str) -> tuple[str, str | None]:
    found = _MARKED.fullmatch(text)
    return (found["path"], found["digest"]) if found else (text, None)


def _beside(file: Path, text: str) -> str:
    """Return a path of a preset, which starts from the preset's own folder."""
    return str(file.parent / text) if _is_path(text) else text


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith(".py")


def _load(text: str) -> Plugin:
    path, digest = _parts(text)
    place = Path(path).expanduser() if _is_path(path) else _installed(path)
    return load(place.resolve(), ALL_KINDS, digest)


def _installed(name: str) -> Path:
    """Return the file of a plug-in that an installed package declares."""
    found = entry_points(group=GROUP)
    module = next((entry.module for entry in found if entry.name == name), None)
    if module is None:
        names = ", ".join(sorted(entry.name for entry in found)) or "none"
        raise InputError(
            f"plugins: must be a file, as ./{name}.py, or an entry point of the group {GROUP} "
            f"({names}), got {name!r}"
        )
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise InputError(f"plugins: {name} must be a module with a file, got {module}")
    file = Path(spec.origin)
    return file.parent if file.name == "__init__.py" else file
