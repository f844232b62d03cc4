"""What a command is: its name, its words for --help, its own keys."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of ``python -m pipeline.<name>``.

    `keys` is a dataclass of the command's own top-level keys, its fields made with `setting`; an instance arrives as
    ``config.arguments``. `sections` are the sections of the tree that it listens to; None: all. An override of any other is refused,
    since it would do nothing.
    """

    name: str
    about: str = ""
    examples: tuple[str, ...] = ()
    keys: type | None = None
    sections: tuple[str, ...] | None = None


SWEEP = Command(name="sweep")
