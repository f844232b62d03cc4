"""The tree of one combination of groups, typed and cached. Copies share the sections that a
composition does not touch: a trial changes three or four of seventeen, and copying and converting
all of them was the coordinator's largest cost.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cnn_core.errors import InputError, did_you_mean
from cnn_core.field_checks import A_LIST, KINDS, check_settings
from cnn_core.plugins import loaded
from pipeline.configuration.hydra_tree import compose_groups, file_of, groups
from pipeline.configuration.rules import refuse_resolvers, refuse_targets
from pipeline.configuration.tree import (
    FREE_SECTIONS,
    ROOT_KEYS,
    SECTIONS,
    Command,
    choices_with,
    section_type,
)


@dataclass(frozen=True)
class TypedTree:
    """One combination of groups with every section typed by its dataclass. What `tree` shares with
    its copies is read-only.
    """

    tree: DictConfig
    chosen: dict[str, str | None]  # group -> chosen file
    # sections of `tree` itself as objects, each built on first use
    _objects: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _shared(self) -> dict[str, Any]:
        """The sections that are the same in every copy: those without interpolations."""
        nodes: dict[str, Any] = {
            section: self.tree._get_node(section) for section in (*SECTIONS, *FREE_SECTIONS)
        }
        shared = {
            section: node
            for section, node in nodes.items()
            if "${" not in OmegaConf.to_yaml(node, resolve=False)
        }
        for node in shared.values():
            OmegaConf.set_readonly(node, True)
        return shared

    def opened(self, changed: Iterable[str]) -> DictConfig:
        """Return a copy of the tree whose `changed` sections may be written to; not thread-safe."""
        written = self._shared.keys() & set(changed)
        kept = {id(node): node for section, node in self._shared.items() if section not in written}
        tree = copy.deepcopy(self.tree, kept)  # what is in the memo is not copied
        for section in written:
            OmegaConf.set_readonly(tree[section], None)
        return tree

    def object(self, node: DictConfig, section: str) -> Any:
        """Return a section of a copy as its checked dataclass. Raises OmegaConfBaseException,
        InputError.
        """
        if node._get_node(section) is not self.tree._get_node(section):
            return _checked(node, section)
        if section not in self._objects:
            self._objects[section] = _checked(self.tree, section)
        return copy.deepcopy(self._objects[section])


def _checked(node: DictConfig, section: str) -> Any:
    value = OmegaConf.to_object(node[section])
    if section not in FREE_SECTIONS and not hasattr(value, "__post_init__"):
        check_settings(section, value)  # cnn_core's specs have checked themselves
    return value


def typed_tree(
    selected: tuple[str, ...], search_path: tuple[str, ...], command: Command
) -> TypedTree:
    """Return the tree of one combination of groups, composed once."""
    # What a section may hold depends on the plug-ins of this process.
    return _typed_tree(selected, search_path, command, tuple(p.digest for p in loaded()))


def forget_trees() -> None:
    """Read configuration files anew from now on."""
    _typed_tree.cache_clear()


@lru_cache(maxsize=256)
def _typed_tree(
    selected: tuple[str, ...],
    search_path: tuple[str, ...],
    command: Command,
    plugins: tuple[str, ...],
) -> TypedTree:
    plain, chosen = compose_groups(selected, search_path)
    given = OmegaConf.to_container(plain, resolve=False)
    refuse_targets(given, "conf")
    refuse_resolvers(given)
    unknown = set(plain) - {*SECTIONS, *FREE_SECTIONS, *ROOT_KEYS}
    if unknown:
        key = sorted(map(str, unknown))[0]
        raise InputError(
            f"{key}: is not a section of the "
            f"configuration{did_you_mean(key, (*SECTIONS, *FREE_SECTIONS, *ROOT_KEYS))}"
        )
    tree = OmegaConf.create({})
    for key, default in ROOT_KEYS.items():
        tree[key] = plain.get(key, default)
    for section in (*SECTIONS, *FREE_SECTIONS):
        place = file_of(section, chosen.get(section), search_path)
        tree[section] = _typed_section(section, plain.get(section), place)
    if command.keys is not None:
        own = OmegaConf.structured(command.keys)
        for key in own:
            tree._set_item_impl(key, own._get_node(key))
    OmegaConf.set_struct(tree, True)
    for section in FREE_SECTIONS:
        OmegaConf.set_struct(tree[section], False)
    return TypedTree(tree, chosen)


def _typed_section(section: str, plain: Any, place: str) -> DictConfig:
    if section in FREE_SECTIONS:
        return OmegaConf.create(
            {} if plain is None else OmegaConf.to_container(plain, resolve=False)
        )  # type: ignore[return-value]
    values = {} if plain is None else OmegaConf.to_container(plain, resolve=False)
    if not isinstance(values, dict):
        raise InputError(f"{section}: must be a mapping, got {values!r} ({place})")
    typed = OmegaConf.structured(section_type(section, values.get("name"), place))
    OmegaConf.set_struct(typed, True)
    OmegaConf.set_readonly(typed, None)  # a frozen dataclass makes it read-only
    for key, value in values.items():
        set_typed(typed, str(key), value, f"{section}.", place)
    return typed  # type: ignore[no-any-return]


def set_typed(node: DictConfig, key: str, value: Any, prefix: str, place: str) -> None:
    """Set one value; `prefix` completes the key in messages."""
    full = prefix + key
    if full == "model.hidden" and isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    kind = _kind(node, key)
    if (
        kind
        and isinstance(value, int | float)
        and kind.startswith("true or false") != isinstance(value, bool)
    ):
        raise InputError(f"{full}: must be {kind}, got {value!r} ({place})")
    try:
        OmegaConf.update(node, key, value, merge=True, force_add=False)
    except (ConfigAttributeError, ConfigKeyError) as error:
        section = full.partition(".")[0]
        owners = choices_with(full)
        if owners and section in node:
            listed = " or ".join(filter(None, (", ".join(owners[:-1]), owners[-1])))
            raise InputError(
                f"{full}: is not a key of {section}={node[section].name}, but of "
                f"{section}={listed} ({place})"
            ) from error
        known = [prefix + name for name in keys_of(node)] + list(groups())
        raise InputError(
            f"{full}: is not a key of the configuration{did_you_mean(full, known)} ({place})"
        ) from error
    except OmegaConfBaseException as error:
        raise InputError(
            f"{full}: must be {kind or 'a value that fits'}, got {value!r} ({place})"
        ) from error
    except (TypeError, ValueError, IndexError) as error:  # OmegaConf's, of what is below a list
        raise InputError(
            f"{full}: must not be a part of a list, which is set whole ({place})"
        ) from error


def _kind(node: DictConfig, key: str) -> str:
    """Return in words what `key` accepts, such as "a whole number or null"; "" where there is no
    such key.
    """
    parent, _, last = key.rpartition(".")
    try:
        holder = OmegaConf.select(node, parent) if parent else node
        child: Any = holder._get_node(last)
        reference, optional = child._metadata.ref_type, child._metadata.optional
    except (OmegaConfBaseException, AttributeError):
        return ""
    if reference in KINDS:
        return f"{KINDS[reference]} or null" if optional else KINDS[reference]
    return A_LIST if OmegaConf.is_list(child) else "a value"


def keys_of(node: DictConfig, prefix: str = "") -> list[str]:
    """Return a tree's dotted keys, sections included, the free mapping ``space`` as one key."""
    keys: list[str] = []
    for key in map(str, node):
        name = f"{prefix}{key}"
        keys.append(name)
        child = node._get_node(key)
        if (
            isinstance(child, DictConfig)
            and name != "space"
            and not (child._is_none() or child._is_interpolation())
        ):
            keys.extend(keys_of(child, f"{name}."))
    return keys
