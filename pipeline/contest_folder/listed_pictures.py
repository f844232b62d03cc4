"""Training and test pictures in one folder, told apart by the tables that name them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.input_source import some
from pipeline.inputs.pictures.folder_listing import list_folder
from pipeline.inputs.pictures.picture_choice import chosen


@dataclass(frozen=True)
class ListedPictures:
    """The tables whose ids name the pictures of each part, and what they leave over."""

    training: Path
    test: Path
    left: Sequence[str]  # pictures in neither

    def line(self) -> str:
        """Return which table names which pictures, in one line."""
        left = f"; {len(self.left)} pictures in neither: {some(self.left)}" if self.left else ""
        return (
            f"one folder of pictures: {self.training.name} names those of training, "
            f"{self.test.name} those of the test{left}"
        )


def listed_pictures(
    folder: Path, training: Path, test: Path, ids: tuple[str, str] = ("auto", "auto")
) -> ListedPictures:
    """Return how two tables divide a folder's pictures; `ids` are the names of their columns of
    ids. Raises InputError where a row names no picture, or both tables name one.
    """
    found = list_folder(folder)
    pictures, here = [*found.pictures, *found.unreadable], str(folder)
    learned, _ = chosen(pictures, training, ids[0], here)
    try:
        asked, _ = chosen(pictures, test, ids[1], here)
    except InputError as error:
        raise InputError(re.sub(r"(?<!\w)id(?=[=`])", "test_id", str(error))) from None
    rest = {*asked}
    if both := [name for name in learned if name in rest]:
        raise InputError(
            f"pictures to label must be others than those to train on, got {len(both)} "
            f"({some(both)}) both in {training} and in {test}; test=none labels none"
        )
    left = {*pictures} - {*learned, *asked}
    return ListedPictures(training, test, [name for name in pictures if name in left])
