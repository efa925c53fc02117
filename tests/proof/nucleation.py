"""Grokking as a first-order phase transition: neurons nucleate from the lazy into the specialized state.

After Rubin, Seroussi and Ringel 2023 ("Grokking as a first order phase transition in two layer networks"): a neuron
is lazy (Gaussian, part of a kernel) or specialized (has learned a feature), and the two states are minima of a free
energy with a barrier between. A neuron crosses at a rate that falls exponentially with the barrier; the barrier sinks
with log(n / n_c) and with the share of neurons that are specialized (nucleation, as in Avrami growth), and n_c rises
with the temperature (noise, regularization). Where it settles is the states' free-energy gap, by detailed balance:
the gap grows with log(n / n_c), gains by cooperation, loses as specialized neurons leave less to explain, and differs
from neuron to neuron (quenched), so that mixed phases last. The gap drifts slowly, up as weight decay makes the
kernel's fit dear and down as the features' weights wear off or noise accumulates, so that specialization may be lost
again (my own reasoning). Lazy neurons memorize at a rate of their own, up to a capacity in examples that shrinks with
their share. The squared norm is an initial excess that decays, the prior's unit, and what memory and specialized
neurons add; features read an example rightly where its normally spread margin is exceeded.
"""

from collections.abc import Iterator

import numpy as np
from parent import Curves, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.special import expit, ndtr, ndtri

BATCH = 250
SPREAD = ndtri((np.arange(8) + 0.5) / 8)
"""Eight groups of neurons, of equal size, by how much the specialized state suits them."""
GRID = np.unique(
    np.concatenate([[0.0], np.geomspace(1e-5, 10, 1400), np.linspace(0, 1, 1000), np.linspace(1, 10, 800)])
)
"""Times in budgets."""


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for start in range(0, n, BATCH):
        runs = [constants(draw) for _ in range(min(BATCH, n - start))]
        paths = integrate({k: np.array([run[k] for run in runs]) for k in runs[0]})
        for i, run in enumerate(runs):
            yield parent(run, paths[:, i])


def constants(draw: np.random.Generator) -> dict[str, float]:
    size = sizes(draw)
    critical = log_uniform(draw, 100, 3000) * log_uniform(draw, 0.5, 2)  # by the task, by the temperature
    return {
        **size,
        "budget": int(log_uniform(draw, 5e3, 1e5)),
        "chance": float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5])),
        "excess": float(np.log(size["n_train"] / critical)),
        "attempts": log_uniform(draw, 1e-3, 0.3),  # a step
        "barrier": draw.uniform(1, 10),
        "barrier_slope": draw.uniform(0.2, 1.5),
        "catalysis": draw.uniform(1, 10),
        "gap": draw.normal(0.5, 1),
        "gap_slope": draw.uniform(1, 4),
        "cooperation": draw.uniform(0, 8),
        "saturation": draw.uniform(0, 8),
        "spread": draw.uniform(0.2, 3),
        "push": draw.exponential(4),
        "push_time": log_uniform(draw, 1e3, 1e5),
        "wear": draw.exponential(10),
        "wear_time": log_uniform(draw, 5e3, 3e5),
        "capacity": log_uniform(draw, 100, 20_000) / size["n_train"],
        "memory_time": log_uniform(draw, 10, 1500),
        "kernel": 0.5 * draw.beta(0.5, 5),  # what the kernel gets right of new examples, for each it holds
        "margin": draw.uniform(0.1, 0.7),
        "margin_width": draw.uniform(0.05, 0.25),
        "ceiling": draw.beta(6, 0.5),
        "norm_start": draw.exponential(2),
        "norm_time": log_uniform(draw, 1e3, 1e6),
        "norm_memory": log_uniform(draw, 0.1, 10),
        "norm_feature": log_uniform(draw, 0.1, 10),
    }


def hold(capacity: np.ndarray | float) -> np.ndarray | float:
    """Share of the training set that a kernel of this capacity (in training sets) comes to hold."""
    return capacity / (1 + capacity**4) ** 0.25


def integrate(c: dict[str, np.ndarray]) -> np.ndarray:
    """Share of specialized neurons and share memorized on the grid: the exact step for rates frozen within it."""
    groups, memory = np.zeros((len(c["gap"]), len(SPREAD))), np.zeros(len(c["gap"]))
    drive = c["gap"] + c["gap_slope"] * c["excess"]
    barrier, tilt = c["barrier"] - c["barrier_slope"] * c["excess"], c["spread"][:, None] * SPREAD
    path = np.zeros((2, len(memory), len(GRID)))
    for k in range(1, len(GRID)):
        s, time, step = groups.mean(1), c["budget"] * GRID[k], c["budget"] * (GRID[k] - GRID[k - 1])
        drift = c["push"] * -np.expm1(-time / c["push_time"]) + c["wear"] * np.expm1(-time / c["wear_time"])
        gap = drive + drift + c["cooperation"] * s - c["saturation"] * s**2
        rate = c["attempts"] * np.exp(-np.logaddexp(0, barrier - c["catalysis"] * s))
        groups += (expit(gap[:, None] + tilt) - groups) * -np.expm1(-rate * step)[:, None]
        memory += (hold(c["capacity"] * (1 - s)) - memory) * -np.expm1(-step / c["memory_time"])
        path[:, :, k] = groups.mean(1), memory
    return path


def parent(c: dict[str, float], path: np.ndarray) -> Parent:
    never = ndtr(-c["margin"] / c["margin_width"])

    def parts(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s, memory = (np.interp(steps, GRID * c["budget"], p) for p in path)
        read = (ndtr((s - c["margin"]) / c["margin_width"]) - never) / (1 - never)
        return s, memory, c["ceiling"] * read

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s, memory, read = parts(steps)
        train, val = 1 - (1 - read) * (1 - memory), 1 - (1 - read) * (1 - c["kernel"] * memory)
        extra = c["norm_start"] * np.exp(-2 * steps / c["norm_time"])
        norm = np.sqrt(1 + extra + c["norm_memory"] * memory + c["norm_feature"] * s)
        return c["chance"] + (1 - c["chance"]) * train, c["chance"] + (1 - c["chance"]) * val, norm

    steps = dense_steps(10 * c["budget"])
    return Parent(
        family="nucleation",
        curves=curves,
        budget=int(c["budget"]),
        chance=c["chance"],
        n_train=int(c["n_train"]),
        n_val=int(c["n_val"]),
        together=together(c, curves, parts(steps)[1], steps),
    )


def together(c: dict[str, float], curves: Curves, memory: np.ndarray, steps: np.ndarray) -> bool:
    alone = float(hold(c["capacity"]))
    sized = {"chance": c["chance"], "n_train": int(c["n_train"]), "memory_alone": alone}
    return is_together(steps, memory, *curves(steps), **sized)
