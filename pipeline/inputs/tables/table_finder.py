"""The columns of a table found step by step: by hints, by names, by numbers, by values."""

from collections.abc import Callable, Sequence
from math import prod

from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.input_source import Hints
from pipeline.inputs.tables import pixel_names, table_header
from pipeline.inputs.tables.column_values import Profile
from pipeline.inputs.tables.pixel_shape import PixelShape, brightest, shapes
from pipeline.inputs.tables.table_extras import Roles, name_extras, place_extras
from pipeline.inputs.tables.table_text import has_comma, is_number


class TableFinder:
    """A table's names and first rows, and the steps by which its columns are found."""

    def __init__(
        self,
        names: tuple[str, ...] | None,
        rows: Sequence[Sequence[str]],
        profile: Callable[[int], Profile],
        where: str,
    ) -> None:
        self.header, self.names, self.rows = names is not None, names or (), rows
        self.profile, self.where, self.width = profile, where, len(rows[0])
        self.alike = pixel_names.alike(self.names)
        self.counted = bool(self.alike) and all(is_number(self.names[c]) for c in self.alike)

    def called(self, column: int) -> str:
        """Return a column's name in quotes, or its place."""
        if self.header and self.names[column]:
            return f"'{self.names[column]}'"
        return {0: "first", self.width - 1: "last"}.get(column, str(column + 1))

    def named_roles(self, hints: Hints) -> Roles:
        """Return the columns that hints or their own names give a role."""
        roles = Roles()
        said = "none" if hints.labels is not None else hints.label  # else the other file's column
        if said in self.names:
            roles.label = self.names.index(said)
        if hints.id in self.names:
            roles.id = self.names.index(hints.id)
        roles.others = [c for c in range(self.width) if self._blank(c) and c != roles.label]
        indexes = table_header.named_indexes(self.names)
        roles.indexes = [c for c in indexes if c not in roles.named()]
        roles.id = self._hinted("id", hints.id, roles)
        labels = table_header.named_labels(self.names)
        ids = table_header.named_ids(self.names)
        self._id_by_name(roles, [c for c in ids if c not in labels], hints)
        roles.label = self._hinted("label", said, roles)
        labels = [column for column in labels if column not in roles.named()]
        if said == "auto":
            if len(labels) > 1:
                raise self.refusal("label", [self.called(column) for column in labels])
            roles.label = labels[0] if labels else None
        else:
            roles.others += labels
        roles.free = [c for c in range(self.width) if c not in roles.named()]
        return roles

    def _blank(self, column: int) -> bool:
        return not any(row[column].strip() for row in self.rows)

    def _id_by_name(self, roles: Roles, ids: Sequence[int], hints: Hints) -> None:
        """Take the first column that is named as ids are and whose values come once. In prediction
        one whose name ends in id is never the label instead.
        """
        predicted = bool(hints.class_names) and not hints.need_labels
        for column in ids:
            if column in roles.named():
                continue
            wanted = hints.id == "auto" and roles.id is None
            if wanted and self.profile(column).can_be_id:
                roles.id = column
                continue
            no_label = predicted and self.names[column].lower().endswith("id")
            if hints.id == "none" or roles.id is not None or no_label:
                roles.others.append(column)

    def _hinted(self, key: str, word: str, roles: Roles) -> int | None:
        """Return the column that a hint names: by its name, first, last, or its place from 1."""
        if word in ("auto", "none"):
            return None
        if word in self.names:
            return self.names.index(word)
        free = [column for column in range(self.width) if column not in roles.named()]
        if word in ("first", "last"):
            return free[0 if word == "first" else -1]
        if not self.header and word in map(str, range(1, self.width + 1)):
            return int(word) - 1
        few = [name for name in self.names if name not in self.names[3:-3]]
        known = ", ".join(few) if self.header else f"the places 1 to {self.width}"
        raise InputError(
            f"{key} must be auto, none, first, last or a column ({known}), got {word!r} for "
            f"{self.where}{did_you_mean(word, self.names)}"
        )

    def pixels(self, roles: Roles, hints: Hints) -> tuple[list[int], PixelShape]:
        """Return the columns of pixels and the shape of their image; what is left over becomes
        label, id, or nothing.
        """
        alike = {*self.alike} & {*roles.free}
        others = [column for column in roles.free if column not in alike]
        numbered = len(alike) > len(others)
        if numbered:
            self._check_complete(others)
        sure = shapes(len(alike), hints.shape)
        if sure and not self.counted:
            pixels = [column for column in roles.free if column in alike]
            name_extras(others, roles, hints, self)
            return pixels, sure[0]
        texts = [
            column
            for column in roles.free
            if (numbered and column not in alike) or table_header.is_text(self.rows, column)
        ]
        texts += self._beyond_bytes([column for column in roles.free if column not in texts])
        numbers = [column for column in roles.free if column not in texts]
        return self._among_numbers(numbers, texts, roles, hints)

    def _check_complete(self, others: Sequence[int]) -> None:
        missing = pixel_names.missing(self.names, self.alike)
        if missing:
            more = self._few(others) or "no other column"
            raise InputError(
                f"pixels must be named without a gap, got {len(self.alike)} of them, missing: "
                f"{', '.join(missing)}, beside {more} in {self.where}"
            )

    def _few(self, columns: Sequence[int]) -> str:
        more = ", ..." if len(columns) > 5 else ""
        return ", ".join(map(self.called, columns[:5])) + more

    def _beyond_bytes(self, columns: list[int]) -> list[int]:
        """Return the one or two columns, if so few, whose numbers are no bytes while all others
        are.
        """
        rows = self.rows
        other = [
            column
            for column in columns
            if 2 * sum(is_number(r[column]) and not 0 <= float(r[column]) <= 255 for r in rows)
            > len(rows)
        ]
        return other if len(other) <= 2 else []

    def _among_numbers(
        self, numbers: list[int], texts: list[int], roles: Roles, hints: Hints
    ) -> tuple[list[int], PixelShape]:
        label_open = roles.label is None and hints.label == "auto" and hints.labels is None
        id_open = roles.id is None and hints.id == "auto"
        most = max(0, label_open + id_open - len(texts))
        found = [
            (extra, shape)
            for extra in range(most + 1)
            for shape in shapes(len(numbers) - extra, hints.shape)
        ]
        if not found:
            raise self._no_image(numbers, most, hints, texts)
        if len(found) > 1:
            choices = [f"{shape.words} and {extra} more columns" for extra, shape in found]
            raise self.refusal("shape", choices)
        extra, shape = found[0]
        if extra == 0:
            name_extras(texts, roles, hints, self)
            return numbers, shape
        chosen = place_extras(numbers, extra, texts, roles, hints, self)
        return [column for column in numbers if column not in chosen], shape

    def _no_image(
        self, numbers: Sequence[int], most: int, hints: Hints, texts: Sequence[int]
    ) -> InputError:
        wanted = "a square number of pixels, or three times one"
        if hints.shape:
            wanted = f"{prod(hints.shape)} pixels ({'x'.join(map(str, hints.shape))})"
        more = f" and up to {most} columns more" if most else ""
        comma = next((cell for row in self.rows for cell in row if has_comma(cell)), None)
        if comma is not None:
            return InputError(
                f"numbers must have a decimal point, got a comma ({comma.strip()!r}) in "
                f"{self.where}"
            )
        beside = f"beside {self._few(texts)} " if texts else ""
        return InputError(
            f"a row must hold {wanted}{more}, got {self.width} values, {len(numbers)} of them "
            f"numbers without another role, {beside}in {self.where}; `shape`, `label` or `id` say "
            "what they are"
        )

    def refusal(self, key: str, choices: Sequence[str]) -> InputError:
        """Return the refusal of what several readings fit."""
        said = " or ".join(f"{key}={choice}" for choice in choices)
        if key == "shape":
            said = " or ".join(choices)
        return InputError(
            f"a table's layout must be certain, got several that fit ({said}) in {self.where}; "
            f"`{key}` says which"
        )

    def brightest(self, columns: Sequence[int]) -> float:
        return brightest(self.rows, columns)

    def index_as_id(self, roles: Roles, hints: Hints) -> None:
        """Let an index column be the ids, where no other is and it does more than count."""
        for column in roles.indexes:
            taken = roles.id is not None or hints.id == "none" or column == roles.label
            found = self.profile(column)
            if not taken and not found.counts and found.can_be_id:
                roles.id = column
            elif column not in (roles.id, roles.label):
                roles.others.append(column)

    def id_name(self, roles: Roles) -> str | None:
        if roles.id is None or not self.header or roles.id in roles.indexes:
            return None
        return self.names[roles.id] or None

    def check_labels(self, roles: Roles, hints: Hints, got: str) -> None:
        """Raise InputError where labels are needed and there are none."""
        if not hints.need_labels or hints.labels is not None or roles.label is not None:
            return
        columns = ", ".join(map(self.called, sorted(roles.others))) or "none"
        raise InputError(
            "labels are needed: `label` must say which column holds them (its name, first or "
            f"last), or `labels` which file; got {got} and the other columns {columns} in "
            f"{self.where}"
        )

    def check_ids(self, roles: Roles, hints: Hints) -> None:
        """Raise InputError where pictures to be predicted have ids, and one comes twice."""
        if not hints.class_names or hints.need_labels or hints.id == "none":
            return
        named = [c for c in table_header.named_ids(self.names) if c in roles.others]
        for column in named if roles.id is None else [roles.id]:
            twice = self.profile(column).twice
            if twice is not None:
                raise InputError(
                    f"ids must be distinct, got {twice[:40]!r} twice in column "
                    f"{self.called(column)} of {self.where}; `id` says which column holds them, "
                    "or none"
                )

    def words(self, roles: Roles, pictures: str) -> str:
        """Return what was understood in a line."""
        parts = [] if self.header else ["no header"]
        if self.counted:
            parts.append("a header of numbers")
        parts.append("no label" if roles.label is None else f"label: {self._place(roles.label)}")
        parts.append("no ids" if roles.id is None else f"ids: {self._place(roles.id)}")
        parts.append(pictures)
        if roles.others:
            parts.append(f"not used: {', '.join(map(self.called, sorted(roles.others)))}")
        return "; ".join(parts)

    def _place(self, column: int) -> str:
        ends = {0: "first", self.width - 1: "last"}
        if self.header and self.names[column]:
            return f"column '{self.names[column]}' ({ends.get(column, column + 1)})"
        return f"{ends[column]} column" if column in ends else f"column {column + 1}"
