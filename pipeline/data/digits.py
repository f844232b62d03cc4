"""The 1,797 digits of 8x8 that come with scikit-learn: real, small, always there.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (1998), its test part.
It has no test set of its own: a stratified fifth, the same for everybody (data.test_fraction,
data.test_seed), is held out before anything else.
"""

import gzip
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnn_core.data.image_form import ImageForm
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import DigitsSettings
from pipeline.data.source import DataSource, Labelled, PartToRead


def find_digits(settings: DigitsSettings, test: bool) -> Sequence[Path]:
    """Return scikit-learn's own file, found without importing scikit-learn (which takes most of a
    second). Raises InputError.
    """
    spec = importlib.util.find_spec("sklearn")
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(place, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            return (path,)
    raise InputError(
        "data=digits: scikit-learn must be installed with its data, found no "
        "datasets/data/digits.csv.gz; install it again"
    )


def read_digits(settings: DigitsSettings, files: Sequence[Path], part: PartToRead) -> Labelled:
    """Return all images, the range 0 to 16 scaled to 0 to 255.

    Each row is 64 values and the label.
    """
    try:
        with gzip.open(files[0], "rt", encoding="ascii") as file:
            rows = np.loadtxt(file, delimiter=",", dtype=np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{files[0]}: must be scikit-learn's digits, got: {error}") from error
    if rows.shape != (1797, 65):
        raise InputError(
            f"{files[0]}: must be scikit-learn's digits, (1797, 65) numbers, got {rows.shape}"
        )
    images = np.rint(rows[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    form = ImageForm(channels=1, height=8, width=8, other_sizes="box")
    return Labelled(images, rows[:, 64].astype(np.int64), 10, tuple("0123456789"), form)


DIGITS: DataSource[DigitsSettings] = DataSource(
    find_digits,
    read_digits,
    own_test=lambda settings: False,
    licence="Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak), UCI Machine "
    "Learning Repository, CC BY 4.0",
)
