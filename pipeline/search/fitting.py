"""``study.fit``: sizes that follow from the data, decided once before the first trial.

What is fitted is a list of overrides that stand before the user's own: what a preset leaves open
follows from the number of images and classes and from their side, what the command line gives
stays. The list is printed and kept in the study, so that every later command composes the same; a
trial's overrides hold it in full. What the time allows for follows from the number of slots and
from the pace of real batches in them.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from cnn_core.axes import Labels
from cnn_core.data.prepared import open_prepared
from cnn_core.spec import DataSpec
from pipeline.configuration import Config, compose, override, spec_of
from pipeline.configuration.overrides import parse_override
from pipeline.files import atomic_write_text
from pipeline.search.budget import PROBE_STEPS, kept_share, step_seconds
from pipeline.search.problem import model_cost
from pipeline.slots.slot import Slot
from pipeline.structured_text import read_json

# Of a core's speed in matrix products, what training reaches, by the direct algorithm's count.
SHARE_OF_SGEMM = 0.45
STEP = 1.25  # speeds are rounded to powers of it: a machine gets the same sizes on most days
SPENT = 0.85  # share of a time budget that is planned
WIDTHS = (48, 40, 32, 24, 20, 16, 12, 8)  # filters of the first stage
BATCHES = ((500, 16), (3_000, 32), (20_000, 64))  # fewer images than, images a step
LARGEST_BATCH = 100
SHARES = ((500, 0.33), (3_000, 0.25))  # fewer images than, share that validates
# Epochs that a final net's width must leave time for: so many for so many operations a net, and
# their number grows with the fourth root of the operations (docs/LOG.md, Any contest).
FEWEST, FEWEST_FLOPS = 5, 15e12
ENOUGH_SEEN = 60_000  # images of a trial, counted once an epoch, that a width must leave time for
EPOCHS = 6  # of a trial, where there are more images than it can see so often
ROUND = 500
MOST_SEARCHED = 20_000  # training images of a trial
MOST_VALIDATED = 5_000
BLACK = 16  # a figure on black has a mean border of less than this, of 255
IMBALANCED = 1.5  # the largest class has so many times the images of the smallest
BY_CLASS = ("macro_f1", "balanced_accuracy")  # measures for which every class counts the same


@dataclass(frozen=True)
class Pace:
    """How fast the slots train: operations a second in each. By default two slow cores."""

    flops: float = 45e9
    slots: int = 2

    @classmethod
    def of(cls, gflops: float, slots: int) -> "Pace":
        """Return the pace of slots of cores whose matrix products reach that many GFLOP/s."""
        return cls.rounded(SHARE_OF_SGEMM * max(gflops, 1.0) * 1e9, slots)

    @classmethod
    def rounded(cls, flops: float, slots: int) -> "Pace":
        """Return the nearest pace of those that a machine has on most days."""
        return cls(cls.flops * STEP ** round(math.log(flops / cls.flops, STEP)), slots)

    def operations(self, minutes: float, at_once: float) -> float:
        """Return how many operations a time budget holds, of `at_once` nets or more."""
        return minutes * 60 * min(self.slots, at_once) * self.flops * SPENT


@dataclass(frozen=True)
class SetFacts:
    """What the sizes follow from."""

    images: int
    smallest: int  # images of the smallest and the largest class
    largest: int
    image_shape: tuple[int, int, int]
    classes: int
    on_black: bool  # grey figures on black, which a frame of moments can find


def facts_of(data: DataSpec) -> SetFacts:
    """Look at the training images of a prepared set."""
    prepared = open_prepared(data.folder, data.digest)
    counts = _counts(prepared.labels)
    sample = prepared.images[:: max(1, len(prepared.images) // 1000)]
    border = np.concatenate([sample[:, :, 0].ravel(), sample[:, :, -1].ravel()])
    return SetFacts(
        images=len(prepared.labels),
        smallest=int(counts.min()),
        largest=int(counts.max()),
        image_shape=data.image_shape,
        classes=data.classes,
        on_black=data.image_shape[0] == 1 and float(border.mean()) < BLACK,
    )


def _counts(labels: Labels) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    counts = np.bincount(labels)
    return counts[counts > 0]


def fitted(
    config: Config, data: DataSpec, pace: Pace = Pace(), slots: Sequence[Slot] = ()
) -> tuple[Config, list[str]]:
    """Return the configuration with its sizes fitted to the data, and a line for the user; without
    ``study.fit``, the configuration as it is. Where time is limited the pace is measured in
    `slots`, if there are any.

    A study keeps what was fitted first, as long as its data are the same.
    """
    if not config.study.fit:
        return config, []
    path = config.paths.folder / "fitted.json"
    found = _kept(config, data)
    if found is None:
        facts = facts_of(data)
        if slots and (config.budget.minutes is not None or config.final.minutes is not None):
            pace = measured_pace(config, data, facts, pace, slots)
        found = sizes(config, facts, pace)
        atomic_write_text(path, json.dumps({"data": data.digest, "fitted": found}) + "\n")
    line = f"fitted to the data: {' '.join(found)}"
    return with_sizes(config, found), [line]


def measured_pace(
    config: Config, data: DataSpec, facts: SetFacts, guess: Pace, slots: Sequence[Slot]
) -> Pace:
    """Return the pace of real batches in all slots at once, of a net as wide as a guess says."""
    whole = with_sizes(config, sizes(config, facts, guess))
    spec = spec_of(whole, data, (0,))
    step_s = step_seconds(spec, PROBE_STEPS, slots)
    flops = _image_flops(whole, facts, spec.model.filters) * spec.train.batch_size / step_s
    return Pace.rounded(flops, guess.slots)


def _kept(config: Config, data: DataSpec) -> list[str] | None:
    try:
        content = read_json(config.paths.folder / "fitted.json")
        found = [str(text) for text in content["fitted"]]
        return found if content["data"] == data.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def with_sizes(config: Config, sizes: Sequence[str]) -> Config:
    """Return the configuration composed again with these overrides before its own."""
    again = compose([*sizes, *config.overrides], quiet=config.quiet, verbose=config.verbose)
    return replace(
        again,
        command=config.command,
        arguments=config.arguments,
        invocation=config.invocation,
    )


def sizes(config: Config, facts: SetFacts, pace: Pace = Pace()) -> list[str]:
    """Return what follows from the data as overrides, without keys that the configuration's own
    overrides give.
    """
    given = {parse_override(text).key_or_group for text in config.overrides}
    found = {**_of_the_images(config, facts), **_of_the_search(config, facts, pace)}
    if "model.filters" not in given:
        found |= _of_the_final_nets(config, facts, pace)
    return [
        override(key, value)
        for key, value in found.items()
        if key not in given and value is not None
    ]


Sizes = dict[str, str | int | float | None]
Value = TypeVar("Value", int, float)


def _of_the_images(config: Config, facts: SetFacts) -> Sizes:
    """Return what follows from the images alone: batches, validation, folds, and searched values
    that mean nothing to these images.
    """
    found: Sizes = {
        "data.valid_fraction": _by_count(SHARES, facts.images, 1 / 6),
        "train.batch_size": _by_count(BATCHES, facts.images, LARGEST_BATCH),
    }
    few = facts.images < 5_000
    if config.final.refit:
        found["final.folds"] = 4 if few else 2
        found["final.fold_share"] = 1.0 if few else config.final.fold_share
    if not facts.on_black:
        found["model.frame"] = "none"
    if facts.image_shape[0] != 3:
        found["augment.colour"] = 0.0
    if config.study.objective in BY_CLASS and facts.largest > IMBALANCED * facts.smallest:
        found["train.class_weights"] = "balanced"
    return found


def _by_count(table: Sequence[tuple[int, Value]], images: int, otherwise: Value) -> Value:
    return next((value for limit, value in table if images < limit), otherwise)


def _of_the_search(config: Config, facts: SetFacts, pace: Pace) -> Sizes:
    """Return width, images and epochs of a trial, so that all trials fit into budget.minutes."""
    share = float(_by_count(SHARES, facts.images, 1 / 6))
    training, valid = round(facts.images * (1 - share)), round(facts.images * share)
    images = min(training, MOST_SEARCHED)
    most = 10 if training > 5_000 else 30 if training > 1_000 else 60
    found: Sizes = {"data.valid_size": MOST_VALIDATED if valid > MOST_VALIDATED else None}
    if config.budget.minutes is None:
        return found | {"data.train_size": images if images < training else None}
    nets = config.study.seeds * (config.study.folds or 1)  # of a trial
    trials = nets * (config.budget.trials or 16)
    work = pace.operations(config.budget.minutes, trials)
    kept = kept_share(config, trials // nets)
    seen = {
        width: work / (trials * kept * _image_flops(config, facts, width)) for width in WIDTHS
    }  # images, counted once an epoch
    enough = min(EPOCHS * images, ENOUGH_SEEN)
    width = next((w for w in WIDTHS if seen[w] >= enough), WIDTHS[-1])
    if width < WIDTHS[0]:  # the wider nets and kernels of the space would not fit into the time
        found |= {"model.filters": width, "model.kernel": 3}
    if seen[width] < EPOCHS * images:
        images = max(1, int(seen[width] / EPOCHS) // ROUND * ROUND)
    found["data.train_size"] = images if images < training else None
    return found | {"train.epochs": int(np.clip(seen[width] / images, 1, most))}


def _image_flops(config: Config, facts: SetFacts, width: int) -> float:
    """Return the operations of training on one image: forward and two gradients, multiply and
    add.
    """
    model = replace(config.model, filters=width)
    return 6 * model_cost(model, facts.image_shape, facts.classes)["multiply_adds"]


def _of_the_final_nets(config: Config, facts: SetFacts, pace: Pace) -> Sizes:
    """Return the most epochs of the final nets, and their width, where the time does not allow for
    that of the trials: a wide net for a few epochs does better than a narrow one for many.
    """
    final = config.final
    few, more = 12_000, 3_000
    epochs = 30 if facts.images > few else 50 if facts.images > more else 100
    found: Sizes = {"final.epochs": epochs}
    if final.minutes is None:
        return found
    judging = final.folds - 1.0
    nets = final.members * (final.refit + judging * final.fold_share if final.refit else judging)
    work = pace.operations(final.minutes, nets) / nets
    seen = facts.images * min(epochs, FEWEST * (work / FEWEST_FLOPS) ** 0.25)
    width = next((w for w in WIDTHS if _image_flops(config, facts, w) * seen <= work), WIDTHS[-1])
    if width < WIDTHS[0]:
        own = [*final.overrides, override("model.filters", width)]
        found["final.overrides"] = json.dumps(own)
    return found
