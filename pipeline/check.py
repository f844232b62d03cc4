"""Hold plug-ins to the laws that the project's own layers, nets, optimizers and so on keep to; a
line for each law, with file and line of what breaks it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cnn_core.augmentation import augment_type
from cnn_core.errors import InputError
from cnn_core.laws.augmentation_laws import AUGMENTATION_LAWS
from cnn_core.laws.layer_laws import LAYER_LAWS, Case
from cnn_core.laws.model_laws import MODEL_LAWS
from cnn_core.laws.optimizer_laws import OPTIMIZER_LAWS
from cnn_core.laws.schedule_laws import SCHEDULE_LAWS
from cnn_core.layers import LAYERS
from cnn_core.optimizers import OPTIMIZERS
from cnn_core.plugins import Plugin, raised_in
from cnn_core.schedules import SCHEDULES
from cnn_core.spec import ModelSpec
from pipeline.bundle.bundle_laws import BUNDLE_LAWS
from pipeline.configuration import Command, Config, command_line
from pipeline.configuration.data_settings import DATA
from pipeline.configuration.pruner_settings import PRUNERS
from pipeline.configuration.sampler_settings import SAMPLERS
from pipeline.data.source_laws import SOURCE_LAWS

COMMAND = Command(
    name="check",
    about="Holds plug-ins to the laws that the project's own parts keep to: gradients, shapes, a "
    "batch as one by one, states, streams, bundles.",
    examples=("python -m pipeline.check plugins=[./my_net.py]",),
    sections=(),
)
Law = Callable[[Any], object]
SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 6, 5),
    (7,),
)  # images and features that a layer is tried on
# Of a plug-in: name -> a function that makes what laws are called with, where the defaults do not.
EXAMPLES = "EXAMPLES"


@dataclass(frozen=True)
class Subject:
    """What is held to laws, and where it stands."""

    title: str
    place: str
    make: Callable[[], Any]
    laws: Sequence[Law]


def main(config: Config) -> int:
    """Check every plug-in that `config` names; return 1 where a law is broken."""
    if not config.plugins:
        raise InputError(
            "plugins: must name what is to be checked, as plugins=[./my_net.py], got []"
        )
    held, broken = 0, 0
    for plugin in config.plugins:
        print(f"{plugin.path}, digest {plugin.digest}")
        for subject in subjects(plugin):
            print(f"{subject.title} ({subject.place})")
            for law in subject.laws:
                reason = broken_by(law, subject.make)
                held, broken = held + (not reason), broken + bool(reason)
                print(f"  {'FAILED' if reason else 'passed'}  {_words(law)}{reason}")
    print(f"{held} laws hold, {broken} are broken")
    return 1 if broken else 0


def subjects(plugin: Plugin) -> Iterator[Subject]:
    """Yield all that a plug-in declares, with its laws."""
    for kind, names in plugin.names.items():
        for name in names:
            place = plugin.place(kind, name)
            for title, make in _made(kind, name, getattr(plugin.module, EXAMPLES, {})):
                yield Subject(title, place, make, _laws(kind))


def _laws(kind: str) -> Sequence[Law]:
    if kind in ("SAMPLERS", "PRUNERS"):  # they alone need Optuna
        from pipeline.search.sampler_laws import PRUNER_LAWS, SAMPLER_LAWS

        return SAMPLER_LAWS if kind == "SAMPLERS" else PRUNER_LAWS
    laws: dict[str, Sequence[Law]] = {
        "LAYERS": (*LAYER_LAWS, *BUNDLE_LAWS),
        "MODELS": MODEL_LAWS,
        "OPTIMIZERS": OPTIMIZER_LAWS,
        "SCHEDULES": SCHEDULE_LAWS,
        "AUGMENTATIONS": AUGMENTATION_LAWS,
        "DATA_SOURCES": SOURCE_LAWS,
    }
    return laws[kind]


def _made(kind: str, name: str, examples: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield what the laws of a kind are called with, by a title."""
    one = {
        "MODELS": "net",
        "OPTIMIZERS": "optimizer",
        "SCHEDULES": "schedule",
        "AUGMENTATIONS": "augmentation",
        "DATA_SOURCES": "data source",
        "SAMPLERS": "sampler",
        "PRUNERS": "pruner",
    }
    if kind == "LAYERS":
        make = examples.get(name, LAYERS[name])
        for shape in _taken(make):
            title = f"layer {name} of {'x'.join(map(str, shape))}"
            yield title, partial(_case, make, shape)
        return
    makers: dict[str, Callable[[], Any]] = {
        "MODELS": lambda: ModelSpec(name=name, filters=8),
        "OPTIMIZERS": lambda: OPTIMIZERS[name],
        "SCHEDULES": lambda: SCHEDULES[name],
        "AUGMENTATIONS": lambda: augment_type()(**{name: 1.0}),
        "DATA_SOURCES": lambda: DATA[name](name=name),
        "SAMPLERS": lambda: SAMPLERS[name](name=name),
        "PRUNERS": lambda: PRUNERS[name](name=name),
    }
    yield f"{one[kind]} {name}", examples.get(name, makers[kind])


def _taken(make: Callable[[], Any]) -> list[tuple[int, ...]]:
    """Return the shapes that a layer can be built for; the first where it refuses all, so that the
    laws say why.
    """
    found = []
    for shape in SHAPES:
        try:
            make().build(shape, np.random.default_rng(0))
            found.append(shape)
        except Exception:  # a user's code may raise anything; the laws show it
            continue
    return found or [SHAPES[0]]


def _case(make: Callable[[], Any], shape: tuple[int, ...]) -> Case:
    out_shape = make().build(shape, np.random.default_rng(0))
    return Case(make, shape, out_shape, per_image=False)


def broken_by(law: Law, make: Callable[[], Any]) -> str:
    """Return how a law is broken, with the line of the plug-in where something was raised; nothing
    where it holds.
    """
    try:
        law(make())
    except AssertionError as error:
        return f": {_one_line(str(error))}"
    except Exception as error:  # what a user's code raises is what is asked for
        place = raised_in(error)
        at = f" at {place}" if place else ""
        return f": {type(error).__name__}: {_one_line(str(error))}{at}"
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _words(law: Law) -> str:
    return str(getattr(law, "__name__", law)).replace("_", " ")


if __name__ == "__main__":
    sys.exit(command_line(COMMAND, sys.argv[1:], main))
