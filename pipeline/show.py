"""Show, without training: a search space as a tree, a study's trials, one trial, what augmentation
does, what a net would see.
"""

import sys
from dataclasses import dataclass

from rich.console import Console

from pipeline.configuration import Command, Config, command_line, setting
from pipeline.redact import shown


@dataclass
class ShowKeys:
    trial: int | None = setting(
        None, "with study.name: this trial's configuration and curves", low=0
    )
    net: str | None = setting(
        None, "with study.name: this net of pipeline.train, by the beginning of its name"
    )
    input: str | None = setting(
        None,
        "images (IDX, CSV, text, .npy, .npz, picture, folder): draw a sheet of what the net would "
        "see",
    )
    normalize: str = setting(
        "auto",
        "of the input: auto does what training did; mnist centres and scales it, none does not",
        choices=("auto", "mnist", "none"),
    )
    output: str | None = setting(None, "file of the sheet; null: below root/sheets")


COMMAND = Command(
    name="show",
    about="Shows a search space (space=), a study or a trial (study.name=), what augmentation does "
    "(augment=), or an input (input=).",
    examples=(
        "python -m pipeline.show space=hard_digits",
        "python -m pipeline.show study.name=digits",
        "python -m pipeline.show study.name=digits trial=17",
        "python -m pipeline.show study.name=digits net=3f",
        "python -m pipeline.show augment=hard_digits data=mnist",
        "python -m pipeline.show augment=hard_digits model.frame=box data=mnist",
        "python -m pipeline.show input=my_digits/ data=mnist",
    ),
    keys=ShowKeys,
)


def main(config: Config) -> int:
    """Show what the overrides ask for, by default the space. Return the exit code."""
    console = Console(highlight=False)
    given = {text.partition("=")[0] for text in config.overrides}
    keys: ShowKeys = config.arguments
    if keys.input is not None:
        _show_input(console, config, keys.input, keys)
    elif "study.name" in given or keys.trial is not None or keys.net is not None:
        _show_study(console, config, keys)
    elif any(key == "augment" or key.startswith("augment.") for key in given):
        from pipeline.showing.sheets import augment_sheet

        console.print(
            f"first each image as it is, then changed at random{_framed(config)}: "
            f"{augment_sheet(config, keys.output)}",
            markup=False,
            soft_wrap=True,
        )
    else:
        _show_space(console, config)
    return 0


def _framed(config: Config) -> str:
    if config.model.frame == "none":
        return ""
    beside = "; the net has the image as it is as well" if config.model.frame_beside else ""
    return f" and framed (model.frame={config.model.frame}{beside})"


def _show_space(console: Console, config: Config) -> None:
    from pipeline.search.space import searched
    from pipeline.showing.tables import space_tree

    space, notes = searched(config)
    space.check(config.overrides)
    name = config.choices.get("space") or "given"
    console.print(space_tree(space, f"space {name}: {len(space.parameters)} parameters"))
    for note in notes:
        console.print(note, markup=False)


def _show_study(console: Console, config: Config, keys: ShowKeys) -> None:
    from pipeline.showing.tables import (
        open_table,
        print_net,
        print_nets,
        print_trial,
        print_trials,
        trained_nets,
    )

    nets = trained_nets(config.paths)
    if keys.net is not None:
        print_net(console, nets, keys.net)
        return
    alone = (
        bool(nets)
        and keys.trial is None
        and config.study.storage is None
        and not config.paths.study_db.exists()
    )
    if not alone:
        table = open_table(config)
        if keys.trial is not None:
            print_trial(console, table, config, keys.trial)
            return
        print_trials(console, table)
    if nets:
        print_nets(console, nets, config.study.name)


def _show_input(console: Console, config: Config, given: str, keys: ShowKeys) -> None:
    from pipeline.showing.sheets import input_sheet

    path, count, lines = input_sheet(config, given, keys.normalize, keys.output)
    for line in lines:
        console.print(shown(line), markup=False, soft_wrap=True)
    console.print(f"{count} images as the net would see them: {path}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
