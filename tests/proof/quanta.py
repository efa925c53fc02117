"""Quanta: many skills of unequal frequency, learnt one by one beside a store of single examples.

After Michaud et al. 2023 (quanta) and Varma et al. 2023 (circuits that compete under weight decay). A task is K skills:
a share f_k of all examples needs skill k (one skill alone, a power law, a geometric law or a random split), and a few
odd ones need none that could be learnt. Skill k grows sigmoidally, faster the larger f_k and the better its n_k
training examples pin it down; it feeds on the loss its examples still have, little where they are memorized, and weight
decay pulls at it. Examples that are not explained are written into a store of limited room, which weight decay erodes;
a learnt skill stops the writing of its examples, so that they fade and leave room for others. Training is right by
skill or store, validation by skills alone, as far as each holds beyond the examples it was found on. The squared norm
is what is left of the initial weights and what store and skills cost.
"""

from collections.abc import Iterator

import numpy as np
from parent import Curves, Parent, dense_steps, is_together, log_uniform, sizes

MOST, POINTS, CHUNK, HORIZON = 31, 1200, 100, 10
Constants = dict[str, float | np.ndarray]


def spectrum(draw: np.random.Generator) -> np.ndarray:
    """How often each skill is needed: one skill alone, or a power law, a geometric law or a random split."""
    count = 1 if draw.random() < 0.36 else int(np.rint(log_uniform(draw, 2, MOST - 1)))
    law, rank = draw.integers(3), np.arange(1, count + 1)
    if law == 0:
        share = rank ** -log_uniform(draw, 0.3, 2.5)
    elif law == 1:
        share = draw.uniform(0.4, 1) ** rank
    else:
        share = draw.dirichlet(np.full(count, log_uniform(draw, 0.3, 10)))
    return np.maximum(share, 1e-6) / np.maximum(share, 1e-6).sum()


def constants(draw: np.random.Generator) -> Constants:
    size, budget = sizes(draw), int(log_uniform(draw, 5e3, 1e5))
    odd = 0.0 if draw.random() < 0.5 else log_uniform(draw, 0.005, 0.3)
    share = np.append(spectrum(draw) * (1 - odd), odd)
    pinned = 1 - np.exp(-share * size["n_train"] / log_uniform(draw, 0.2, 30))
    fastest, write = 1 / log_uniform(draw, 3, 3e3), 1 / log_uniform(draw, 10, 5e3)
    rate = fastest * pinned * (share / share.max()) ** draw.uniform(0.2, 1)
    rate[-1] = 0
    pad = MOST - len(share)
    return {
        **size, "budget": budget, "chance": draw.choice([1 / 113, 1 / 31, 0.1, 0.5]),
        "share": np.pad(share, (0, pad)), "pinned": np.pad(pinned, (0, pad)), "rate": np.pad(rate, (0, pad)) + 1e-12,
        "seed": log_uniform(draw, 5e-5, 0.2), "sharp": log_uniform(draw, 1, 8),
        "write": write, "room": log_uniform(draw, 0.2, 50), "crowd": draw.uniform(0.3, 2),
        "left": log_uniform(draw, 1e-4, 0.5),
        "decay": min(fastest * log_uniform(draw, 1e-4, 0.7), 0.1), "erode": write * log_uniform(draw, 1e-6, 1),
        "weights": log_uniform(draw, 5, 50), "cost_store": log_uniform(draw, 5, 60),
        "cost_skill": log_uniform(draw, 5, 60),
    }  # fmt: skip


def grown(skill: np.ndarray, feed: np.ndarray, seed: np.ndarray, decay: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Exact solution of q' = feed (q + seed) (1 - q) - decay q after a step."""
    slope = feed * (1 - seed) - decay
    spread = np.sqrt(slope**2 + 4 * feed**2 * seed)
    high, low = (slope + spread) / (2 * feed), (slope - spread) / (2 * feed)
    ratio = (skill - high) / (skill - low) * np.exp(-np.minimum(spread * step, 700))
    return np.clip((high - low * ratio) / (1 - ratio), 0, 1)


def written(c: dict[str, np.ndarray], store: np.ndarray, need: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Implicit step of m' = write * free * need (1 - m) - erode m; free = (1 - held / room)^crowd by bisection."""
    low, high = np.zeros_like(step), np.ones_like(step)
    for _ in range(20):
        free = (low + high) / 2
        pull = c["write"] * free * need * step
        new = (store + pull) / (1 + pull + c["erode"] * step)
        held = (c["share"] * new).sum(1, keepdims=True)
        is_low = free < np.maximum(1 - held / c["room"], 0) ** c["crowd"]
        low, high = np.where(is_low, free, low), np.where(is_low, high, free)
    return new


def integrate(c: dict[str, np.ndarray], has_skills: bool) -> tuple[np.ndarray, ...]:
    """Steps (a grid) and on it: training and validation above chance, share held by the store, norm (runs x points)."""
    grid = np.expm1(np.linspace(0, 1, POINTS) * np.log1p(10 * c["budget"]))
    skill, store = np.zeros_like(c["share"]), np.zeros_like(c["share"])
    rows = []
    for i in range(POINTS):
        if i:
            step = (grid[:, i] - grid[:, i - 1])[:, None]
            store = written(c, store, 1 - skill, step)
            if has_skills:
                skill = grown(skill, c["rate"] * (1 - (1 - c["left"]) * store), c["seed"], c["decay"], step)
        known = skill ** c["sharp"] / (skill ** c["sharp"] + (1 - skill) ** c["sharp"])
        train, val = c["share"] * (1 - (1 - store) * (1 - known)), c["share"] * known * c["pinned"]
        held, skilled = (c["share"] * store).sum(1), (np.sqrt(c["share"]) * skill**2).sum(1)
        faded = c["weights"][:, 0] * np.exp(-c["decay"][:, 0] * grid[:, i])
        norm = np.sqrt(faded**2 + c["cost_store"][:, 0] ** 2 * held + c["cost_skill"][:, 0] ** 2 * skilled)
        rows.append((train.sum(1), val.sum(1), held, norm))
    return (grid, *np.moveaxis(np.array(rows), 0, 2))


def curves_of(grid: np.ndarray, train: np.ndarray, val: np.ndarray, norm: np.ndarray, chance: float) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.log1p(np.asarray(steps, float))
        know = np.log1p(grid)
        train_at, val_at = (chance + (1 - chance) * np.interp(at, know, y) for y in (train, val))
        return train_at, val_at, np.interp(at, know, norm)

    return curves


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for start in range(0, n, CHUNK):
        runs = [constants(draw) for _ in range(min(CHUNK, n - start))]
        c = {name: np.array([np.atleast_1d(run[name]) for run in runs], float) for name in runs[0]}
        grids, trains, vals, helds, norms = integrate(c, has_skills=True)
        alone = integrate(c | {"share": np.ones((len(runs), 1))}, has_skills=False)[3].max(1)
        for i, run in enumerate(runs):
            chance, n_train, budget = float(run["chance"]), int(run["n_train"]), int(run["budget"])
            curves = curves_of(grids[i], trains[i], vals[i], norms[i], chance)
            steps = dense_steps(HORIZON * budget)
            memorized = np.interp(np.log1p(steps), np.log1p(grids[i]), helds[i])
            together = is_together(
                steps, memorized, *curves(steps), chance=chance, n_train=n_train, memory_alone=float(alone[i])
            )  # fmt: skip
            yield Parent(
                family="quanta", curves=curves, budget=budget, chance=chance, n_train=n_train, n_val=int(run["n_val"]),
                together=together,
            )  # fmt: skip
