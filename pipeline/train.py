"""Train one configuration without a search: a line per epoch, learning curves, weights, an MLflow
run; the same command resumes.
"""

import sys
from dataclasses import dataclass

from pipeline.configuration import Command, Config, command_line, setting
from pipeline.data import prepare


@dataclass
class TrainKeys:
    trial: int = setting(
        0,
        "number whose random streams are used: with a study's seed and overrides, its trial to the "
        "bit",
        low=0,
    )


COMMAND = Command(
    name="train",
    about="Trains one configuration without a search and shows each epoch. Interrupted, the same "
    "command resumes where it stopped.",
    examples=(
        "python -m pipeline.train model=contest",
        "python -m pipeline.train experiment=simple_convnet study.seeds=1 train.epochs=2",
        "python -m pipeline.train data=csv data.file=train.csv optimizer=momentum "
        "optimizer.lr=0.05",
    ),
    keys=TrainKeys,
)


def main(config: Config) -> int:
    """Train the net that `config` describes; return the exit code."""
    config.slots.n = 1
    data = prepare(config.data, config.root, None if config.quiet else print)
    from pipeline.search import train_one  # imports Optuna: only once the input is valid

    return train_one.run(config, data, config.arguments.trial, print)


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
