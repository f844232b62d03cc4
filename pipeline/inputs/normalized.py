"""Images of the model's size, centred and scaled as MNIST was all the same (`normalize=mnist`)."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pipeline.inputs.normalize import as_mnist
from pipeline.inputs.source import Block, Source, Wanted


class NormalizedSource:
    """Another source, each plane of each image passed through `as_mnist`."""

    def __init__(self, source: Source, wanted: Wanted) -> None:
        self.source, self.size = source, wanted.image_shape[1:]
        self.count = source.count

    def blocks(self, size: int) -> Iterator[Block]:
        for block in self.source.blocks(size):
            planes = [[as_mnist(plane, self.size) for plane in image] for image in block.images]
            yield replace(block, images=np.array(planes, np.uint8))
