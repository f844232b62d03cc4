"""--help: what a command does, how to call it, and every group and key it reads, taken from their
definitions.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.configuration.hydra_tree import groups
from pipeline.configuration.searchable import GRAMMAR, reaches
from pipeline.configuration.tree import FREE_SECTIONS, SECTIONS, Command, section_type
from pipeline.configuration.typed_tree import typed_tree

WIDE = 80  # terminal columns from which keys, defaults and meanings stand side by side
FLAG_WORDS = {
    "-h, --help": "this text",
    "--version": "the version",
    "--cfg job": "print the configuration as composed, and stop",
    "-q, --quiet": "results and errors only",
    "-v, --verbose": "more of what happens",
    "--config-dir DIR": "a folder of your own with files such as space/mine.yaml",
}
ROOT_WORDS = {
    "root": "folder that everything is written to",
    "plugins": "your own Python files or packages, such as [./my_net.py], to be loaded",
}
EXIT_CODES = (
    "0 done; 1 failed; 2 refused before anything began, with the reason in one line; 130, "
    "143, 129 interrupted, terminated, terminal closed: the same command resumes."
)


SPACED = ("sweep", "show")  # commands that take a space
SPACE_WORDS = (
    "A space is a mapping of keys, on the command line as "
    "'space={{model.filters:{{int:[8,32]}}}}' or in a file space/mine.yaml below --config-dir DIR. "
    "A key with a * can be searched, and the groups {}; all else is the same for all trials of a "
    "study. A key given on the command line is not searched."
)


def print_help(command: Command, console: Console | None = None) -> None:
    """Print the help of one command, as wide as the terminal; rich respects NO_COLOR."""
    console = console or Console(highlight=False)
    base = typed_tree((), (), command)
    tree, chosen = base.tree, base.chosen
    console.print(
        Text(f"python -m pipeline.{command.name} [GROUP=CHOICE ...] [KEY=VALUE ...]", style="bold")
    )
    if command.about:
        console.print(" ".join(command.about.split()), markup=False)
    if command.examples:
        _title(console, "Examples")
        for example in command.examples:
            console.print(f"  {example}", markup=False, soft_wrap=True)
    own = list(_own_rows(command))
    if own:
        _title(console, "Keys of this command")
        _print_rows(console, own)
    listens = (
        command.sections
        if command.sections is not None
        else (*SECTIONS, *FREE_SECTIONS, "experiment")
    )
    shown = [
        (group, " ".join(f"[{name}]" if name == chosen.get(group) else name for name in names))
        for group, names in groups().items()
    ]
    shown = [row for row in shown if row[0] in listens]
    if shown:
        _title(console, "Groups (the default in brackets), each choice a file in conf/")
        _print_rows(console, shown)
    if command.name in SPACED:
        _title(console, "Spaces: what is searched")
        searched = ", ".join(filter(reaches, groups()))
        console.print(SPACE_WORDS.format(searched), markup=False, highlight=False)
        _print_rows(console, GRAMMAR)
    _title(console, "Keys, their defaults and meaning")
    _print_rows(console, list(_tree_rows(tree, listens)))
    _title(console, "Flags")
    _print_rows(console, list(FLAG_WORDS.items()))
    console.print(f"\nExit codes: {EXIT_CODES}", markup=False)


def _title(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _print_rows(console: Console, rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows as a table; where a third column would be squeezed, each (key, default, meaning)
    takes two lines.
    """
    if console.width >= WIDE or max(map(len, rows)) < 3:
        console.print(_table(rows))
        return
    for key, default, meaning in rows:
        console.print(Text.assemble((key, "cyan"), "  ", default))
        console.print(Padding(Text(meaning), (0, 0, 0, 4), expand=False))


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(
        box=box.SIMPLE, show_header=False, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0)
    )
    columns = max(map(len, rows))
    for number in range(columns):
        middle = 0 < number < columns - 1
        table.add_column(
            no_wrap=number == 0,
            overflow="fold",
            style="cyan" if number == 0 else None,
            max_width=20 if middle else None,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _own_rows(command: Command) -> Iterator[tuple[str, ...]]:
    if command.keys is not None:
        defaults = command.keys()
        for item in dataclasses.fields(command.keys):
            yield item.name, _value(getattr(defaults, item.name)), _meaning(item)


def _tree_rows(tree: DictConfig, listens: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, about in ROOT_WORDS.items():
        yield key, _value(tree[key]), about
    for section in (name for name in SECTIONS if name in listens):
        settings: Any = section_type(section, tree[section].get("name"))
        for item in dataclasses.fields(settings):
            if item.name != "name" or section == "study":
                key = f"{section}.{item.name}"
                star = " *" if reaches(key) else ""
                yield key + star, _value(tree[section][item.name]), _meaning(item)


def _value(value: Any) -> str:
    if OmegaConf.is_config(value) or isinstance(value, list):
        return (
            "[]"
            if not value
            else "[...]"
            if any(not isinstance(item, str | int | float) for item in value)
            else f"[{', '.join(map(str, value))}]"
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value) or '""'


def _meaning(item: "dataclasses.Field[Any]") -> str:
    words = item.metadata.get("choices", ())
    about = item.metadata.get("about", "")
    return f"{about}: {', '.join(words)}" if words else about
