"""PyTorch in a process of its own: a line ``{"seed": 3}`` trains one net and is answered by
``{"seconds": ..., "accuracy": ...}``, the accuracy on validation images, null without any.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.records_parts.nets import spec_of_recipe
from benchmarks.records_parts.record import records
from benchmarks.records_parts.torch_recipes import RECIPES, accuracy, scaled
from cnn_core.training_data import data_of

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("record")
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--whole", action="store_true")
    asked = parser.parse_args()
    record, layout = records()[asked.record], LAYOUTS[asked.layout]
    assert record.peer is not None
    torch.set_num_threads(asked.threads)
    overrides = next(iter(record.overrides().values()))
    data = data_of(spec_of_recipe(overrides, asked.root, 1, whole=asked.whole).data)
    x, valid = (scaled(data.prepared.images[chosen], layout) for chosen in (data.train, data.valid))
    labels, wanted = (torch.from_numpy(data.labels[chosen]) for chosen in (data.train, data.valid))
    for line in sys.stdin:
        torch.manual_seed(json.loads(line)["seed"])
        started = time.perf_counter()
        net = RECIPES[record.peer](x, labels)
        seconds = time.perf_counter() - started
        found = accuracy(net, valid, wanted) if len(valid) else None
        print(json.dumps({"seconds": seconds, "accuracy": found}), flush=True)


if __name__ == "__main__":
    main()
