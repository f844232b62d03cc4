"""ensemble.json: the members that predict, how they are joined, and what that gains out of fold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from cnn_core.plain_json import DamagedError
from pipeline.files import atomic_write_text
from pipeline.records.manifest import Combine, Expected, SetScore, check_chosen
from pipeline.records.typed_json import RecordError, plain, read_record
from pipeline.structured_text import read_json


@dataclass(frozen=True, kw_only=True)
class EnsembleMember:
    name: str
    temperature: float
    ms_per_image: float | None = None
    overrides: tuple[str, ...]
    model: Mapping[str, Any]
    specs: tuple[str, ...]  # digests of the folds' nets
    refits: tuple[str, ...] = ()  # digests of the nets that saw all images; they predict
    clean_accuracy: float
    proxy_accuracy: float | None = None
    clean_log_loss: float | None = None
    proxy_log_loss: float | None = None

    def accuracy_on(self, name: str) -> float:
        """Return the out-of-fold accuracy on one set of images, clean or proxy."""
        return float(getattr(self, f"{name}_accuracy"))


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    chosen_on: str  # clean | proxy
    ordinary: float | None = None  # how much the clean images count
    views: tuple[tuple[float, ...], ...]
    members: tuple[EnsembleMember, ...]
    left_out: tuple[str, ...] = ()  # for the time cap
    no_weight: tuple[str, ...] = ()  # since the others are no better with them
    combine: Combine
    methods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    images: int
    out_of_fold: Mapping[str, SetScore]
    # the contest's measure on each set, where it is not the accuracy: {"clean macro_f1": 0.93}
    measured: Mapping[str, float] = field(default_factory=dict)
    expected: Expected

    def __post_init__(self) -> None:
        check_chosen(self.chosen_on, self.out_of_fold)
        weights, members = self.combine.weights, len(self.members)
        if weights is not None and len(weights) != members:
            raise RecordError(
                f"got {len(weights)} combine.weights, must be {members}, one a member"
            )
        if "proxy" in self.out_of_fold and None in [one.proxy_accuracy for one in self.members]:
            raise RecordError("got none of a member's proxy_accuracy, out_of_fold has proxy")

    @property
    def refitted(self) -> bool:
        """Tell whether nets predict that saw all images, instead of the folds'."""
        return any(member.refits for member in self.members)


def read_ensemble(path: Path) -> Ensemble:
    """Return an ensemble.json. Raises InputError where it is no JSON or lacks what `pipeline.final`
    writes.
    """
    again = f"in {path}; run python -m pipeline.final again"
    try:
        return read_record(Ensemble, read_json(path))
    except RecordError as error:
        raise InputError(
            f"an ensemble must have all that pipeline.final writes, {error} {again}"
        ) from None
    except DamagedError as error:
        raise InputError(f"an ensemble {error}; run python -m pipeline.final again") from None
    except OSError as error:
        raise InputError(f"an ensemble must be readable, got {error.strerror} {again}") from None


def write_ensemble(path: Path, ensemble: Ensemble) -> None:
    """Write an ensemble.json."""
    atomic_write_text(path, json.dumps(plain(ensemble), indent=2) + "\n")
