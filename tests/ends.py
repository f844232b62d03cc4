"""How trials ended, for tests that make them up."""

from pathlib import Path

from pipeline.events import State, TrialEnded


def ended(
    state: str = "COMPLETE",
    *objective: float,
    reason: str = "",
    number: int = 0,
    epochs: int = 0,
    folder: Path = Path("trial"),
) -> TrialEnded:
    """Return an end with what the test says of it."""
    return TrialEnded(
        number=number,
        state=State(state),
        reason=reason,
        objective=objective,
        epochs=epochs,
        duration_s=0.0,
        folder=folder,
        time_s=0.0,
    )
