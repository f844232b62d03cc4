"""From out-of-fold logits to an ensemble: temperatures, members within the time cap, the method,
what it gains: ensemble.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Labels
from pipeline.configuration.settings import EnsembleSettings
from pipeline.ensemble.methods import Combination, fit_temperature, softmax
from pipeline.ensemble.out_of_fold import OutOfFold
from pipeline.ensemble.plan import Member
from pipeline.ensemble.selection import choose_useful, within_cap
from pipeline.files import StudyPaths, atomic_write_text
from pipeline.reporting.scores import REFITTED, Counts, Probabilities, accuracy, gain_over, log_loss


@dataclass(frozen=True)
class Judged:
    """The sets of images that an ensemble is judged on, clean and, where there is one, the proxy:
    the same images in the same order.
    """

    labels: Labels  # (N,)
    shares: Mapping[str, float]  # how much each set counts
    main: (
        str  # the set that stands for the images to be labelled: the proxy unless it counts nothing
    )

    def side_by_side(
        self, sets: Mapping[str, Probabilities]
    ) -> tuple[Probabilities, Labels, Counts]:
        """Return all sets, one after the other along N: predictions, labels, and how much each
        image counts.
        """
        stacked = np.concatenate([sets[name] for name in self.shares], axis=-2)
        copies, counts = len(self.shares), np.repeat(list(self.shares.values()), len(self.labels))
        return stacked, np.tile(self.labels, copies), counts

    def apart(self, joined: Probabilities) -> dict[str, Probabilities]:
        """Return the sets of (sets x N, classes) by their names."""
        return dict(zip(self.shares, np.split(joined, len(self.shares)), strict=True))


def judged_on(found: Sequence[OutOfFold], labels: Labels, ordinary: float) -> Judged:
    """Return the sets that `found` has: with a proxy, clean images count `ordinary` and the proxy's
    the rest.
    """
    if all(one.proxy is not None for one in found):
        return Judged(
            labels, {"clean": ordinary, "proxy": 1 - ordinary}, "proxy" if ordinary < 1 else "clean"
        )
    return Judged(labels, {"clean": 1.0}, "clean")


def build_ensemble(
    members: Sequence[Member],
    found: Sequence[OutOfFold],
    labels: Labels,
    settings: EnsembleSettings,
    views: Sequence[Sequence[float]],
) -> dict[str, Any]:
    """Return the content of ensemble.json, chosen out of fold alone, on the proxy and ordinary
    images as `settings.ordinary` says.
    """
    judged = judged_on(found, labels, settings.ordinary)
    temperatures = [_temperature(one, judged) for one in found]
    sets = {name: _member_probabilities(found, temperatures, name) for name in judged.shares}
    stacked, all_labels, counts = judged.side_by_side(sets)
    costs = np.array(
        [_cost_ms(member, one) * len(views) for member, one in zip(members, found, strict=True)]
    )
    affordable = within_cap(stacked, all_labels, costs, settings.max_ms, counts)
    kept, choice = choose_useful(
        stacked, all_labels, counts, affordable, settings.name, copies=len(judged.shares)
    )
    held_out = judged.apart(choice.held_out)
    return {
        "chosen_on": judged.main,
        "ordinary": judged.shares["clean"],
        "views": [list(view) for view in views],
        "members": [
            {
                "name": members[m].name,
                "temperature": temperatures[m],
                "ms_per_image": float(costs[m]),
                "overrides": list(members[m].overrides),
                "model": asdict(members[m].specs[0].model),
                "specs": [spec.digest() for spec in members[m].specs],
                "refits": [spec.digest() for spec in members[m].refits],
                **{f"{name}_accuracy": accuracy(sets[name][m], labels) for name in sets},
                **{f"{name}_log_loss": log_loss(sets[name][m], labels) for name in sets},
            }
            for m in kept
        ],
        "left_out": [members[m].name for m in range(len(members)) if m not in affordable],
        "no_weight": [members[m].name for m in affordable if m not in kept],
        "combine": choice.combination.plain(),
        "methods": choice.methods,
        "images": len(labels),
        "out_of_fold": {name: _score(held_out[name], sets[name][kept], labels) for name in sets},
        "expected": _expected(choice.combination, sets[judged.main][kept], labels),
    }


def write_ensemble(paths: StudyPaths, content: dict[str, Any]) -> None:
    """Write ensemble.json."""
    atomic_write_text(paths.ensemble / "ensemble.json", json.dumps(content, indent=2) + "\n")


def _cost_ms(member: Member, one: OutOfFold) -> float:
    """Return an image's inference by the nets of a member that predict: the folds' were measured,
    the others cost as much each.
    """
    return one.ms * (len(member.refits) or len(member.specs)) / len(member.specs)


def _temperature(one: OutOfFold, judged: Judged) -> float:
    """Return the temperature of a member's nets, fitted without views."""
    return fit_temperature(
        *judged.side_by_side({name: _logits(one, name)[0] for name in judged.shares})
    )


def _logits(one: OutOfFold, on: str) -> NDArray[np.float32]:
    if on == "clean":
        return one.clean
    assert one.proxy is not None
    return one.proxy


def _member_probabilities(
    found: Sequence[OutOfFold], temperatures: Sequence[float], on: str
) -> NDArray[np.float64]:
    """Return (members, N, classes): each member's calibrated softmax, averaged over the views."""
    return np.stack(
        [
            softmax(_logits(one, on), t).mean(axis=0)
            for one, t in zip(found, temperatures, strict=True)
        ]
    )


def _score(joined: Probabilities, members: Probabilities, labels: Labels) -> dict[str, Any]:
    """Return scores of the cross-fitted ensemble on one set, its best member's there, and the gain
    between them.
    """
    best = int(np.argmax([accuracy(member, labels) for member in members]))
    return {
        "accuracy": accuracy(joined, labels),
        "log_loss": log_loss(joined, labels),
        "best_member": best,
        "best_member_accuracy": accuracy(members[best], labels),
        "gain": gain_over(members[best], joined, labels).plain(),
    }


def _expected(combination: Combination, members: Probabilities, labels: Labels) -> dict[str, Any]:
    """Return what predictions of like images look like, for the label-free check of drift."""
    joined = combination.apply(members)
    votes = members.argmax(axis=2)
    classes = members.shape[2]
    return {
        "agreement": float(np.mean((votes == votes[0]).all(axis=0))),
        "confidence": float(joined.max(axis=1).mean()),
        "class_share": (np.bincount(labels, minlength=classes) / len(labels)).tolist(),
    }


def summary_lines(content: dict[str, Any]) -> list[str]:
    """Return what the ensemble is and gains, in words."""
    lines = []
    for k, member in enumerate(content["members"]):
        weight = (
            f", weight {content['combine']['weights'][k]:.2f}"
            if "weights" in content["combine"]
            else ""
        )
        accuracies = ", ".join(
            f"{name} {member[f'{name}_accuracy']:.3%}" for name in content["out_of_fold"]
        )
        lines.append(
            f"member {member['name']}: out-of-fold accuracy {accuracies}, temperature "
            f"{member['temperature']:.2f}{weight}"
        )
    for name, score in content["out_of_fold"].items():
        gain = score["gain"]
        interval = f"{gain['gain']:+.3%} [{gain['low']:+.3%}, {gain['high']:+.3%}]"
        lines.append(
            f"ensemble ({content['combine']['method']}) on {name} images: {score['accuracy']:.3%}, "
            f"{interval} over its best member, "
            f"{gain['errors_removed']:.0%} of its errors gone"
        )
    if any(member.get("refits") for member in content["members"]):
        lines.append(REFITTED)
    if content["left_out"]:
        lines.append(f"left out for the time cap: {', '.join(content['left_out'])}")
    if content["no_weight"]:
        lines.append(
            f"left out since the others are no better with them: {', '.join(content['no_weight'])}"
        )
    return lines
