"""train_epoch is a pure function of spec and state, in any process and whatever ran there before; a
worker stays small.
"""

import copy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnn_core
from cnn_core import training_net
from cnn_core.data.prepared import open_prepared
from cnn_core.data.splits import split_of
from cnn_core.spec import ModelSpec, Spec
from cnn_core.train_spec import TrainSpec
from cnn_core.training import TrainState, train_epoch

Make = Callable[..., Spec]


def arrays_of(state: TrainState) -> dict[str, Any]:
    parts = {"params": state.params, "buffers": state.buffers, "optimizer": state.optimizer}
    for name in ("average", "best"):
        weights = getattr(state, name)
        parts |= (
            {}
            if weights is None
            else {f"{name} params": weights.params, f"{name} buffers": weights.buffers}
        )
    return {
        f"{part}/{key}": array for part, arrays in parts.items() for key, array in arrays.items()
    }


def assert_same_bits(one: TrainState, two: TrainState) -> None:
    first, second = arrays_of(one), arrays_of(two)
    assert first.keys() == second.keys()
    for key, array in first.items():
        assert array.dtype == second[key].dtype and array.tobytes() == second[key].tobytes(), key
    assert (one.epoch, one.step) == (two.epoch, two.step)
    assert repr(one.history) == repr(two.history)


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "average": {"train": TrainSpec(epochs=3, batch_size=30, select="average", average_decay=0.9)},
    "best": {
        "train": TrainSpec(
            epochs=3, batch_size=30, select="best", sampling="replacement", steps_per_epoch=4
        )
    },
    "augmented": {"augment": {"shift": 0.1, "rotate": 15, "noise": 0.1}},
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_epoch_is_a_pure_function(tiny_spec: Make, setting: str) -> None:
    spec = tiny_spec(**SETTINGS[setting])
    first, _ = train_epoch(spec, None)
    frozen = copy.deepcopy(first)
    second, metrics = train_epoch(spec, first)
    assert_same_bits(first, frozen)
    # Another net and another seed in between; then a process that kept nothing.
    train_epoch(tiny_spec(model=ModelSpec(name="mlp", hidden=(5,))), None)
    train_epoch(replace(spec, seed=(99,)), None)
    again, metrics_again = train_epoch(spec, first)
    assert_same_bits(again, second)
    training_net._kept.nets.clear()
    split_of.cache_clear()
    open_prepared.cache_clear()
    anew, _ = train_epoch(spec, frozen)
    assert_same_bits(anew, second)
    assert {k: v for k, v in metrics.items() if k != "epoch_s"} == {
        k: v for k, v in metrics_again.items() if k != "epoch_s"
    }


def test_two_states_of_one_net_do_not_share_arrays(tiny_spec: Make) -> None:
    spec = tiny_spec(train=TrainSpec(epochs=2, batch_size=50, select="average"))
    first, _ = train_epoch(spec, None)
    second, _ = train_epoch(spec, first)
    held = list(arrays_of(second).values())
    live = list(training_net.net_of(spec.model, (1, 8, 8), 10).plain.params.values())
    assert not any(
        np.shares_memory(a, b) for a in held for b in [*arrays_of(first).values(), *live]
    )


def test_the_seed_decides(tiny_spec: Make) -> None:
    one, two, other = (train_epoch(tiny_spec(seed=seed), None)[0] for seed in ((1,), (1,), (2,)))
    assert_same_bits(one, two)
    assert (one.params["conv1.W"] != other.params["conv1.W"]).any()


def test_another_process_gets_the_same_bits(tiny_spec: Make, tmp_path: Path) -> None:
    spec = tiny_spec(augment={"shift": 0.1})
    code = (
        "import sys, pathlib; import numpy as np; from cnn_core.spec import *; from "
        "cnn_core.training import train_epoch\n"
        f"state, _ = train_epoch({spec!r}, None)\n"
        "np.savez(sys.argv[1], **state.params)"
    )
    root = Path(cnn_core.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there.npz")], check=True, cwd=root)
    here, _ = train_epoch(spec, None)
    with np.load(tmp_path / "there.npz") as there:
        for name, p in here.params.items():
            np.testing.assert_array_equal(there[name], p)


@pytest.mark.slow
def test_an_mnist_worker_stays_small(mnist_folder: Path, tmp_path: Path) -> None:
    code = (
        "\n"
        "from pathlib import Path\n"
        "from cnn_core.data.idx import read_idx_images, read_idx_labels\n"
        "from cnn_core.data.prepared import write_prepared\n"
        f"folder = Path({str(mnist_folder)!r})\n"
        'images = read_idx_images(folder / "train-images-idx3-ubyte.gz")\n'
        'print(write_prepared(Path("mnist"), images, '
        'read_idx_labels(folder / "train-labels-idx1-ubyte.gz", 10), '
        'classes=10, name="mnist"))\n'
    )
    root = Path(cnn_core.__file__).parent.parent
    environment = {"PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    run: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "cwd": tmp_path,
        "check": True,
        "env": environment,
    }
    digest = subprocess.run([sys.executable, "-c", code], **run).stdout.strip()
    code = (
        "\n"
        "import re\n"
        "from pathlib import Path\n"
        "from cnn_core.spec import *\n"
        "from cnn_core.training import train_epoch\n"
        f'data = DataSpec(folder="mnist", digest={digest!r}, image_shape=(1, 28, 28), classes=10)\n'
        'spec = Spec(data=data, model=ModelSpec(dropout=0.4), optimizer={"name": "adam"}, '
        "train=TrainSpec(steps_per_epoch=20))\n"
        "state, metrics = train_epoch(spec, None)\n"
        'status = Path("/proc/self/status").read_text()\n'
        'print(metrics["valid_accuracy"], '
        'int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024)\n'
    )
    learned, megabytes = map(
        float, subprocess.run([sys.executable, "-c", code], **run).stdout.split()
    )
    assert learned > 0.7
    assert megabytes < 250
