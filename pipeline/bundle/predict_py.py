"""A bundle's predict.py, assembled from the source of the predictor's modules and of the layers'
`infer`, so that the code that is exported is the code that is tested.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from cnn_core.layers import OPERATIONS, Layer
from cnn_core.plugins import own_operations

_HEAD = '''"""Predict with this bundle; Python and NumPy are all that is needed.

    python predict.py INPUT OUTPUT [FULL_SCALE]

INPUT: pictures as the training data held them, of any size, in a .npy file ((N, H, W), (N, C, H,
W) or (N, H, W, C)), an IDX file (.gz) or text rows of the model's size; OUTPUT: the name of a class
a line. FULL_SCALE: the value that stands for white, where it is not that of training.
"""

import os


if __name__ == "__main__":  # more threads only wait for each other on products as small as these
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

'''


# The files that predict.py is joined from, before and after the layers' operations.
_BEFORE = (
    "cnn_core/errors",
    "cnn_core/plain_text",
    "cnn_core/axes",
    "cnn_core/data/checks",
    "cnn_core/data/npy",
    "cnn_core/data/npz",
    "cnn_core/data/idx",
    "cnn_core/data/resampling_weights",
    "cnn_core/data/figures",
    "cnn_core/data/image_form",
    "cnn_core/data/value_range",
    "cnn_core/data/agreement",
    "pipeline/records/typed_json",
    "pipeline/records/manifest",
    "pipeline/records/manifest_reading",
)
_BEHIND = (
    "pipeline/bundle/bundle_checks",
    "pipeline/bundle/views",
    "pipeline/bundle/predictor",
    "pipeline/bundle/standalone",
)


def standalone_source(used: Collection[str] = ()) -> str:
    """Return predict.py: the predictor's modules and the layers' operations, joined in order of
    dependency, without module docstrings and the imports of each other. Of the operations of
    plug-ins it holds those that are `used`.
    """
    parts = [_source(name) for name in _BEFORE]
    parts += [_operations_source(used), *(_source(name) for name in _BEHIND)]
    return _HEAD + "\n\n\n".join(parts) + "\n"


def _source(name: str) -> str:
    text = (Path(__file__).parents[2] / f"{name}.py").read_text(encoding="utf-8")
    ours = r"^from (?:pipeline|cnn_core)\.[^\n]*?import (\([^)]*\)|[^\n]*)\n"
    text = re.sub(ours, "", text, flags=re.MULTILINE)
    return re.sub(r'\A""".*?"""\n', "", text, flags=re.DOTALL).strip("\n")


def _operations_source(used: Collection[str]) -> str:
    """Return the source of the layers' `extent` and `infer`, each in a class named as its layer,
    and a table.
    """
    functions: dict[str, str] = {}
    classes: dict[str, str] = {}
    others = own_operations(OPERATIONS).keys() - set(used)
    known = {op: layer for op, layer in OPERATIONS.items() if op not in others}
    for layer in known.values():
        texts = [_source_of(function, functions) for function in (layer.extent, layer.infer)]
        classes.setdefault(_owner(layer), f"class {_owner(layer)}:\n" + "\n\n".join(texts))
    rows = [f'    "{op}": {_owner(layer)},\n' for op, layer in known.items()]
    types = (
        "from collections.abc import Mapping, Sequence\nfrom math import prod\n"
        "from typing import Any\n\nimport numpy as np\nfrom numpy.typing import NDArray\n\n"
        "Array = NDArray[np.float32]\n"
        "Operation, Arrays = Mapping[str, Any], Mapping[str, Array]"
    )
    parts = [types, *functions.values(), *classes.values()]
    return "\n\n\n".join([*parts, f"OPERATIONS = {{\n{''.join(rows)}}}"])


def _source_of(function: Callable[..., Any], functions: dict[str, str]) -> str:
    """Return a function's source, after adding to `functions` that of the cnn_core functions that
    it uses.
    """
    text = inspect.getsource(function)
    for node in ast.walk(ast.parse(textwrap.dedent(text))):
        used = function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        if not inspect.isfunction(used) or used.__qualname__ in functions:
            continue
        if used.__module__.startswith(("cnn_core.", function.__module__)):
            functions[used.__qualname__] = _source_of(used, functions)
    return text.rstrip()


def _owner(layer: type[Layer]) -> str:
    """Return the name of the class that computes a layer's operation."""
    return layer.infer.__qualname__.rpartition(".")[0]
