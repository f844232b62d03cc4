"""The file of claims: what a source says, the preset that measures it, and by how much."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError, did_you_mean
from cnn_core.plain_json import DamagedError
from pipeline.records.typed_json import RecordError, read_record
from pipeline.structured_text import read_yaml

# What is compared: the objective of a trial's nets, a metric of an epoch, their difference between
# training and validation, the lowest validation loss of all epochs; or, after the sweep, what an
# ensemble gains, or its members on the test split.
MEASURES = (
    "objective",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "gap",
    "lowest_valid_loss",
    "ensemble_gain",
    "test_accuracy",
    "test_loss",
)
OF_FINAL = ("ensemble_gain", "test_accuracy", "test_loss")  # of the nets after the sweep


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim: the mean of `of`, or its difference to `over`, lies between the two limits.

    `of` and `over` choose one configuration of the preset's grid each, by names or paths of its
    space; `epoch` counts from 1, None is the last.
    """

    name: str
    system: int
    claim: str
    source: str
    preset: str
    of: Mapping[str, Any] = field(default_factory=dict)
    over: Mapping[str, Any] | None = None
    measure: str = "objective"
    epoch: int | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def is_share(self) -> bool:
        """Tell whether it is of accuracies, which are written in per cent."""
        return "loss" not in self.measure


@dataclass(frozen=True, kw_only=True)
class System:
    """A source: its number, its name, and the claims that its line in the README shows."""

    number: int
    name: str
    headline: tuple[str, ...]
    text: str = ""  # below its heading


@dataclass(frozen=True, kw_only=True)
class Claims:
    """All of the file."""

    systems: tuple[System, ...]
    claims: tuple[Claim, ...]
    minutes: Mapping[str, float] = field(default_factory=dict)  # preset -> estimate, two cores

    def of_system(self, system: System) -> list[Claim]:
        """Return the claims of a system, in the file's order."""
        return [claim for claim in self.claims if claim.system == system.number]

    def named(self, name: str) -> Claim:
        """Return a claim by its name."""
        return next(claim for claim in self.claims if claim.name == name)

    @property
    def presets(self) -> list[str]:
        """Return the presets that are needed, each once."""
        return list(dict.fromkeys(claim.preset for claim in self.claims))


def read_claims(path: Path) -> Claims:
    """Return the claims of a file. Raises InputError, in one line, for whatever is wrong in it."""
    try:
        found = read_yaml(path)
        _check_keys(found, Claims, "")
        claims = read_record(Claims, found)
        for section, kind in (("systems", System), ("claims", Claim)):
            for number, entry in enumerate(found[section]):
                _check_keys(entry, kind, f"{section}[{number}].")
    except (DamagedError, RecordError) as error:
        raise InputError(f"claims: {error} ({path})") from None
    except OSError as error:
        raise InputError(
            f"claims: must be a file of claims, got {path}: {error.strerror}; give claims=FILE, or "
            "run it in the project's folder"
        ) from None
    _check(claims, path)
    return claims


def _check_keys(found: Any, kind: type, place: str) -> None:
    known = [item.name for item in fields(kind)]
    for key in found if isinstance(found, Mapping) else ():
        if key not in known:
            hint = did_you_mean(str(key), known)
            raise RecordError(f"got {place}{key}, must be one of {', '.join(known)}{hint}")


def _check(claims: Claims, path: Path) -> None:
    numbers = [system.number for system in claims.systems]
    names = [claim.name for claim in claims.claims]
    _once("systems", numbers, path)
    _once("claims", names, path)
    for claim in claims.claims:
        if reason := _broken(claim, numbers):
            raise InputError(f"claim {claim.name}: {reason} ({path})")
    for name in claims.minutes:
        if name not in claims.presets:
            hint = did_you_mean(name, claims.presets)
            raise InputError(f"minutes: must be of presets of claims, got {name!r}{hint} ({path})")
    for system in claims.systems:
        for name in system.headline:
            if name not in names:
                raise InputError(
                    f"system {system.number}: headline must name claims, got {name!r}"
                    f"{did_you_mean(name, names)} ({path})"
                )


def _once(what: str, values: Sequence[object], path: Path) -> None:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise InputError(
            f"{what}: must each have a name of their own, got {twice[0]!r} twice ({path})"
        )


def _broken(claim: Claim, systems: Sequence[int]) -> str:
    """Return what is required of a claim and what it has, "" where it is valid."""
    alone = claim.measure in OF_FINAL
    low, high = claim.at_least, claim.at_most
    if not claim.name.replace("_", "").isalnum() or not claim.name.isascii():
        return f"name must be of letters, digits and _, got {claim.name!r}"
    if claim.system not in systems:
        return f"system must be one of {', '.join(map(str, systems))}, got {claim.system}"
    if claim.measure not in MEASURES:
        hint = did_you_mean(claim.measure, MEASURES)
        return f"measure must be one of {', '.join(MEASURES)}, got {claim.measure!r}{hint}"
    if alone == bool(claim.of) or (alone and claim.over):
        rule = f"of must choose a configuration, except of {', '.join(OF_FINAL)}"
        return f"{rule}, got {dict(claim.of)}"
    if low is None and high is None:
        return "must have at_least or at_most, got neither"
    if not (-math.inf if low is None else low) <= (math.inf if high is None else high):  # or nan
        return f"at_least <= at_most must hold, got {low} and {high}"
    if claim.epoch is not None and claim.epoch < 1:
        return f"epoch must be at least 1, got {claim.epoch}"
    return ""
