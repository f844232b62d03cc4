"""What a command is: its name, its words for --help, its own keys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of ``python -m pipeline.<name>``.

    `keys` is a dataclass of the command's own top-level keys, its fields made with `setting`; an
    instance arrives as ``config.arguments``. `sections` are the sections of the tree that it
    listens to; None: all. An override of any other is refused, since it would do nothing.
    """

    name: str
    about: str = ""
    examples: tuple[str, ...] = ()
    keys: type | None = None
    sections: tuple[str, ...] | None = None


SWEEP = Command(
    name="sweep",
    about="Searches hyperparameters: many trials at once, logged in MLflow. Interrupted, the same "
    "command goes on where it stopped.",
    examples=(
        "python -m pipeline.sweep                                   20 trials on 1,797 small "
        "digits, about a minute",
        "python -m pipeline.sweep experiment=mnist slots.n=2        30 trials on MNIST",
        "python -m pipeline.sweep data=csv data.file=train.csv study.name=mine budget.minutes=30",
        "python -m pipeline.sweep optimizer=adam model.dropout=0.4  fixes two values that would be "
        "searched",
        "python -m pipeline.sweep study.name=small 'space={model.filters:{int:[8,32]}}'",
    ),
)
