"""What the classes of training data may be: what a bundle of theirs may have."""

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline.data.source import Labelled
from pipeline.inputs.labels import labels
from pipeline.records import manifest_reading

IMAGES, LABELS = np.zeros((2, 1, 2, 2), np.uint8), np.array([0, 1])


def test_a_bundle_may_have_as_many_classes_as_training() -> None:
    assert manifest_reading.MOST_CLASSES == labels.MOST_CLASSES
    with pytest.raises(InputError, match="at most 1000 classes, got 1001 in digits"):
        Labelled(IMAGES, LABELS, 1001).about("digits")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "a\u2029b", "\u202ea"])
def test_the_name_of_a_class_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match="a class's name must be one line of text"):
        Labelled(IMAGES, LABELS, 2, ("b", name)).about("digits")
    assert Labelled(IMAGES, LABELS, 2, ("b", "é a")).about("digits").class_names == ("b", "é a")
