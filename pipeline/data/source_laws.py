"""Laws of a data source: its images, its labels, and the parts that they are split into."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal

from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split
from cnn_core.laws.hold import hold
from pipeline.configuration.data_settings import DataSettings
from pipeline.data.preparation import prepare


def images_and_labels_fit_together(settings: DataSettings) -> None:
    """Images (N, C, H, W) of bytes, a label from 0 each, every class with a name."""
    with tempfile.TemporaryDirectory() as root:
        spec = prepare(settings, Path(root))
        found = open_prepared(spec.folder, spec.digest)
        hold(
            found.images.ndim == 4 and found.images.dtype == np.uint8,
            f"images must be (N, C, H, W) uint8, got {found.images.shape} {found.images.dtype}",
        )
        labels = np.asarray(found.labels)
        hold(len(labels) == len(found.images), "there must be as many labels as images")
        hold(
            labels.min() >= 0 and labels.max() < spec.classes == len(found.class_names),
            f"labels must be from 0 to {spec.classes - 1}, one a name, got {labels.min()} to "
            f"{labels.max()} and {len(found.class_names)} names",
        )


def a_second_reading_gives_the_same_bytes(settings: DataSettings) -> None:
    """Data are known by their digest: it must not change from reading to reading."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        digests = {prepare(settings, Path(root)).digest for root in (one, other)}
        hold(len(digests) == 1, f"two readings must give equal bytes, got digests {digests}")


def training_and_validation_share_no_image(settings: DataSettings) -> None:
    """Every class is in both."""
    with tempfile.TemporaryDirectory() as root:
        spec = prepare(settings, Path(root))
        labels = np.asarray(open_prepared(spec.folder, spec.digest).labels)
        parts = split(labels, spec)
        hold(not set(parts.train) & set(parts.valid), "the parts must be disjoint")
        for part in (parts.train, parts.valid):
            assert_array_equal(np.unique(labels[part]), np.arange(spec.classes))


SOURCE_LAWS = (
    images_and_labels_fit_together,
    a_second_reading_gives_the_same_bytes,
    training_and_validation_share_no_image,
)
