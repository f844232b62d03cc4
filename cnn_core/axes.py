"""Array types and the meaning of the axes' letters, defined once.

C: channels, H: height, W: width, N: images in a batch, F: filters (a convolution's output
channels), D: features. Inside the net an array is (C, H, W, N) or (D, N): the batch is innermost,
so that every copy, sum and maximum runs over contiguous floats. Images enter a net and
probabilities leave it with the batch first: (N, C, H, W) uint8, (N, classes) float32.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]  # float32 in training, float64 in gradient checks
Images: TypeAlias = npt.NDArray[np.uint8]  # (N, C, H, W)
Labels: TypeAlias = npt.NDArray[np.int64]  # (N,)
Indices: TypeAlias = npt.NDArray[np.int64]
Shape: TypeAlias = tuple[int, ...]  # of one image inside the net: (C, H, W) or (D,)
