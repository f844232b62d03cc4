"""What a contest ranks by, computed from a net's outputs on validation images: accuracy and the
other measures that `study.objective` names. The definitions are scikit-learn's.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Array, Labels
from cnn_core.errors import InputError
from cnn_core.losses import accuracy, confusion_matrix, log_loss

MINIMIZED = frozenset({"log_loss"})


def macro_f1(probabilities: Array, labels: Labels) -> float:
    """Return the mean over classes of ``2 TP / (2 TP + FP + FN)``; a class that is neither a label
    nor a prediction does not count. probabilities (or logits): (N, classes).
    """
    counts = _counts(probabilities, labels)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    occurs = either > 0
    return float(np.mean(2 * np.diag(counts)[occurs] / either[occurs]))


def balanced_accuracy(probabilities: Array, labels: Labels) -> float:
    """Return the mean over the classes that occur of the share of their images that are right."""
    counts = _counts(probabilities, labels)
    of_class = counts.sum(axis=1)
    occurs = of_class > 0
    return float(np.mean(np.diag(counts)[occurs] / of_class[occurs]))


def kappa(probabilities: Array, labels: Labels) -> float:
    """Return Cohen's ``(p_o - p_e) / (1 - p_e)``: agreement beyond what equal shares of classes
    give by chance (Cohen 1960). 0 where labels and predictions are all of one class (scikit-learn:
    nan).
    """
    counts = _counts(probabilities, labels)
    total = counts.sum()
    by_chance = float(counts.sum(axis=0) @ counts.sum(axis=1)) / total**2
    observed = float(np.trace(counts)) / total
    return 0.0 if by_chance == 1.0 else (observed - by_chance) / (1.0 - by_chance)


def top_k(probabilities: Array, labels: Labels, k: int) -> float:
    """Return the share of images for which fewer than `k` classes have a larger entry than the
    label's; 1 where there are at most `k` classes.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    larger = (probabilities > of_label[:, None]).sum(axis=1)
    return float(np.mean(larger < k))


def _counts(probabilities: Array, labels: Labels) -> npt.NDArray[np.int64]:
    predicted = probabilities.argmax(axis=1)
    return confusion_matrix(predicted, labels, probabilities.shape[1])


_BY_NAME: dict[str, Callable[[Array, Labels], float]] = {
    "accuracy": accuracy,
    "log_loss": log_loss,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "kappa": kappa,
}
MEASURES = (*_BY_NAME, "top_k")


def measured(measure: str, probabilities: Array, labels: Labels, k: int = 5) -> float:
    """Return a measure of probabilities (N, classes) and labels (N,); `k` is top_k's. Raises
    InputError for an unknown name.
    """
    if measure not in MEASURES:
        raise InputError(f"study.objective: must be one of {', '.join(MEASURES)}, got {measure!r}")
    if measure == "top_k":
        return top_k(probabilities, labels, k)
    return _BY_NAME[measure](probabilities, labels)


def metric_of(measure: str) -> str:
    """Return the name of a measure on validation images among an epoch's metrics."""
    return f"valid_{measure}"


_RANKING = tuple(metric_of(name) for name in MEASURES if name != "accuracy")


def ranked_by(metrics: Mapping[str, float]) -> float | None:
    """Return what an epoch is judged by: the contest's measure where it stands among the metrics,
    else the validation accuracy; None where nothing was validated.
    """
    found = next((metrics[name] for name in _RANKING if name in metrics), None)
    return metrics.get("valid_accuracy") if found is None else found


def is_minimized(metric: str) -> bool:
    """Tell whether less of an objective such as ``valid_log_loss`` or ``multiply_adds`` is
    better.
    """
    return not metric.startswith("valid_") or metric.removeprefix("valid_") in MINIMIZED
