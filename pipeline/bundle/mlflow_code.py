"""The model that MLflow loads and serves: code, not a pickle. It checks the digest of the bundle's
predict.py and runs it.

Input: pictures (N, C, H, W) such as the training data held, of any size that training accepted,
their values from 0 to the form's full scale; what training did to a picture is done here. Output:
probabilities (N, classes), in the order of the metadata's class_names. This file is copied into the
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
        """Return probabilities (N, classes) of pictures with training's range of values: one alone
        gets the same answer as among others.
        """
        images = self.bundle.prepared(np.asarray(model_input), self.bundle.form.full_scale)
        return self.bundle.predict_proba(images)


mlflow.models.set_model(BundleModel())
