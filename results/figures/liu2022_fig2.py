"""Liu et al. 2022, figure 2: two-dimensional embeddings and the answer of the decoder everywhere around them.

The decoder takes (E_i + E_j) / 2 there, so its answer to i + j stands at the middle of the two symbols. Colours are
answers. A panel for each task and train size, the first seed of each; what the runs learnt is in the titles. The
decoder is computed here from the final weights, which the spec has to keep.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.errors import StoreError
from results.figures.curves import Floats, cells
from results.figures.sheet import about, labels_of, sheet
from results.sweep import Sweep

GRID = 220
MARGIN = 0.18
WORDS = {"toy_addition": "addition", "modular": "modular addition"}


def draw(sweep: Sweep, title: str) -> Figure:
    """Raises ValueError for a sweep without the final weights of a toy with 2-D embeddings."""
    names = ["task_kind", "train_size"]
    labels = labels_of(sweep, cell=names)
    parts = cells(labels, names)
    names = [
        f"{WORDS.get(cell['task_kind'], cell['task_kind'])}, {cell['train_size']} pairs:\n"
        f"{part.iloc[0]['phase']}, validation {part.sort_values('seed')['final_val_accuracy'].iloc[0]:.0%}"
        for cell, part in parts
    ]
    figure, panels = sheet(
        title=title,
        subtitle=about(sweep, labels, "shown: the first seed"),
        panels=names,
        columns=min(4, len(parts)),
        size=(2.2, 2.2),
        title_lines=2,
    )
    for panel, (_, part) in zip(panels, parts, strict=True):
        run_id = part.sort_values("seed")["run_id"].iloc[0]
        try:
            weights = sweep.store.read_weights(run_id)
        except StoreError as error:
            raise ValueError("the figure needs `keep: {weights: final}` in the spec") from error
        if "decoder.0.weight" not in weights or weights["embed.weight"].shape[1] != 2:
            raise ValueError("the figure needs `model: {kind: toy, embedding_dim: 2}`")
        _draw_plane(panel, weights)
    return figure


def _draw_plane(axes: Axes, weights: Mapping[str, Floats]) -> None:
    symbols = np.asarray(weights["embed.weight"], dtype=float)
    low, high = symbols.min(axis=0), symbols.max(axis=0)
    spare = MARGIN * (high - low).max()
    (left, right), (bottom, top) = ((low[i] - spare, high[i] + spare) for i in (0, 1))
    x, y = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    answers = decoded(weights, np.stack([x.ravel(), y.ravel()], axis=1)).argmax(axis=1).reshape(x.shape)
    n_classes = weights[_layers(weights)[-1]].shape[0]
    axes.imshow(
        answers, extent=(left, right, bottom, top), origin="lower", aspect="auto", interpolation="nearest",
        cmap=colormaps["twilight_shifted"].resampled(n_classes), vmin=-0.5, vmax=n_classes - 0.5, alpha=0.75,
    )  # fmt: skip
    axes.plot(*symbols.T, "o", ms=9, mfc="white", mec="none", alpha=0.8)
    for number, point in enumerate(symbols):
        axes.annotate(str(number), point, ha="center", va="center", size=7.5)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])


def decoded(weights: Mapping[str, Floats], points_NK: Floats) -> Floats:
    """(N, C) what the toy's decoder answers to points of the embedding's space: linear layers with tanh between."""
    values = points_NK
    layers = _layers(weights)
    for name in layers:
        values = values @ np.asarray(weights[name], dtype=float).T + weights[name.replace("weight", "bias")]
        values = values if name == layers[-1] else np.tanh(values)
    return values


def _layers(weights: Mapping[str, Floats]) -> list[str]:
    return sorted(
        (name for name in weights if name.startswith("decoder.") and name.endswith(".weight")),
        key=lambda name: int(name.split(".")[1]),
    )
