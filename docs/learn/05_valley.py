"""5. Optimizers in a valley: forty steps of each from the same point."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from cnn_core.optimizers import make_optimizer

HERE = Path(__file__).parent
plt.style.use(HERE / "learn.mplstyle")
STEEP = np.array([0.05, 1.0])  # f(w) = 0.05 w1^2 + w2^2: twenty times as steep across as along

a, b = np.meshgrid(np.linspace(-8, 8, 81), np.linspace(-3, 3, 61))
height = STEEP[0] * a**2 + STEEP[1] * b**2
_, grid = plt.subplots(2, 2, sharex=True, sharey=True, figsize=(7, 4.2))
rules = {"sgd": 0.9, "momentum": 0.1, "adagrad": 1.5, "adam": 0.3}
for axes, (name, lr) in zip(grid.flat, rules.items(), strict=True):
    w = np.array([-7.0, 2.0])
    optimizer, path = make_optimizer({"name": name, "lr": lr}), [w.copy()]
    for _ in range(40):
        optimizer.step({"w": w}, {"w": 2 * STEEP * w})
        path.append(w.copy())
    value = STEEP @ w**2
    print(f"{name}, lr {lr}: f = {value:.6f} after 40 steps")
    axes.contour(a, b, height, [0.1, 0.5, 1, 2, 4, 8], colors="0.8", linewidths=1)
    axes.plot(*np.transpose(path), ".-", linewidth=1.2)
    axes.plot(0, 0, "k+", markersize=12)
    axes.set_title(f"{name}, lr {lr}: f = {value:.4f}")
grid[1, 0].set(xticks=range(-8, 9, 4), xlabel="w1: along the valley", ylabel="w2: across")
plt.savefig(HERE / "05_valley.png")
