"""The base of all optimizers: hyperparameters in a dataclass, two methods in each subclass, and
here the walk over the parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cnn_core.axes import Array
from cnn_core.field_checks import check_settings, setting

# Elements updated at once: a block's parameter, gradient, two states and work array stay in a 1 MB
# L2 cache, and nearly so at twice the size; smaller blocks lose more to call overhead than they
# gain (docs/LOG.md, Speed: whole steps).
BLOCK = 32768

State = dict[str, Array]


def is_weight(name: str) -> bool:
    """Tell whether a parameter such as ``conv1.W`` is a weight: penalties and decay spare biases,
    gamma and beta.
    """
    return name.rpartition(".")[2] == "W"


def paired(
    params: Mapping[str, Array], grads: Mapping[str, Array]
) -> dict[str, tuple[Array, Array]]:
    """Return parameters with their gradients, contiguous and of one shape; raise ValueError where
    names or shapes differ.
    """
    if params.keys() != grads.keys():
        raise ValueError(
            f"optimizer: parameters {list(params)} and gradients {list(grads)} must have the "
            "same names"
        )
    for name, p in params.items():
        g = grads[name]
        if p.shape != g.shape or not (p.flags.c_contiguous and g.flags.c_contiguous):
            raise ValueError(
                f"optimizer: {name} {p.shape} and its gradient {g.shape} must be contiguous and of "
                "one shape"
            )
    return {name: (p, grads[name]) for name, p in params.items()}


def learning_rate(default: float) -> Any:
    """Return the field `lr`, whose default depends on the optimizer."""
    return setting(default, "learning rate", above=0)


@dataclass(frozen=True)
class _Block:
    """A run of at most BLOCK elements of one parameter, with the same run of its gradient and
    states.
    """

    p: Array
    g: Array
    state: State
    work: tuple[Array, Array]
    decays: bool


@dataclass(kw_only=True)
class Optimizer:
    """Walks over parameters, counts steps, applies the learning-rate factor; a subclass defines how
    one array moves.

    A subclass is a dataclass whose hyperparameters are fields made by `setting`. It writes
    `init_one`, which returns the state of one parameter, and `update_one`, which moves it in place.
    Steady training allocates nothing: `work` are two arrays of the block's shape to use freely.
    `step` raises ValueError when parameters and gradients have different names or shapes.
    """

    lr: float = learning_rate(0.01)
    _steps: int = field(default=0, init=False, repr=False)
    _states: dict[str, State] = field(default_factory=dict, init=False, repr=False)
    _bound: list[tuple[Array, Array]] = field(default_factory=list, init=False, repr=False)
    _blocks: list[_Block] = field(default_factory=list, init=False, repr=False)

    weight_decay = 0.0  # decoupled, of weights only; AdamW makes it a field

    def __post_init__(self) -> None:
        check_settings("optimizer", self)

    def init_one(self, p: Array) -> State:
        """Return the state of one parameter: arrays of its shape and dtype by name."""
        return {}

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        """Move p in place, given its gradient, for step t (counted from 1)."""
        raise NotImplementedError(f"{type(self).__name__}.update_one")

    def step(
        self, params: Mapping[str, Array], grads: Mapping[str, Array], factor: float = 1.0
    ) -> None:
        """Take one step of learning rate ``lr * factor`` (the schedule's factor), in place."""
        arrays = [*paired(params, grads).values()]
        if len(arrays) != len(self._bound) or any(
            p is not q or g is not h for (p, g), (q, h) in zip(arrays, self._bound, strict=True)
        ):
            self._bind(params, grads)
            self._bound = arrays
        self._steps += 1
        lr = self.lr * factor
        for block in self._blocks:
            if block.decays:
                np.multiply(block.p, 1.0 - lr * self.weight_decay, out=block.p)
            self.update_one(block.p, block.g, block.state, lr, self._steps, block.work)

    def _bind(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> None:
        """Cut every parameter into blocks; states that exist are kept."""
        self._blocks = []
        work: tuple[Array, Array] | None = None
        for name, p in params.items():
            if name not in self._states:
                self._states[name] = self.init_one(p)
            if work is None or work[0].dtype != p.dtype:
                work = (np.empty(BLOCK, p.dtype), np.empty(BLOCK, p.dtype))
            flat, flat_g, states = (
                p.reshape(-1),
                grads[name].reshape(-1),
                {k: s.reshape(-1) for k, s in self._states[name].items()},
            )
            for start in range(0, p.size, BLOCK):
                run = slice(start, min(start + BLOCK, p.size))
                size = run.stop - start
                views = {key: s[run] for key, s in states.items()}
                decays = self.weight_decay > 0 and is_weight(name)
                self._blocks.append(
                    _Block(flat[run], flat_g[run], views, (work[0][:size], work[1][:size]), decays)
                )

    def state(self) -> dict[str, Array]:
        """Return copies of all that a later `load_state` needs: ``step`` and
        ``<parameter>:<state>``; bit for bit.
        """
        arrays = {
            f"{name}:{key}": s.copy()
            for name, states in self._states.items()
            for key, s in states.items()
        }
        return {"step": np.array(self._steps, np.float64), **arrays}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Copy in what `state` returned; raise ValueError where the names do not fit this kind of
        optimizer.
        """
        if "step" not in state:
            raise ValueError(f"optimizer: the state must hold 'step', got {sorted(state)}")
        keys = set(self.init_one(np.zeros(1)))
        fresh: dict[str, State] = {}
        for full, array in state.items():
            if full == "step":
                continue
            name, _, key = full.rpartition(":")
            if key not in keys:
                raise ValueError(
                    f"optimizer {type(self).__name__.lower()}: the state must hold {sorted(keys)} "
                    f"per parameter, got {full!r}"
                )
            fresh.setdefault(name, {})[key] = array
        for name, states in fresh.items():
            if states.keys() != keys:
                raise ValueError(
                    f"optimizer {type(self).__name__.lower()}: {name} must have the states "
                    f"{sorted(keys)}, got {sorted(states)}"
                )
        self._steps = int(state["step"])
        self._take(fresh)

    def _take(self, fresh: dict[str, State]) -> None:
        """Copy into the arrays in use where names and shapes match, so that the blocks stay valid;
        otherwise start afresh.
        """
        same = self._states.keys() == fresh.keys() and all(
            s.shape == fresh[name][key].shape and s.dtype == fresh[name][key].dtype
            for name, states in self._states.items()
            for key, s in states.items()
        )
        if same:
            for name, states in self._states.items():
                for key, s in states.items():
                    s[...] = fresh[name][key]
        else:
            self._states = {
                name: {key: s.copy() for key, s in states.items()} for name, states in fresh.items()
            }
            self._bound = []
