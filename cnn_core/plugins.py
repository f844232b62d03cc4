"""Plug-ins: layers, nets, optimizers, schedules and augmentations from a user's own file.

A plug-in is a Python file, or a package's folder, that declares tables of the names of `KINDS`, in
the form of the project's own: ``OPTIMIZERS = {"lion": Lion}``. `load` adds them to the project's
tables. Only those that a person named reach it: a command loads what its own command line says, a
worker what that command tells it (`PluginSpec`), and nothing is loaded because a stored file names
it. NumPy and the standard library alone: workers import this.
"""

import difflib
import inspect
import platform
import re
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import Field, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cnn_core.architectures import ARCHITECTURES
from cnn_core.augment_spec import AugmentSpec
from cnn_core.augmentation import OWN_STEPS
from cnn_core.errors import InputError
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import LAYERS, OPERATIONS, Activation, Layer
from cnn_core.optimizers import OPTIMIZERS, Optimizer
from cnn_core.plugin_source import (
    PluginSpec,
    conf_beside,
    digest_of,
    forget,
    imported,
    place_of,
    raised_at,
)
from cnn_core.schedules import SCHEDULES, Schedule
from cnn_core.spec import ACTIVATION_WORDS

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Kind:
    """What one table of a plug-in may hold. `table` is the project's, which it adds to; `rule`
    returns what is required of an entry that breaks the rules, else nothing.
    """

    table: MutableMapping[str, Any]
    rule: Callable[[str, Any], str]


def subclass_of(base: type, settings: bool = True) -> Callable[[str, Any], str]:
    """Return the rule of a table of subclasses; with `settings`, of dataclasses."""

    def rule(_: str, value: Any) -> str:
        if not (isinstance(value, type) and issubclass(value, base)):
            return f"must be a subclass of {base.__name__}"
        bare = any(isinstance(member, Field) for member in vars(value).values())
        return "must have @dataclass above it, as it has settings" if settings and bare else ""

    return rule


def _layer(name: str, value: Any) -> str:
    if broken := subclass_of(Layer, settings=False)(name, value):
        return broken
    if value.kind != name:
        return f"must be listed by its kind, {value.kind!r}"
    if value.__name__ in {layer.__name__ for layer in LAYERS.values()}:
        return "must have a class name that no other layer has"
    own = "infer" in vars(value)
    if value.infer is Layer.infer and value.at_inference is Layer.at_inference:
        return "must define infer, what it computes at inference, or at_inference"
    return (
        f"must have an operation of its own, {value.operation or name!r} is taken"
        if own and (value.operation or name) in OPERATIONS
        else ""
    )


def _function(parameters: int) -> Callable[[str, Any], str]:
    def rule(name: str, value: Any) -> str:
        try:
            inspect.signature(value).bind(*range(parameters))
        except (TypeError, ValueError):
            return f"must be a function of {parameters} arguments"
        return "must not be a setting of AugmentSpec" if hasattr(AugmentSpec, name) else ""

    return rule


# What workers need. `pipeline.configuration.named_plugins` adds what the coordinator alone does.
KINDS: Mapping[str, Kind] = {
    "LAYERS": Kind(LAYERS, _layer),
    "MODELS": Kind(ARCHITECTURES, _function(3)),
    "OPTIMIZERS": Kind(OPTIMIZERS, subclass_of(Optimizer)),
    "SCHEDULES": Kind(SCHEDULES, subclass_of(Schedule)),
    "AUGMENTATIONS": Kind(OWN_STEPS, _function(3)),
}


@dataclass(frozen=True, eq=False)
class Plugin:
    """A plug-in that this process has loaded."""

    path: Path  # file, or folder of a package; absolute
    digest: str
    module: ModuleType
    names: Mapping[str, tuple[str, ...]]  # table -> what it declares there

    @property
    def conf(self) -> Path | None:
        """Return the folder of configuration files beside it."""
        return conf_beside(self.path)

    @property
    def spec(self) -> PluginSpec:
        return PluginSpec(path=str(self.path), digest=self.digest)

    @property
    def trains(self) -> bool:
        """Tell whether workers need it."""
        return any(kind in KINDS for kind in self.names)

    def place(self, kind: str, name: str) -> str:
        """Return file and line of what it declares."""
        return place_of(self.module, kind, getattr(self.module, kind)[name])


_LOADED: dict[str, Plugin] = {}  # by digest
_LOCK = threading.RLock()


def loaded() -> tuple[Plugin, ...]:
    """Return the plug-ins of this process."""
    return tuple(_LOADED.values())


def raised_in(error: BaseException) -> str | None:
    """Return file and line of the plug-in whose code an error arose in, None where it was ours."""
    return next(filter(None, (raised_at(error, plugin.path) for plugin in loaded())), None)


def own_operations(used: Iterable[str]) -> dict[str, Plugin]:
    """Return those of the operations that a plug-in has added, each with its plug-in."""
    added = {
        layer.operation or kind: plugin
        for plugin in loaded()
        for kind, layer in ((kind, LAYERS[kind]) for kind in plugin.names.get("LAYERS", ()))
        if OPERATIONS.get(layer.operation or kind) is layer
    }
    return {name: added[name] for name in sorted(set(used) & added.keys())}


def require(plugins: Iterable[PluginSpec]) -> None:
    """Load those that this process lacks. Raises InputError where a file is missing, is another
    than the one that was named, or cannot be used.
    """
    for plugin in plugins:
        if plugin.digest not in _LOADED:
            load(Path(plugin.path), KINDS, plugin.digest)


def _lacks(path: Path) -> str:
    if path.is_dir():
        return "has no __init__.py"
    return "does not end in .py" if path.exists() else "is not there"


def load(path: Path, kinds: Mapping[str, Kind] = KINDS, expected: str | None = None) -> Plugin:
    """Import a plug-in and add what it declares to the project's tables; the same content is
    imported once. Raises InputError with file and line of what is wrong, and where its digest is
    not the `expected` one.
    """
    if not (path.is_file() and path.suffix == ".py") and not (path / "__init__.py").is_file():
        raise InputError(
            "plugins: must be a .py file or a package's folder, or the name under which an "
            f"installed package declares one, got {path}, which {_lacks(path)} ({platform.node()})"
        )
    with _LOCK:
        digest = digest_of(path)
        if expected is not None and digest != expected:
            raise InputError(
                f"plugins: must be the plug-in that was named, of digest {expected}, got {digest} "
                f"at {path}; its file or a configuration file beside it has changed since"
            )
        if digest not in _LOADED:
            _LOADED[digest] = _loaded(path, digest, kinds)
        return _LOADED[digest]


def _loaded(path: Path, digest: str, kinds: Mapping[str, Kind]) -> Plugin:
    module = imported(path, digest)
    try:
        tables = _declared(module, kinds)
        names = {kind: tuple(table) for kind, table in tables.items()}
        plugin = Plugin(path, digest, module, names)
        _check(plugin, tables, kinds)
    except InputError:
        forget(digest)
        raise
    for kind, table in tables.items():
        kinds[kind].table.update(table)
    for kind, layer in tables.get("LAYERS", {}).items():
        if layer.infer is not Layer.infer:
            OPERATIONS.setdefault(layer.operation or kind, layer)
        if issubclass(layer, Activation):
            ACTIVATIONS[kind] = layer
            ACTIVATION_WORDS.append(kind)
    return plugin


def _declared(module: ModuleType, kinds: Mapping[str, Kind]) -> dict[str, Mapping[str, Any]]:
    """Return the tables that a module declares. Raises InputError where there is none."""
    found = {kind: getattr(module, kind) for kind in kinds if hasattr(module, kind)}
    for kind, table in found.items():
        if not isinstance(table, Mapping) or not table:
            raise InputError(
                f"plugins: {place_of(module, kind, None)}: {kind} must map names to what it "
                f"declares, got {table!r}"
            )
    if not found and kinds is not KINDS:  # a worker is told of tables that it does not know
        upper = [name for name in vars(module) if name.isupper()]
        close = next((m for n in upper for m in difflib.get_close_matches(n, kinds, 1)), None)
        raise InputError(
            f"plugins: {module.__file__}: must declare one of {', '.join(kinds)}, got none"
            f"{f'; did you mean {close}?' if close else ''}"
        )
    return found


def _check(
    plugin: Plugin, tables: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, Kind]
) -> None:
    """Check each name and what it stands for. Raises InputError with file and line."""
    for kind, table in tables.items():
        for name, value in table.items():
            place = f"plugins: {place_of(plugin.module, kind, value)}: {kind} {name!r}"
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise InputError(f"{place}: a name must be of a to z, 0 to 9 and _")
            if name in kinds[kind].table:
                raise InputError(f"{place}: must be a new name, {_owner(kind, name, plugin)}")
            if broken := kinds[kind].rule(name, value):
                raise InputError(f"{place}: {broken}, got {value!r}")


def _owner(kind: str, name: str, plugin: Plugin) -> str:
    other = next((p for p in loaded() if name in p.names.get(kind, ())), None)
    if other is None:
        return "this one is the project's own"
    if other.path == plugin.path:
        return "this process has loaded it before the file changed: start a new one"
    return f"{other.path} declares it too"
