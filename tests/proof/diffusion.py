"""Runs that fit fast and then drift slowly along the manifold of solutions.

Fast directions fit the training set by memory m, whose margin is limited by capacity (the signal to noise ratio
of an associative memory), while fitting and initialization leave excess u_k in slow directions that training
hardly sees. Noise and decay relax it with a spectrum of rates, u_k^2 -> T_k (Blanc et al. 2020; Li et al.
2022), in time that counts only as far as the set is fitted; a large initial excess gives Lyu et al.'s (2023)
late, sharp transition. Along the same drift the overlap a with the rule grows from what the first kernel has of
it (Kumar et al. 2023), da/dt ~ (e + a)(A - a) as in a product of layers, up to what the data tell, A (spiked
covariance model: zero below a critical size), and what the rule supplies, memory may give up. In some runs data
are taken away (A falls, memory has more room) or the noise changes (other T and rates), and the solution drifts
elsewhere. An accuracy is the chance that the right one of C Gaussian scores is the largest: its lead is m + R a
in training and R a in validation, its variance 1 + leak U and 1 + U, U the sum of u_k^2.
"""

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from parent import GAIN, Curves, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.stats import norm as gauss

Memory = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
CLASSES = (113, 31, 10, 2)
FAST, SLOW = np.arange(1.0, 9.0), np.arange(1.0, 13.0)
LEADS = np.concatenate([np.linspace(0, 8, 1601), [12.0, 1e9]])


@cache
def right_at_leads(classes: int) -> np.ndarray:
    z = np.linspace(-9, 9, 901)
    power = gauss.cdf(z[None, :] + LEADS[:, None]) ** (classes - 1)
    return power @ gauss.pdf(z) * (z[1] - z[0])


def accuracy(lead: np.ndarray, classes: int) -> np.ndarray:
    return np.interp(lead, LEADS, right_at_leads(classes))


def overlap(data: float) -> float:
    """What so many data, in units of the critical size, tell of the rule."""
    return math.sqrt((data - 1) / (data + 1)) if data > 1 else 0.0


def mechanism(draw: np.random.Generator, budget: int, classes: int) -> tuple[Curves, Memory]:
    """(train, val, norm), and shares right by memory: as it is, and as it would be alone; at any steps."""
    fit_rate = 1 / log_uniform(draw, 5, budget / 4) * FAST ** -draw.uniform(0, 1.5)
    rates = 1 / log_uniform(draw, 20, 3 * budget) * SLOW ** -draw.uniform(0, 2)
    rule_rate = rates[0] * log_uniform(draw, 0.3, 30)
    seed, aligned = log_uniform(draw, 1e-4, 1), draw.beta(0.3, 3)
    room, rule, data = log_uniform(draw, 0.8, 7), log_uniform(draw, 2, 20), log_uniform(draw, 0.5, 50)
    shape = SLOW ** -draw.uniform(0, 1)
    shape /= np.linalg.norm(shape)
    start, spill = shape * log_uniform(draw, 0.01, 20), shape[::-1] * log_uniform(draw, 0.01, 10)
    heat, leak, traded = log_uniform(draw, 1e-3, 3), log_uniform(draw, 1e-4, 0.1), draw.uniform()
    base, by_noise = log_uniform(draw, 1, 30), draw.uniform()
    changes, change = draw.choice(["none", "data", "noise"], p=[0.5, 0.3, 0.2]), budget * log_uniform(draw, 0.05, 3)
    cut = log_uniform(draw, 1, 100) if changes == "data" else 1.0
    louder = log_uniform(draw, 0.1, 3000) if changes == "noise" else 1.0

    log = np.expm1(np.linspace(0, np.log1p(10 * budget), 700))
    late = change + np.expm1(np.linspace(0, np.log1p(10 * budget - change), 250))
    grid = np.unique(np.concatenate([log, np.linspace(0, budget, 200), np.linspace(0, 10 * budget, 250), late]))
    fit = 1 - np.exp(-grid[:, None] * fit_rate).mean(axis=1)
    clock, gained, changed = np.diff(grid) * (fit[1:] + fit[:-1]) / 2, np.diff(fit), grid[:-1] >= change
    faster = np.where(changed, 1 - by_noise + by_noise * louder, 1.0)
    kept = np.exp(-(clock * faster)[:, None] * rates)
    hot = heat * np.where(changed, louder, 1.0)[:, None] * shape**2 * (1 - kept**2)
    goals = np.where(changed, overlap(data / cut), overlap(data))
    grows = np.exp(np.minimum(rule_rate * clock * faster * (seed + goals), 50.0))
    spills = gained[:, None] * spill
    mean, spread, a = start, np.zeros(len(SLOW)), 0.0
    excess, known = [float(start @ start)], [a]
    series = zip(kept, spills, hot, goals.tolist(), grows.tolist(), gained.tolist(), strict=True)
    for k, more, heated, goal, grow, gain in series:
        mean, spread = k * mean + more, k * k * spread + heated
        a += aligned * gain * max(goal - a, 0.0)
        if abs(goal - a) > 1e-9:
            odds = (seed + a) / (goal - a) * grow
            a = (goal * odds - seed) / (1 + odds)
        excess.append(float(mean @ mean + spread.sum()))
        known.append(a)
    u2, a_s = np.array(excess), np.array(known)
    since = np.maximum(grid - change, 0)
    alone = fit * room * (1 + (math.sqrt(cut) - 1) * (1 - np.exp(-fit_rate[0] * since)))
    m, noise = np.maximum(alone - traded * rule * a_s, 0), np.sqrt(1 + leak * u2)
    size = np.sqrt(base**2 + u2 + m**2 + (rule * a_s) ** 2)

    def at(steps: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.interp(steps, grid, column) for column in columns)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        lead, mute, loud, total = at(steps, m + rule * a_s, noise, np.sqrt(1 + u2), size)
        (says,) = at(steps, rule * a_s)
        return accuracy(lead / mute, classes), accuracy(says / loud, classes), total

    def memory(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        held, would, mute = at(steps, m, alone, noise)
        shares = [(accuracy(x / mute, classes) - 1 / classes) / (1 - 1 / classes) for x in (held, would)]
        return shares[0], shares[1]

    return curves, memory


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        budget, classes, size = int(log_uniform(draw, 5e3, 1e5)), int(draw.choice(CLASSES)), sizes(draw)
        curves, memory = mechanism(draw, budget, classes)
        for span in (budget, 3 * budget, 10 * budget):  # judged in the first of these in which validation rises
            steps = dense_steps(span)
            (train, val, norm), (held, would) = curves(steps), memory(steps)
            if val.max() >= 1 / classes + GAIN * (1 - 1 / classes):
                break
        together = is_together(
            steps, held, train, val, norm,
            chance=1 / classes, n_train=size["n_train"], memory_alone=float(would.max()),
        )  # fmt: skip
        yield Parent(family="diffusion", curves=curves, budget=budget, chance=1 / classes, together=together, **size)
