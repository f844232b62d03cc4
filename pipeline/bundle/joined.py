"""predict.py, joined from the modules that predict with NumPy alone."""

import re
from pathlib import Path

# The files that predict.py is joined from, in the order in which they need each other.
_SOURCES = ("reading.py", "operations.py", "predictor.py", "standalone.py")
_HEAD = '''"""Predict with this bundle; Python and NumPy are all that is needed.

    python predict.py INPUT OUTPUT
"""

import os

if __name__ == "__main__":  # more threads only wait for each other on products as small as these
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

'''


def standalone_source() -> str:
    """Return predict.py: the modules of the predictor joined, their imports of each other and repeated docstrings left out."""
    parts = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in _SOURCES]
    bodies = [re.sub(r"^from pipeline\.[^\n]*?import (\([^)]*\)|[^\n]*)\n", "", part, flags=re.MULTILINE) for part in parts]
    without = [re.sub(r'\A""".*?"""\n', "", body, flags=re.DOTALL).strip("\n") for body in bodies]
    return _HEAD + "\n\n\n".join(without) + "\n"
