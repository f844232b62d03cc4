"""``budget.gain``: a study ends when another tenth of its time is likely to bring less."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from pipeline.reporting.best_trials import SHARES, sampling_noise
from pipeline.reporting.prospect import expected_gain
from pipeline.search.problem import Problem

FEWEST = 10  # trials beyond the sampler's random ones before a study may end
TENTH = 0.1


@dataclass(frozen=True)
class GainRule:
    """Tells from a study's counted trials alone whether it may end. At a study's pace another tenth
    of its time is another tenth of its trials, so no clock is asked.
    """

    least: float | None  # improvement of the objective that is still worth the time
    startup: int  # trials before the sampler has learnt anything
    sign: float  # -1 where less is better
    images: int | None  # behind each value; None: values that are no share of images

    @classmethod
    def of(cls, problem: Problem) -> "GainRule":
        config = problem.config
        share = problem.objectives[0] in SHARES and config.budget.gain is not None
        return cls(
            config.budget.gain,
            config.sampler.startup,
            1.0 if problem.directions[0] == "maximize" else -1.0,
            problem.validation_images if share else None,
        )

    def reason(self, trials: Sequence[FrozenTrial]) -> str:
        """Return why the study may end, "" if it may not."""
        if self.least is None or len(trials) < self.startup + FEWEST:
            return ""
        values = [
            self.sign * trial.values[0] if trial.state == TrialState.COMPLETE else None
            for trial in sorted(trials, key=lambda trial: trial.number)
        ]
        best = max((value for value in values if value is not None), default=0.0)
        noise = sampling_noise(best, self.images) if self.images else 0.0
        gain = expected_gain(values, TENTH * len(values), noise)
        if gain is None or gain >= self.least:
            return ""
        return (
            f"another tenth of the time would bring about {gain:.2g}, less than "
            f"budget.gain={self.least:g}"
        )
