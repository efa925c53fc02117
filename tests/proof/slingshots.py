"""Slingshots: late training in cycles of norm growth and instability.

A network memorizes what its capacity allows, m -> M = (1 + (N/K)^6)^(-1/6), while gradients of examples that are
still wrong let features z leave a saddle (Saxe et al.); both stop where everything is fitted. The last layer's norm
W then goes on growing along the weights (naive loss minimization: Prieto et al. 2025) until it reaches the edge of
stability (Cohen et al. 2021), where a kick shakes all weights (a slingshot: Thilak et al. 2022): accuracies dip, W
falls, the feature norm F grows, the edge moves up, and z jumps by a random step with a bias, towards z* or away
(less so the more data hold it). The reach z* of the generalizing solution rises with N over a critical size. Decay
of weights, if any, bounds W (too much: no kicks) and pulls features slowly to z* (Liu et al. 2022). With collapse
of the softmax (Prieto et al.) W stops growing at a level of the arithmetic: below the edge, cycles end there and z
stays. Validation is a Hill function G of z; training is right by memory or by features: 1 - (1 - m)(1 - G).
"""

from collections.abc import Iterator
from math import exp, log

import numpy as np
from parent import Curves, Parent, dense_steps, is_together, log_uniform, sizes

POINTS = 1000
HORIZON = 10


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield one(draw)


def one(draw: np.random.Generator) -> Parent:
    budget = int(log_uniform(draw, 5e3, 1e5))
    chance = float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5]))
    size = sizes(draw)
    n_train = size["n_train"]
    capacity = log_uniform(draw, 100, 20_000)
    most = (1 + (n_train / capacity) ** 6) ** (-1 / 6)
    states = cycles(draw, n_train, most, HORIZON * budget)
    half, steep = draw.uniform(0.3, 0.8), draw.uniform(2, 6)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        memory, z, norm, dip = (np.interp(steps, states[:, 0], states[:, i]) for i in range(1, 5))
        right = generalizes(z, half, steep)
        train, val = (1 - (1 - memory) * (1 - right)) * (1 - dip), right * (1 - dip)
        return chance + (1 - chance) * train, chance + (1 - chance) * val, norm

    return Parent(
        family="slingshots", curves=curves, budget=budget, chance=chance, **size,
        together=together(curves, states, budget, chance, n_train, most),
    )  # fmt: skip


def together(curves: Curves, states: np.ndarray, budget: int, chance: float, n_train: int, most: float) -> bool:
    steps = dense_steps(HORIZON * budget)
    memorized = np.interp(steps, states[:, 0], states[:, 1])
    return is_together(steps, memorized, *curves(steps), chance=chance, n_train=n_train, memory_alone=most)


def generalizes(z: np.ndarray, half: float, steep: float) -> np.ndarray:
    return z**steep * (1 + half**steep) / (z**steep + half**steep)


def cycles(draw: np.random.Generator, n_train: int, most: float, end: float) -> np.ndarray:
    """Rows of step, memory, features, norm, depth of the dip."""
    tau = log_uniform(draw, 20, 2000) * (n_train / 1000) ** 0.5  # of memory
    rate = log_uniform(draw, 3e-5, 3e-2)  # of features, by what is wrong
    hold = n_train / log_uniform(draw, 50, 3000)  # data over what generalizing takes
    reach = hold ** (p := draw.uniform(1.5, 4)) / (1 + hold**p)
    z = log_uniform(draw, 0.003, 0.1) * reach
    period = log_uniform(draw, 200, 10_000)  # steps in which the norm grows by the first edge
    weight, feature = draw.uniform(0.1, 0.6), draw.uniform(0.5, 2)
    falls, rises = draw.uniform(0.1, 0.6), draw.uniform(0, 0.3)  # of the last layer's and the feature norm at a kick
    edge, moves = 1.0, log_uniform(draw, 0.003, 0.3)
    size, growth, bias = log_uniform(draw, 0.1, 2), draw.uniform(-0.5, 0.5), draw.normal(0.0, 1.5)
    firm = draw.uniform(0, 0.6)  # how well data hold features against kicks
    lasts = min(log_uniform(draw, 0.01, 0.1) * falls * period, 200)
    shock = draw.uniform(0.05, 0.5)  # depth of dips, by size of kicks
    decay = log_uniform(draw, 1e-6, 1e-3) if draw.random() < 0.5 else 0.0
    slow = decay * log_uniform(draw, 0.1, 3)  # of features, by decay
    frozen = log_uniform(draw, 0.4, 6) if draw.random() < 0.4 else np.inf  # norm at which the softmax collapses
    half, steep = 0.5, 3  # of what features let gradients see

    grid = np.concatenate([[0.0], np.geomspace(1, end, POINTS)])
    rows, t, i, k, memory = [], 0.0, 1, 0, 0.0
    while True:
        rows.append((t, memory, z, (weight**2 + feature**2) ** 0.5, 0.0))
        if t >= end:
            return with_dips(np.array(rows), lasts)
        while grid[i] <= t:
            i += 1
        step = float(grid[i]) - t
        speed = memory / most / period if weight < frozen else 0.0
        limit = speed / decay if decay else np.inf  # what the norm would come to
        if limit > edge:
            until = log((limit - weight) / (limit - edge)) / decay if decay else (edge - weight) / max(speed, 1e-30)
            kicked = until <= step and edge < frozen
            step = max(until, 1e-3) if kicked else step
        else:
            kicked = False
        seen = z**steep * (1 + half**steep) / (z**steep + half**steep)
        wrong = (1 - memory) * (1 - seen)
        memory = most + (memory - most) * exp(-step * (1 - seen) / tau)
        z = reach / (1 + (reach / z - 1) * exp(-(rate * wrong + slow) * step))
        lost = exp(-decay * step)
        gained = speed * ((1 - lost) / decay if decay else step)
        weight = min(weight * lost + gained, max(frozen, weight * lost))
        t += step
        if kicked:
            k += 1
            blow = size * k**growth * (bias + draw.normal())
            rows.append((t, memory, z, (weight**2 + feature**2) ** 0.5, 1 - exp(-shock * abs(blow))))
            away = max(z * exp(blow / (1 + hold) ** firm), 1e-4 * reach) if blow < 0 else z
            z = z + (reach - z) * (1 - exp(-blow)) if blow > 0 else away
            weight, feature = weight * (1 - falls), (feature**2 + (rises * min(abs(blow), 1)) ** 2) ** 0.5
            edge += moves
            t += lasts


def with_dips(rows: np.ndarray, lasts: float) -> np.ndarray:
    """Dips start with a kick, are deepest when it ends, and heal as fast."""
    at = np.flatnonzero(rows[:, 4] > 0)
    start, depth = rows[at, 0], rows[at, 4]
    share = np.array([-1e-6, 1, 2, 3, 4, 6])
    form = np.array([0, 1, 0.4, 0.15, 0.05, 0])
    knots = (start[:, None] + lasts * share).ravel()
    steps = np.unique(np.concatenate([rows[:, 0], knots[knots > 0]]))
    held = (np.interp(steps, rows[:, 0], rows[:, j]) for j in (1, 2, 3))
    out = np.stack([steps, *held, np.zeros(len(steps))], axis=1)
    if len(at):
        order = np.argsort(knots, kind="stable")
        out[:, 4] = np.interp(steps, knots[order], np.outer(depth, form).ravel()[order])
    return out
