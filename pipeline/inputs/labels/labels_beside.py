"""Labels that stand in a file of their own beside a table of images."""

from collections.abc import Iterator
from pathlib import Path

from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.input_source import Block, Hints, some


class LabelsBeside:
    """Labels of a file of their own: joined by id where both files have ids, by number where the
    labels alone have, else in order.
    """

    def __init__(self, labels: Path, hints: Hints, images: Path, by_id: bool) -> None:
        from pipeline.inputs.labels.label_files import read_labels

        # A name for ids is one of the table of images: here it need not be the same.
        found = read_labels(labels, hints.label, "none" if hints.id == "none" else "auto")
        self.path, self.images, self.labels = labels, images, found.labels
        self.by_id: dict[str, str] | None = None
        if by_id and found.ids is not None:
            order = "by id"
            self.by_id = dict(zip(found.ids, found.labels, strict=True))
        else:
            named = f"a name for that column in the first line of {labels.name}, such as id,"
            self.labels, order = found.counted(str(images), named)
        self.understood = f"{labels.name}, {order}: {found.understood}"

    def joined(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Yield the blocks with labels. Raises InputError where an image has none, or labels are
        left over.
        """
        done = 0
        left = {*(self.by_id or ())}
        for block in blocks:
            done += len(block.ids)
            left.difference_update(block.ids)
            if self.by_id is None:
                labels = self.labels[done - len(block.ids) : done]
                if len(labels) < len(block.ids):
                    raise self._uneven(f"more than {done - 1}")
            else:
                labels = tuple(self._label(self.by_id, name) for name in block.ids)
            yield Block(pictures=block.pictures, ids=block.ids, labels=labels)
        if self.by_id is None and done < len(self.labels):
            raise self._uneven(str(done))
        if left:
            raise InputError(
                f"every label must have an image, got {len(left)} without "
                f"({some(sorted(left))}) in {self.path} beside {self.images}"
            )

    def _label(self, by_id: dict[str, str], name: str) -> str:
        if name not in by_id:
            raise InputError(
                f"every image must have a label, got none for {name[:40]!r} of {self.images} in "
                f"{self.path}{did_you_mean(name, list(by_id)[:1000])}"
            )
        return by_id[name]

    def _uneven(self, images: str) -> InputError:
        return InputError(
            f"labels in order must be as many as images, got {len(self.labels):,} in {self.path} "
            f"and {images} in {self.images}"
        )
