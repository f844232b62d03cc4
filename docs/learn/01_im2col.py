"""1. im2col drawn: a convolution as one matrix product."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.kernels.window import col2im, im2col

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
print("ten images (3, 7, 7), 5x5 windows:", im2col(np.ones((10, 3, 7, 7)), 5).shape)

image = np.arange(16.0).reshape(1, 1, 4, 4)
columns = im2col(image, 3)
kernel = np.full((9, 1), 1 / 9)  # 3x3 weights as one column: the mean of the window
y = np.round(columns @ kernel, 6)
print("windows times kernel:", y[:, 0].tolist())
counts = col2im(np.ones((4, 9)), image.shape, 3)[0, 0]
print("windows over each pixel:", *map(str, counts.astype(int).tolist()))

_, row = plt.subplots(1, 4, figsize=(7, 2.1), width_ratios=[4, 9, 1, 4])
titles = "pixels, 3x3 windows", "im2col: a window a row", "y", "windows a pixel"
for axes, title, values in zip(row, titles, (image[0, 0], columns, y, counts), strict=True):
    axes.set_title(title)
    axes.set_axis_off()
    axes.imshow(values, vmin=0, vmax=40 if axes is not row[3] else 8)
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, f"{value:.0f}", ha="center", va="center")
sizes = (2.7, 2.7), (8.88, 0.84), (0.88, 0.84)
hues = plt.rcParams["axes.prop_cycle"].by_key()["color"]
for window, hue in enumerate(hues[:4]):
    i, j = divmod(window, 2)
    inset = 0.06 * window - 0.44  # so that no frame hides another
    places = (j + inset, i + inset), (-0.44, window - 0.42), (-0.44, window - 0.42)
    for axes, place, sides in zip(row[:3], places, sizes, strict=True):
        axes.add_patch(plt.Rectangle(place, *sides, fill=False, edgecolor=hue, linewidth=3))
plt.savefig(HERE / "01_im2col.png")
