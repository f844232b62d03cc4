"""Paused trials as the study holds them.

To Optuna a paused trial is a pruned one with its last value, so that samplers learn from it and it
counts; that it is paused says a user attribute. A promotion takes the pruning back. When the study
ends the trial is told pruned, and nothing else changes: a larger budget.trials may still promote
it.
"""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.events import State
from pipeline.reporting.stored_state import PAUSED
from pipeline.search.promotion import Promotion, TrialSoFar
from pipeline.search.storage import label, reopen, running_trial, set_state

RUNG = "rung"  # user attribute of a trial: the epoch at which it pauses
REASON = "reason"


def pause(study: optuna.Study, trial: Trial, reason: str) -> None:
    """Pause a running trial after the last epoch reported."""
    trial.set_user_attr(REASON, reason)
    trial.set_user_attr(PAUSED, True)
    pause_again(study, study.get_trials(deepcopy=False)[trial.number])


def pause_again(study: optuna.Study, stored: FrozenTrial) -> None:
    """Pause a trial that has not ended, and was paused after its last epoch before."""
    values = stored.intermediate_values
    set_state(study, stored, TrialState.PRUNED, [values[max(values)]])


def promote(study: optuna.Study, promotion: Promotion) -> Trial:
    """Let a paused trial run on; return it as one that can be reported on and told."""
    stored = study.get_trials(deepcopy=False)[promotion.number]
    reopen(study, stored)
    trial = running_trial(study, stored)
    # Where this is not written any more, the trial pauses again at once and is promoted again.
    trial.set_user_attr(RUNG, promotion.until)
    return trial


def still_paused(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that are paused."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return [trial for trial in pruned if trial.user_attrs.get(PAUSED)]


def tell_pruned(study: optuna.Study, stored: FrozenTrial) -> None:
    """Tell that a paused trial is pruned now that the study ends."""
    reopen(study, stored)  # Optuna changes no trial that has ended
    label(study, stored, PAUSED, False)
    set_state(study, stored, TrialState.PRUNED, stored.values)


def known_trials(study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[int, TrialSoFar]:
    """Return what a rule of promotion knows of these trials. Trials in the queue are left out; one
    that another pruner ended has no checkpoint and is never promoted.
    """
    maximize = study.directions[0] == optuna.study.StudyDirection.MAXIMIZE
    sign = 1.0 if maximize else -1.0
    known = {}
    for trial in trials:
        if trial.state != TrialState.WAITING:
            scores = {epoch: sign * value for epoch, value in trial.intermediate_values.items()}
            paused = trial.state == TrialState.PRUNED and PAUSED in trial.user_attrs
            state = State.PAUSED if paused else State[trial.state.name]
            until = trial.user_attrs.get(RUNG, max(scores, default=0) + 1)
            known[trial.number] = TrialSoFar(state, scores, until)
    return known
