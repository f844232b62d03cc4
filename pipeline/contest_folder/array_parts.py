"""Training and test arrays in one archive, as ``x_train, y_train, x_test``: told by their names and
shapes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cnn_core.data.npz import npz_headers
from cnn_core.errors import InputError
from pipeline.contest_folder.found_files import FoundFile
from pipeline.contest_folder.names import name_part
from pipeline.inputs.arrays.mat_format import mat_arrays

_LABELS = re.compile(r"(^|_)(y|label|labels|target|targets|class|classes)(_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class ArrayParts:
    """The arrays of images to train on and to label, and those that nothing is done with."""

    training: str
    test: str
    unused: tuple[str, ...]

    def line(self) -> str:
        """Return what the arrays are for, in one line."""
        unused = f"; arrays not used: {', '.join(self.unused)}" if self.unused else ""
        return f"test data: array {self.test!r}, training data: array {self.training!r}{unused}"


def array_parts(file: FoundFile) -> ArrayParts | None:
    """Return which arrays of an archive are training's images and which the test's, None where
    there is not one of each, alike but for their number.
    """
    shapes = _shapes(file)
    images = [name for name, shape in shapes.items() if len(shape) > 1 and not _LABELS.search(name)]
    test = [name for name in images if name_part(name) == "test"]
    rest = [name for name in images if name_part(name) not in ("test", "valid")]
    if len(test) != 1 or len(rest) != 1 or len(shapes[test[0]]) != len(shapes[rest[0]]):
        return None
    unused = [
        name for name in shapes if name not in images and name_part(name) in ("test", "valid")
    ]
    unused += [name for name in images if name not in (*test, *rest)]
    return ArrayParts(rest[0], test[0], tuple(sorted(unused)))


def _shapes(file: FoundFile) -> Mapping[str, tuple[int, ...]]:
    try:
        if file.kind == "npz":
            return {name: header.shape for name, header in npz_headers(file.path).items()}
        if file.kind == "mat":
            return {name: one.shape for name, one in mat_arrays(file.path).items() if one.numbers}
    except InputError:
        return {}  # its reader says why
    return {}
