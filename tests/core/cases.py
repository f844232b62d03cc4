"""One case a layer for the laws of layers: how to make it, and an image shape that it takes."""

from cnn_core.laws.layer_laws import Case
from cnn_core.layers import (
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    LeakyReLU,
    LpPooling,
    MaxPooling,
    MomentNormalization,
    ReLU,
    Scaling,
    Sigmoid,
    Tanh,
    Whitening,
)

CASES: dict[str, Case] = {
    "convolution": Case(lambda: Convolution(4, 3), (2, 7, 6), (4, 5, 4)),
    "convolution same": Case(lambda: Convolution(3, 5, padding="same"), (2, 7, 6), (3, 7, 6)),
    "convolution strided": Case(
        lambda: Convolution(3, (3, 2), stride=(2, 3), padding=(1, 2), bias=False),
        (2, 7, 6),
        (3, 4, 3),
    ),
    "max_pooling": Case(lambda: MaxPooling(2), (3, 7, 6), (3, 3, 3)),
    "max_pooling overlapping": Case(
        lambda: MaxPooling(3, stride=2, padding=1), (3, 7, 6), (3, 4, 3)
    ),
    "average_pooling": Case(
        lambda: AveragePooling((2, 3), stride=1, padding=1), (3, 5, 6), (3, 6, 6)
    ),
    "lp_pooling": Case(lambda: LpPooling(2, p=3.0), (3, 6, 6), (3, 3, 3)),
    "global_average_pooling": Case(GlobalAveragePooling, (3, 4, 5), (3,)),
    "dense": Case(lambda: Dense(5), (7,), (5,)),
    "flatten": Case(Flatten, (2, 3, 4), (24,)),
    "dropout": Case(lambda: Dropout(0.4), (2, 3, 4), (2, 3, 4), per_image=False),
    "batch_norm": Case(BatchNormalization, (3, 4, 4), (3, 4, 4), per_image=False),
    "batch_norm features": Case(BatchNormalization, (6,), (6,), per_image=False),
    "moment_normalization similar": Case(
        lambda: MomentNormalization("similar"), (2, 9, 8), (2, 9, 8), ink=True
    ),
    "moment_normalization box": Case(
        lambda: MomentNormalization("box"), (1, 9, 8), (1, 9, 8), ink=True
    ),
    "moment_normalization beside": Case(
        lambda: MomentNormalization("box", beside=True), (2, 9, 8), (4, 9, 8), ink=True
    ),
    "moment_normalization width": Case(
        lambda: MomentNormalization("width"), (2, 8, 9), (2, 8, 9), ink=True
    ),
    "whitening": Case(lambda: Whitening(6, 3, 2), (2, 5, 7), (6, 2, 3)),
    "scaling": Case(lambda: Scaling(2.5), (2, 3, 4), (2, 3, 4)),
    "relu": Case(ReLU, (2, 3, 4), (2, 3, 4)),
    "leaky_relu": Case(lambda: LeakyReLU(0.1), (2, 3, 4), (2, 3, 4)),
    "sigmoid": Case(Sigmoid, (5,), (5,)),
    "tanh": Case(Tanh, (2, 3, 4), (2, 3, 4)),
}
