"""A trial's state as the study's database has it, in this program's words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

PAUSED = "paused"  # user attribute of a trial: whether it waits at a rung, to Optuna a pruned one


def state_of(frozen: "optuna.trial.FrozenTrial") -> str:
    """The state of a stored trial, PAUSED for a pruned one that waits for a promotion."""
    paused = frozen.state.name == "PRUNED" and frozen.user_attrs.get(PAUSED)
    return "PAUSED" if paused else frozen.state.name


def told_state(frozen: "optuna.trial.FrozenTrial", told: str) -> str:
    """Return a trial's state as the database has it, an interrupted one's as INTERRUPTED; of others
    that go on, the state that was told last.
    """
    if frozen.state.name == "WAITING" and frozen.intermediate_values:
        return "INTERRUPTED"
    return state_of(frozen) if frozen.state.is_finished() or not told else told
