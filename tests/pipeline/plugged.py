"""Plug-ins for tests, and a process as it was before they were loaded."""

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cnn_core import plugins
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import OPERATIONS
from cnn_core.spec import ACTIVATION_WORDS
from pipeline.configuration.named_plugins import ALL_KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "PLUGINS.md"

# Parts that workers need, beside those of the page.
NET_PARTS = '''
from dataclasses import dataclass

import numpy as np

from cnn_core.layers import Activation
from cnn_core.schedules import Schedule


class Softsign(Activation):
    kind = "softsign"
    onnx_operator = "Softsign"

    def apply(self, x, y):
        np.divide(x, 1 + np.abs(x), out=y)

    def differentiate(self, y, dy, dx):
        np.multiply(dy, np.square(1 - np.abs(y)), out=dx)

    @staticmethod
    def infer(x, op, arrays):
        return np.asarray(x / (1 + np.abs(x)), np.float32)


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    def factor(self, step, total_steps, steps_per_epoch):
        return 1 - step / total_steps


def darken(images, strength, rng):
    """largest share of the light that an image loses"""
    images *= 1 - strength * rng.random(images.shape[-1], dtype=np.float32)


LAYERS = {"softsign": Softsign}
SCHEDULES = {"linear": Linear}
AUGMENTATIONS = {"darken": darken}
'''

# Parts that the coordinator alone needs.
STUDY_PARTS = """
from dataclasses import dataclass

import numpy as np
from optuna.pruners import ThresholdPruner
from optuna.samplers import QMCSampler

from cnn_core.field_checks import setting
from pipeline.configuration.data_settings import HeldOutSettings
from pipeline.configuration.pruner_settings import PrunerSettings
from pipeline.configuration.sampler_settings import SamplerSettings
from pipeline.data.source import DataSource, Labelled


@dataclass
class Halton(SamplerSettings):
    scramble: bool = setting(True, "points are scrambled by the seed")

    def sampler(self, space, seed):
        return QMCSampler(qmc_type="halton", scramble=self.scramble, seed=seed)


@dataclass
class Floor(PrunerSettings):
    lowest: float = setting(0.0, "what an epoch must reach", low=0)

    def pruner(self, epochs):
        return ThresholdPruner(lower=self.lowest)


def read(settings, files, part):
    rng = np.random.default_rng(0)
    labels = np.arange(settings.count) % 2
    images = rng.integers(0, 100, (settings.count, 1, 8, 8), dtype=np.uint8)
    images[labels == 1, :, ::2] += 150
    return Labelled(images, labels, 2, ("plain", "striped"))


@dataclass(frozen=True, kw_only=True)
class Stripes(HeldOutSettings):
    count: int = setting(120, "images made", low=20)
    source = DataSource(
        lambda settings, test: (), read, own_test=lambda settings: False, options=("count",)
    )


SAMPLERS = {"halton": Halton}
PRUNERS = {"floor": Floor}
DATA_SOURCES = {"stripes": Stripes}
"""


def example() -> dict[str, str]:
    """Return name -> content of the files of the documentation's example."""
    block = re.compile(r"^```\w+\n# ([\w./]+\.(?:py|yaml))\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return dict(block.findall(PAGE.read_text()))


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@contextlib.contextmanager
def fresh() -> Iterator[None]:
    """Forget in the end what was loaded in this context: a process of a user never does."""
    tables = [OPERATIONS, ACTIVATIONS, plugins._LOADED, *(k.table for k in ALL_KINDS.values())]
    before, words = [dict(table) for table in tables], list(ACTIVATION_WORDS)
    known = [dict(before_) for before_ in before]
    for table in (plugins._LOADED,):
        table.clear()
    try:
        yield
    finally:
        for table, old in zip(tables, known, strict=True):
            table.clear()
            table.update(old)
        ACTIVATION_WORDS[:] = words
        for name in [name for name in sys.modules if name.startswith("cnn_plugin_")]:
            del sys.modules[name]
