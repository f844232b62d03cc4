"""An exported model as an object: pictures in, classes or probabilities out."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.bundle.predictor import Array
from pipeline.bundle.running import open_bundle, quicken

Pictures = Sequence[NDArray[Any]] | NDArray[Any]


class ExportedModel:
    """A bundle that predicts pictures such as the training data held: they are prepared as those
    were, and computed by the code that ``pipeline.predict`` runs. Any thread may call it.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InputError where `folder` holds no sound bundle."""
        self.folder = folder
        self._bundle = quicken(open_bundle(folder))
        self._working_memory = threading.Lock()
        self.class_names = self._bundle.class_names
        self.image_shape = self._bundle.image_shape  # channels, height, width of a prepared picture

    def predict_proba(self, pictures: Pictures, full_scale: float | None = None) -> Array:
        """Return (N, classes) float32 probabilities, in the order of `class_names`.

        pictures, full_scale: as `Bundle.prepared` takes them: (N, H, W), rows of pixels or pictures
        of many sizes, and the value that stands for white. Raises BundleError for pictures that do
        not fit.
        """
        images = self._bundle.prepared(pictures, full_scale)
        with self._working_memory, threadpool_limits(1):
            return self._bundle.predict_proba(images)

    def predict(self, pictures: Pictures, full_scale: float | None = None) -> NDArray[np.str_]:
        """Return the names (N,) of the most probable classes."""
        best = self.predict_proba(pictures, full_scale).argmax(axis=1)
        names: NDArray[np.str_] = np.array(self.class_names)[best]
        return names

    def __repr__(self) -> str:
        classes, shape = len(self.class_names), "x".join(map(str, self.image_shape))
        return f"ExportedModel({str(self.folder)!r}: {classes} classes, pictures {shape})"
