"""Train one trial of a study again and compare every epoch's metrics, bit for bit on the same kind
of machine.
"""

import sys
from dataclasses import dataclass

from pipeline.configuration import Command, Config, command_line, setting


@dataclass
class ReplayKeys:
    trial: int | None = setting(None, "number of the trial; null: the best one", low=0)
    tolerance: float = setting(
        1e-3, "largest difference of a metric that passes on another machine", low=0
    )


REPLAY = Command(
    name="replay",
    about="Trains a trial again from its stored overrides and seed, and compares each epoch's "
    "metrics with the stored ones:\n"
    "to the bit on the same kind of machine (processor, BLAS, kernels, NumPy), else to a "
    "tolerance. Exit code 1 when they differ.",
    examples=(
        "python -m pipeline.replay study.name=digits trial=3",
        "python -m pipeline.replay study.name=mnist",
    ),
    keys=ReplayKeys,
    sections=("study", "data", "slots", "blas"),
)


def main(config: Config) -> int:
    """Replay the trial that `config` names; return 0 if it is the same, 1 if it differs."""
    from pipeline.search.retrain import replay

    return replay(config)


if __name__ == "__main__":
    sys.exit(command_line(REPLAY, sys.argv[1:], main))
