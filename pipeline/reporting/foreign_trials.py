"""Trials that were added through another program, such as Optuna's own interface: they inform the
sampler and are shown with a mark, but do not count and are not chosen, since nothing of this
program's trained them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# User attributes: of a study, the number from which on its own trials are marked (absent in studies
# that no version with marks has opened); of a trial, each of which says that it is the study's own.
MARKED_FROM = "marked_from"
ASKED = "asked"
FORKED_FROM = "forked_from"  # [study, number]
ROUND = "round"  # in deterministic mode: the number of its round's first trial
FOREIGN = "added through another program"


def is_foreign(trial: "FrozenTrial", study: Mapping[str, Any]) -> bool:
    """Tell whether a trial is not its study's own; `study` holds the study's user attributes."""
    since = study.get(MARKED_FROM)
    if since is None or trial.number < since or not trial.state.is_finished():
        return False
    return not any(mark in trial.user_attrs for mark in (ASKED, FORKED_FROM, ROUND))
