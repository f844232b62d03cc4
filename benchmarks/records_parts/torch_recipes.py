"""Published recipes for PyTorch (extra `bench`), written anew from their facts, with the fastest
form of each part that PyTorch has. Each takes images as `scaled` gives them and returns the net.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnn_core.axes import Images

Recipe = Callable[[Tensor, Tensor], nn.Module]


def scaled(images: Images, layout: torch.memory_format) -> Tensor:
    """Return images (N, C, H, W) uint8 as float32 of mean 0 and deviation 1, as those of MNIST
    have them.
    """
    x = torch.from_numpy(images.copy()).float().div_(255).sub_(0.1307).div_(0.3081)
    return x.contiguous(memory_format=layout)


def mnist_one_epoch(x: Tensor, labels: Tensor) -> nn.Module:
    """One epoch over MNIST: conv 5x5, 24 - pool 2 - conv 3x3, 32 - pool 2 - dense 256 - dense,
    batches of 256 in the file's order, Adam with betas 0.7 and 0.9, one cycle up to a rate of 0.01
    in PyTorch's own shape. Source: a public study of 2021 of training to 99 % in 0.76 seconds of a
    graphics card: 99.04 +- 0.07 % of the test images.
    """
    layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None
    net = nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
    ).to(memory_format=layout or torch.contiguous_format)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.7, 0.9), fused=True)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.01, total_steps=-(-len(x) // 256), cycle_momentum=False
    )
    for at in range(0, len(x), 256):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(net(x[at : at + 256]), labels[at : at + 256]).backward()
        optimizer.step()
        cycle.step()
    return net


RECIPES: dict[str, Recipe] = {"mnist_one_epoch": mnist_one_epoch}


def accuracy(net: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Return a net's accuracy on scaled images."""
    net.eval()
    with torch.inference_mode():
        parts = zip(x.split(1000), labels.split(1000), strict=True)
        right = sum(int((net(part).argmax(1) == wanted).sum()) for part, wanted in parts)
    return right / len(x)
