"""The net for any small image: its number of stages follows from the image's side, so that 8x8 and
128x128, grey or colour, end in a map of about 4x4 to 8x8.
"""

from cnn_core.axes import Shape
from cnn_core.kernels.window import Pair
from cnn_core.layer_groups import convolution, head, pooling
from cnn_core.layers import GlobalAveragePooling, Layer
from cnn_core.spec import ModelSpec

FULL_SIDE = 48  # a larger image is halved by the first convolution: its cost would be four-fold
LAST_SIDE = 8  # an axis longer than that is pooled again
WIDEST = 8  # of the last stages, in multiples of the first stage's filters


def stem_stride(size: Pair) -> Pair:
    """Return the first convolution's stride along both axes: 2 beyond FULL_SIDE, 4 beyond twice
    that.
    """
    rows, columns = (1 if side <= FULL_SIDE else 2 if side <= 2 * FULL_SIDE else 4 for side in size)
    return rows, columns


def pools_of(size: Pair) -> list[Pair]:
    """Return the pooling window of each stage but the last, for maps of `size` after the stem: an
    axis is halved while it is longer than LAST_SIDE, and once where it is as long.
    """
    windows: list[Pair] = []
    rows, columns = size
    while True:
        longest = LAST_SIDE if windows else LAST_SIDE - 1
        window = (2 if rows > longest else 1, 2 if columns > longest else 1)
        if window == (1, 1):
            return windows
        windows.append(window)
        rows, columns = rows // window[0], columns // window[1]


def pyramid(spec: ModelSpec, classes: int, image_shape: Shape) -> list[Layer]:
    """Stages of `depth` convolutions, same padding, batch normalisation and ReLU, with pooling 2
    between them, each twice as wide as the one before; global average, dropout, dense.

    28x28 and 32x32 have three stages, 8x8 to 16x16 two, 48x48 four; 64x64 and larger images are
    halved or quartered by the first convolution (stride 2 or 4). Source: Simonyan and Zisserman
    (2015), the stages; Lin, Chen, Yan (2014), the global average.
    """
    stride = stem_stride((image_shape[1], image_shape[2]))
    size = (-(-image_shape[1] // stride[0]), -(-image_shape[2] // stride[1]))
    # A strided kernel sees every pixel, and its neighbours' as well.
    stem = spec.kernel if stride == (1, 1) else 2 * max(stride) - 1
    layers: list[Layer] = []
    for stage, window in enumerate((*pools_of(size), (1, 1))):
        width = spec.filters * min(2**stage, WIDEST)
        for k in range(spec.depth):
            first = stage == 0 and k == 0
            layers += convolution(
                spec, width, stem if first else spec.kernel, "same", stride if first else 1
            )
        if window != (1, 1):
            layers.append(pooling(spec, window))
    return [*layers, GlobalAveragePooling(), *head(spec, classes)[1:]]
