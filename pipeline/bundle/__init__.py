"""What is exported: an ensemble as a folder that NumPy alone can run.

>>> from pipeline.bundle import load_bundle
>>> bundle = load_bundle("outputs/contest/bundle")
>>> labels = bundle.predict_proba(images).argmax(axis=1)        # uint8 (N, C, H, W) or (N, H, W)
"""

from pipeline.bundle.predictor import Bundle
from pipeline.bundle.predictor import load as load_bundle
from pipeline.records.manifest import BundleError

__all__ = ["Bundle", "BundleError", "load_bundle"]
