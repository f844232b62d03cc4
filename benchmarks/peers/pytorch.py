"""The same nets in PyTorch (extra `bench`), in its two memory layouts, with its fused Adam, the
fastest it has.
"""

import torch
from torch import nn

from benchmarks.peers.batches import EVALUATED, batches_in_order, initial_model, load_images
from cnn_core.layers import (
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPooling,
    ReLU,
)
from cnn_core.model import Sequential


def translate(model: Sequential) -> nn.Sequential:
    """Return the PyTorch form of a net, with its weights."""
    translated = nn.Sequential(*(_translate(layer) for layer in model.layers))
    with torch.no_grad():
        for ours, theirs in zip(model.layers, translated, strict=True):
            for mine, name in (
                ("W", "weight"),
                ("b", "bias"),
                ("gamma", "weight"),
                ("beta", "bias"),
            ):
                if mine in ours.params:
                    getattr(theirs, name).copy_(torch.from_numpy(ours.params[mine]))
    return translated


def _translate(layer: Layer) -> nn.Module:
    match layer:
        case Convolution():
            pads = layer.window.padding
            return nn.Conv2d(
                layer.in_shape[0],
                layer.filters,
                layer.kernel,
                layer.stride,
                (pads[0], pads[2]),
                bias=layer.bias,
            )
        case BatchNormalization():
            return nn.BatchNorm2d(layer.in_shape[0], eps=layer.eps, momentum=1 - layer.momentum)
        case MaxPooling():
            return nn.MaxPool2d(layer.size)
        case Dense():
            return nn.Linear(layer.in_shape[0], layer.units)
        case Dropout():
            return nn.Dropout(layer.rate)
        case Flatten():
            return nn.Flatten()
        case ReLU():
            return nn.ReLU()
    raise ValueError(f"benchmark: no PyTorch form of the layer {layer.kind}")


class PyTorch:
    def __init__(self, net: str, channels_last: bool, threads: int, dropout: bool = True) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        images, labels = load_images()
        self.images, self.labels = torch.from_numpy(images.copy()), torch.from_numpy(labels.copy())
        self.batches = [torch.from_numpy(batch) for batch in batches_in_order()]
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model = translate(initial_model(net, dropout)).to(memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.001, fused=True)

    def step(self, index: int) -> None:
        batch = self.batches[index % len(self.batches)]
        x = self.images[batch].float().mul_(1 / 255).contiguous(memory_format=self.layout)
        loss = nn.functional.cross_entropy(self.model(x), self.labels[batch])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        loss.item()

    def loss(self) -> float:
        self.model.eval()
        with torch.inference_mode():
            x = self.images[EVALUATED].float().mul_(1 / 255).contiguous(memory_format=self.layout)
            loss = float(nn.functional.cross_entropy(self.model(x), self.labels[EVALUATED]))
        self.model.train()
        return loss
