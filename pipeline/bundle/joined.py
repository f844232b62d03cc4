"""predict.py, joined from the modules that predict with NumPy alone."""

import re
from pathlib import Path

# The files that predict.py is joined from, in the order in which they need each other.
_SOURCES = ("operations.py", "predictor.py", "standalone.py")


def standalone_source() -> str:
    """Return predict.py: the modules of the predictor joined, their imports of each other and repeated docstrings left out."""
    parts = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in _SOURCES]
    bodies = [re.sub(r"^from pipeline\.[^\n]*?import (\([^)]*\)|[^\n]*)\n", "", part, flags=re.MULTILINE) for part in parts]
    docstring = '"""Predict with this bundle; Python and NumPy are all that is needed.\n\n    python predict.py INPUT OUTPUT\n"""\n'
    without = [re.sub(r'\A""".*?"""\n', "", body, flags=re.DOTALL).strip("\n") for body in bodies]
    return docstring + "\n" + "\n\n\n".join(without) + "\n"
