"""Rules beyond a single field: values that exclude each other, and what is never allowed."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnn_core.errors import InputError
from cnn_core.measures import metric_of
from pipeline.configuration.pruner_settings import TopKSettings
from pipeline.files import ARTIFACTS, SHARED, STORE

if TYPE_CHECKING:
    from pipeline.configuration.tree import Config

# What lies beside the studies in the root, and what SQLite writes beside its file.
RESERVED = (ARTIFACTS, *SHARED, "submissions.csv")
_RESERVED = re.compile(
    "|".join([rf"{re.escape(STORE)}(-.*)?", *map(re.escape, RESERVED)]), re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


def refuse_targets(value: Any, place: str) -> None:
    """Refuse keys such as ``_target_`` anywhere: nothing in a configuration names code to run.
    Raises InputError.
    """
    if isinstance(value, dict):
        for key, child in value.items():
            if re.search(r"(^|\.)_(target|partial|recursive|convert|args)_($|\.)", str(key)):
                raise InputError(
                    f"{key}: a configuration never names code to run, and this is refused unread "
                    f"({place})"
                )
            refuse_targets(child, place)
    elif isinstance(value, list | tuple):
        for child in value:
            refuse_targets(child, place)


# What may come from the environment: addresses, which hold passwords.
ADDRESSES = (("tracking", "uri"), ("study", "storage"), ("slots", "address"))
# Another key, which is all that other values may be taken from.
_REFERENCE = re.compile(r"\$\{[\w.]+\}|(?<!\\)(?:\\\\)*\\\$\{")  # or a brace that is text


def refuse_resolvers(tree: Any, place: tuple[str, ...] = ()) -> None:
    """Refuse ``${oc.env:NAME}`` in all keys but ADDRESSES: a preset of somebody else's must not
    take what the environment holds into what is stored. Raises InputError.
    """
    if isinstance(tree, dict | list):
        pairs = tree.items() if isinstance(tree, dict) else ((place[-1], each) for each in tree)
        for key, child in pairs:
            refuse_resolvers(child, (*place, str(key)) if isinstance(tree, dict) else place)
    elif isinstance(tree, str) and place not in ADDRESSES and "${" in _REFERENCE.sub("", tree):
        known = ", ".join(map(".".join, ADDRESSES))
        raise InputError(
            f"{'.'.join(place)}: must be given as it is, ${{oc.env:NAME}} is for {known} alone, "
            f"got {tree!r}"
        )


def check_name(key: str, name: str) -> None:
    """Check that `name` can be a folder's name on every system, and is not taken in the root.
    Raises InputError.
    """
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{key}: must be up to 100 letters of ASCII, digits, _ . + - and not begin with "
            f". + -, got {name!r}"
        )
    if _RESERVED.fullmatch(name):
        raise InputError(
            f"{key}: must not be {STORE}, {', '.join(RESERVED)}, which the root needs for "
            f"what all studies share, got {name!r}"
        )


def check_config(config: "Config") -> None:
    """Check values that depend on each other. Raises InputError for the first broken rule."""
    check_name("study.name", config.study.name)
    if config.study.fork is not None:
        check_name("study.fork", config.study.fork)
    for given in config.study.prior:
        if "/" not in given and not given.lower().endswith(".csv"):
            check_name("study.prior", given)
    if config.budget.trials is None and config.budget.minutes is None:
        config.budget.trials = 20
    for holds, rule, received in _RULES:
        if not holds(config):
            raise InputError(f"{rule}, got {received.format(config=config)}")


# Whether it holds, the rule in words, what was received.
_RULES: tuple[tuple[Callable[["Config"], bool], str, str], ...] = (
    (
        lambda config: bool(str(config.node["root"] or "").strip()),
        "root: must be a folder",
        "{config.node[root]!r}",
    ),
    (
        lambda config: config.data.valid_fraction > 0,
        "data.valid_fraction: must be greater than 0",
        "{config.data.valid_fraction}",
    ),
    (
        lambda config: not config.study.deterministic or config.budget.minutes is None,
        "study.deterministic: excludes budget.minutes, since time is never the same twice",
        "budget.minutes={config.budget.minutes:g}",
    ),
    (
        lambda config: (
            config.study.objectives[:1] == [metric_of(config.study.objective)]
            and len(set(config.study.objectives)) == len(config.study.objectives)
        ),
        "study.objectives: must begin with valid_<study.objective> and name each once",
        "{config.study.objectives} with study.objective={config.study.objective}",
    ),
    (
        lambda config: len(config.study.objectives) == 1 or config.pruner.name == "none",
        "pruner: must be none with two objectives, since no trial is better early on both",
        "pruner={config.pruner.name}",
    ),
    (
        lambda config: (
            not isinstance(config.pruner, TopKSettings) or config.budget.trials is not None
        ),
        "pruner: one that looks at all trials first must know how many, give budget.trials",
        "pruner={config.pruner.name} and budget.minutes={config.budget.minutes:g} alone",
    ),
    (
        lambda config: (
            len(config.study.objectives) == 1 or config.sampler.name not in ("cmaes", "gp")
        ),
        "sampler: must be auto, nsga2, tpe, random or grid with two objectives",
        "{config.sampler.name}",
    ),
    (
        lambda config: not config.study.prior or config.sampler.name != "grid",
        "study.prior: excludes sampler=grid, which tries every point whatever is known",
        "{config.study.prior}",
    ),
    (
        lambda config: config.study.name not in config.study.prior,
        "study.prior: must name other studies than study.name",
        "{config.study.prior}",
    ),
    (
        lambda config: len({*config.study.prior}) == len(config.study.prior),
        "study.prior: must name each study once",
        "{config.study.prior}",
    ),
    (
        lambda config: config.budget.gain is None or len(config.study.objectives) == 1,
        "budget.gain: must be null with two objectives, since no single best improves",
        "{config.budget.gain:g}",
    ),
    (
        lambda config: config.slots.name != "dask" or config.slots.address is not None,
        "slots.address: must be given with slots=dask, as slots.address=tls://host:8786",
        "null",
    ),
)
