"""One layer a file; LAYERS names them all, OPERATIONS what they do at inference."""

from cnn_core.layers.activation import Activation, LeakyReLU, ReLU, Sigmoid, Tanh
from cnn_core.layers.convolution import Convolution
from cnn_core.layers.dense import Dense, Flatten
from cnn_core.layers.dropout import Dropout
from cnn_core.layers.layer import Layer
from cnn_core.layers.moment_normalization import MomentNormalization
from cnn_core.layers.normalization import BatchNormalization
from cnn_core.layers.pooling import AveragePooling, GlobalAveragePooling, LpPooling, MaxPooling
from cnn_core.layers.scaling import Scaling
from cnn_core.layers.whitening import Whitening

LAYERS: dict[str, type[Layer]] = {
    layer.kind: layer
    for layer in (
        Convolution,
        MaxPooling,
        AveragePooling,
        LpPooling,
        GlobalAveragePooling,
        Dense,
        Flatten,
        Dropout,
        BatchNormalization,
        MomentNormalization,
        Scaling,
        Whitening,
        ReLU,
        LeakyReLU,
        Sigmoid,
        Tanh,
    )
}

# What a bundle lists -> a layer that computes it. Layers may share an operation, as pooling does.
OPERATIONS: dict[str, type[Layer]] = {
    layer.operation or layer.kind: layer
    for layer in LAYERS.values()
    if layer.infer is not Layer.infer
}

__all__ = [
    "LAYERS",
    "OPERATIONS",
    "Activation",
    "AveragePooling",
    "BatchNormalization",
    "Convolution",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "Layer",
    "LeakyReLU",
    "LpPooling",
    "MaxPooling",
    "MomentNormalization",
    "ReLU",
    "Scaling",
    "Sigmoid",
    "Tanh",
    "Whitening",
]
