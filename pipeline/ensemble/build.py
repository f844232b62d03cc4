"""From out-of-fold logits to an ensemble: temperatures, members within the time cap, the method,
and its gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Labels
from cnn_core.measures import measured
from pipeline.configuration.sections import EnsembleSettings
from pipeline.ensemble.member_weights import choose_useful, within_cap
from pipeline.ensemble.methods import Combination, fit_temperature, softmax
from pipeline.ensemble.out_of_fold import OutOfFold
from pipeline.ensemble.plan import Member
from pipeline.records.ensemble_record import Ensemble, EnsembleMember
from pipeline.records.manifest import Expected, SetScore
from pipeline.reporting.scores import REFITTED, Counts, Probabilities, accuracy, gain_over, log_loss


@dataclass(frozen=True)
class Judged:
    """The sets of images that an ensemble is judged on: clean and, where there is one, the proxy,
    which holds the same images in the same order.
    """

    labels: Labels  # (N,)
    shares: Mapping[str, float]  # weight of each set
    main: str  # the set that stands for the images to label: the proxy unless its weight is 0

    def side_by_side(
        self, sets: Mapping[str, Probabilities]
    ) -> tuple[Probabilities, Labels, Counts]:
        """Return all sets, concatenated along N: predictions, labels, and the weight of each
        image.
        """
        stacked = np.concatenate([sets[name] for name in self.shares], axis=-2)
        copies, counts = len(self.shares), np.repeat(list(self.shares.values()), len(self.labels))
        return stacked, np.tile(self.labels, copies), counts

    def apart(self, joined: Probabilities) -> dict[str, Probabilities]:
        """Split (sets x N, classes) into the sets by name."""
        return dict(zip(self.shares, np.split(joined, len(self.shares)), strict=True))


def judged_on(found: Sequence[OutOfFold], labels: Labels, ordinary: float) -> Judged:
    """Return the sets that `found` has: with a proxy, clean images have the weight `ordinary` and
    the proxy's the rest.
    """
    if all(one.proxy is not None for one in found):
        main = "proxy" if ordinary < 1 else "clean"
        return Judged(labels, {"clean": ordinary, "proxy": 1 - ordinary}, main)
    return Judged(labels, {"clean": 1.0}, "clean")


def build_ensemble(
    members: Sequence[Member],
    found: Sequence[OutOfFold],
    labels: Labels,
    settings: EnsembleSettings,
    views: Sequence[Sequence[float]],
    measure: tuple[str, int] = ("accuracy", 5),
) -> Ensemble:
    """Return the ensemble, chosen on out-of-fold predictions alone, of proxy and ordinary images
    weighted by `settings.ordinary`; measure: the contest's, and its k, by which it is scored too.
    """
    judged = judged_on(found, labels, settings.ordinary)
    temperatures = [_temperature(one, judged) if settings.calibrate else 1.0 for one in found]
    sets = {name: _member_probabilities(found, temperatures, name) for name in judged.shares}
    stacked, all_labels, counts = judged.side_by_side(sets)
    costs = _costs_ms(members, found, len(views))
    affordable = within_cap(stacked, all_labels, costs, settings.max_ms, counts)
    kept, choice = choose_useful(
        stacked, all_labels, counts, affordable, settings.name, copies=len(judged.shares)
    )
    held_out = judged.apart(choice.held_out)
    return Ensemble(
        chosen_on=judged.main,
        ordinary=judged.shares["clean"],
        views=tuple(tuple(view) for view in views),
        members=tuple(
            replace(
                _record(members[m], {name: sets[name][m] for name in sets}, labels),
                temperature=temperatures[m],
                ms_per_image=float(costs[m]),
            )
            for m in kept
        ),
        left_out=tuple(members[m].name for m in range(len(members)) if m not in affordable),
        no_weight=tuple(members[m].name for m in affordable if m not in kept),
        combine=choice.combination.record(),
        methods=choice.methods,
        images=len(labels),
        out_of_fold={name: _score(held_out[name], sets[name][kept], labels) for name in sets},
        measured=_measured(held_out, labels, measure),
        expected=_expected(choice.combination, sets[judged.main][kept], labels),
    )


def _measured(
    sets: Mapping[str, Probabilities], labels: Labels, measure: tuple[str, int]
) -> dict[str, float]:
    """Return the contest's measure on each set, nothing where it is the accuracy."""
    name, k = measure
    if name == "accuracy":
        return {}
    return {f"{on} {name}": measured(name, found, labels, k) for on, found in sets.items()}


def _record(member: Member, sets: Mapping[str, Probabilities], labels: Labels) -> EnsembleMember:
    """Return a member with its scores on each set of images, (N, classes) each."""
    return EnsembleMember(
        name=member.name,
        temperature=1.0,
        overrides=tuple(member.overrides),
        model=asdict(member.specs[0].model),
        specs=tuple(spec.digest() for spec in member.specs),
        refits=tuple(spec.digest() for spec in member.refits),
        **{f"{name}_accuracy": accuracy(found, labels) for name, found in sets.items()},
        **{f"{name}_log_loss": log_loss(found, labels) for name, found in sets.items()},
    )


def _costs_ms(
    members: Sequence[Member], found: Sequence[OutOfFold], views: int
) -> NDArray[np.float64]:
    """Return each member's inference time per image, in ms, for the nets that predict: measured for
    the folds' nets; a refit costs as much as one of them.
    """
    return np.array(
        [
            one.ms * (len(member.refits) or len(member.specs)) / len(member.specs) * views
            for member, one in zip(members, found, strict=True)
        ]
    )


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


def _score(joined: Probabilities, members: Probabilities, labels: Labels) -> SetScore:
    """Return the scores of the cross-fitted ensemble on one set, the best member's accuracy there,
    and the gain over it.
    """
    best = int(np.argmax([accuracy(member, labels) for member in members]))
    return SetScore(
        accuracy=accuracy(joined, labels),
        log_loss=log_loss(joined, labels),
        best_member=best,
        best_member_accuracy=accuracy(members[best], labels),
        gain=gain_over(members[best], joined, labels),
    )


def _expected(combination: Combination, members: Probabilities, labels: Labels) -> Expected:
    """Return what predictions of similar images look like, for the label-free drift check."""
    joined = combination.apply(members)
    votes = members.argmax(axis=2)
    classes = members.shape[2]
    return Expected(
        agreement=float(np.mean((votes == votes[0]).all(axis=0))),
        confidence=float(joined.max(axis=1).mean()),
        class_share=tuple((np.bincount(labels, minlength=classes) / len(labels)).tolist()),
    )


def summary_lines(ensemble: Ensemble) -> list[str]:
    """Return the ensemble's members, scores and gains, in words."""
    lines = []
    weights = ensemble.combine.weights
    for k, member in enumerate(ensemble.members):
        accuracies = ", ".join(
            f"{name} {member.accuracy_on(name):.3%}" for name in ensemble.out_of_fold
        )
        lines.append(
            f"member {member.name}: out-of-fold accuracy {accuracies}, temperature "
            f"{member.temperature:.2f}" + (f", weight {weights[k]:.2f}" if weights else "")
        )
    for name, score in ensemble.out_of_fold.items():
        gain = score.gain
        lines.append(
            f"ensemble ({ensemble.combine.method}) on {name} images: {score.accuracy:.3%}, "
            f"{gain.gain:+.3%} [{gain.low:+.3%}, {gain.high:+.3%}] over its best member, "
            f"{gain.errors_removed:.0%} of its errors removed"
        )
    lines += [f"ensemble, {name} out of fold: {x:.5f}" for name, x in ensemble.measured.items()]
    if ensemble.refitted:
        lines.append(REFITTED)
    if ensemble.left_out:
        lines.append(f"left out for the time cap: {', '.join(ensemble.left_out)}")
    if ensemble.no_weight:
        lines.append(
            f"left out since the others are no better with them: {', '.join(ensemble.no_weight)}"
        )
    return lines
