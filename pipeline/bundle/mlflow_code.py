"""The model that MLflow loads and serves: code, not a pickle. It checks the digest of the bundle's
predict.py and runs it.

Input: uint8 images (N, C, H, W); output: probabilities (N, classes). This file is copied into the
model and needs only NumPy and MLflow.
"""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np


class BundleModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """A bundle behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Load the bundle. Digests are checked: of its code before it runs, of its weights before
        they are read.
        """
        folder = Path(context.artifacts["bundle"])
        expected = json.loads((folder / "manifest.json").read_text())["files"]["predict.py"]
        if hashlib.sha256((folder / "predict.py").read_bytes()).hexdigest() != expected:
            raise ValueError(f"predict.py was changed after the bundle was written, in {folder}")
        found = importlib.util.spec_from_file_location("bundle_predict", folder / "predict.py")
        assert found is not None and found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        self.bundle = module.load(folder)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # hints would be taken for the signature
        """Return probabilities (N, classes) of images that hold whole numbers from 0 to 255."""
        values = np.asarray(model_input)
        if values.size and not (values.min() >= 0 and values.max() <= 255):
            raise ValueError(f"pixels must be from 0 to 255, got {values.min()} to {values.max()}")
        return self.bundle.predict_proba(values.astype(np.uint8))


mlflow.models.set_model(BundleModel())
