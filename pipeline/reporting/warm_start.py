"""How much the studies of ``study.prior`` helped, in a sentence."""

from pipeline.reporting.effects import unit_of
from pipeline.reporting.table import StudyTable, TrialRow


def help_of_prior(table: StudyTable) -> str:
    """Return what the trials taken from other studies reached and which of the others were as good,
    "" for a study without them.
    """
    taken = [trial for trial in table.trials if trial.prior]
    ranked = table.best_first
    best, other = (
        next((trial for trial in ranked if bool(trial.prior) == of_prior), None)
        for of_prior in (True, False)
    )
    if not taken:
        return ""
    words = f"the prior's {len(taken)} trials" if len(taken) > 1 else "the prior's trial"
    if best is None:
        return f"{words} brought nothing: none is complete"
    unit = unit_of(table)
    found = f"{words} reached {unit.value(best.value)} at trial {best.number} ({best.prior})"
    if other is None:
        return f"{found}; no other is complete"
    equal = [t.number for t in ranked if not t.prior and _as_good(t, best, table)]
    if not equal:
        return f"{found}; none of the others was as good, the best {unit.value(other.value)}"
    return (
        f"{found}; the first of the others as good was trial {min(equal)}, the best "
        f"{unit.value(other.value)} at trial {other.number}"
    )


def _as_good(trial: TrialRow, best: TrialRow, table: StudyTable) -> bool:
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    return sign * trial.value >= sign * best.value
