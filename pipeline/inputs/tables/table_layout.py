"""Which columns of a table are pixels, label and id: decided once, said in a line, and refused with
the choices where it is not certain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Hints
from pipeline.inputs.tables import pixel_names, table_header
from pipeline.inputs.tables.column_values import Profile
from pipeline.inputs.tables.pixel_shape import PixelShape, shape_of
from pipeline.inputs.tables.table_extras import name_extras
from pipeline.inputs.tables.table_finder import TableFinder


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a table, counted from 0."""

    width: int
    header: bool
    pixels: tuple[int, ...]
    shape: PixelShape
    label: int | None
    id: int | None
    id_name: str | None
    understood: str
    pixel_names: tuple[str, ...] = ()  # in their order, where they do not count the pixels


@dataclass(frozen=True, kw_only=True)
class TableLook:
    """What is known of a table before it is read: its first rows, header and all, and a function
    that tells what all values of a column say.
    """

    rows: Sequence[Sequence[str]]
    profile: Callable[[int, bool], Profile]  # of a column, with a header or without
    where: str
    names: tuple[str, ...] | None = None  # where the format tells them from the rows


@dataclass(frozen=True, kw_only=True)
class SideColumns:
    """The columns beside a column of whole pictures."""

    label: str | None
    id: str | None
    understood: str


def decide(look: TableLook, hints: Hints) -> Layout:
    """Return the layout. Raises InputError, with what to say, where it is not certain."""
    names, rows = look.names, look.rows
    if names is None:
        names, rows = table_header.split_header(rows, look.where)
    if not rows:
        raise InputError(
            f"a table must hold at least one row below its header, got none in {look.where}"
        )
    header = names is not None
    finder = TableFinder(names, rows, cache(partial(_profile, look, header)), look.where)
    roles = finder.named_roles(hints)
    pixels, shape = finder.pixels(roles, hints)
    finder.index_as_id(roles, hints)
    finder.check_ids(roles, hints)
    finder.check_labels(roles, hints, f"{len(pixels)} pixels")
    ordered, words = pixels, ""
    told = shape.by_pixel if hints.shape_told else None
    if header:
        ordered, words = _ordered(finder.names, pixels, shape, hints, look.where)
        told = pixel_names.by_pixel(finder.names, ordered, shape) if told is None else told
    counted = not header or pixel_names.tell_order(finder.names, pixels, shape)
    shape = shape_of(shape, rows, ordered, told, look.where)
    return Layout(
        width=len(rows[0]),
        header=header and look.names is None,
        pixels=tuple(ordered),
        shape=shape,
        label=roles.label,
        id=roles.id,
        id_name=finder.id_name(roles),
        understood=finder.words(roles, f"{shape.count} pixels ({shape.words}){words}"),
        pixel_names=() if counted else tuple(finder.names[column] for column in ordered),
    )


def _ordered(
    names: Sequence[str], pixels: list[int], shape: PixelShape, hints: Hints, where: str
) -> tuple[list[int], str]:
    """Return the pixels' columns in their order, by training's names or by the numbers in their
    own, and a word on it.
    """
    if hints.pixel_names:
        return pixel_names.as_trained(names, pixels, hints.pixel_names, where)
    ordered = pixel_names.in_order(names, pixels, shape, where)
    return ordered, "" if ordered == pixels else "; pixels in the order of their names"


def decide_beside(look: TableLook, hints: Hints, pictures: str) -> SideColumns:
    """Return which of the columns beside pictures are label and id; `pictures` says in words where
    those are. Raises InputError where it is not certain.
    """
    names = look.names or ()
    finder = TableFinder(names, look.rows, cache(partial(_profile, look, True)), look.where)
    roles = finder.named_roles(hints)
    name_extras(roles.free, roles, hints, finder)
    finder.index_as_id(roles, hints)
    finder.check_ids(roles, hints)
    finder.check_labels(roles, hints, pictures)
    return SideColumns(
        label=None if roles.label is None else names[roles.label],
        id=None if roles.id is None else names[roles.id],
        understood=finder.words(roles, pictures),
    )


def _profile(look: TableLook, header: bool, column: int) -> Profile:
    return look.profile(column, header)
