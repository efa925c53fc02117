"""Traces from other minds: simulations that know nothing of the classifier's rules.

Each family draws a mechanism at random, and the mechanism gives both accuracies at any step, without noise. What a run
*is* follows from these exact curves by the papers' definitions (`definition`), not from the classifier.

    sigmoids            curves drawn by hand, one kind after the other
    two_circuits        a memorizing and a generalizing circuit compete under weight decay (after Varma et al. 2023)
    limited_memory      the memorizing circuit holds so much and no more (after Huang et al. 2024, section 3)
    davies_patterns     three types of patterns learned at different speeds (Davies et al. 2022, appendix B)
    linear_regression   gradient flow, solved exactly; right is an error below a tolerance (after Levi et al. 2023)
    examples            each example is memorized and forgotten by itself, rules feed on what is unexplained
    margins             logits of generalizing modes and of memory, and the chance that the right one is largest
    lazy_to_rich        a kernel fits, features take over, drift may undo them (after Kumar et al. 2023)
    embeddings          tokens' embeddings take on structure, a decoder memorizes or uses it (after Liu et al. 2022)
    subnetworks         many memorizing neurons and a few that generalize (after Merrill et al. 2023)
    hypotheses          guesses, tables and rules compete for belief, rules found late over barriers
    norm_ball           memory and rule are favoured by zones of a slowly moving norm (after Liu et al. 2023, Omnigrok)
    saddles             modes of a deep linear student leave their saddles, noise is memorized (after Saxe et al. 2014)
    lookup              an associative memory with crosstalk beside a circuit of two parts (after Olsson et al. 2022)
    quanta              many skills of unequal frequency are learnt singly beside a store (after Michaud et al. 2023)
    competition         circuits are species that compete for width (after Merrill et al. 2023)
    diffusion           a fast fit, then slow drift along the manifold of solutions (after Blanc, Li, Lyu et al.)
    slingshots          cycles of a growing norm and of kicks that move features (after Thilak et al. 2022)
    hierarchy           features that need those below them, each its own number of data (after Cagnetta et al. 2024)
    frequencies         Fourier features compete and interfere (after Nanda et al. 2023, Gromov 2023)
    xor_clusters        each example's own noise is fitted before few signal directions (after Xu et al. 2024)
    separability        logistic regression at the edge of linear separability (after Beck et al. 2024)
    nucleation          neurons specialize over barriers, a first-order transition (after Rubin et al. 2023)
    percolation         understood facts join into a giant cluster (after Lubana et al. 2024)
    early_late          a kernel solution that weight decay gives up for a rich one (after Lyu et al. 2024)

The last twenty were written from the definitions alone, without sight of the classifier or of others. No run of
HELD_OUT was looked at, and nothing was chosen by its scores. HELD_OUT_BEFORE were held out too, each until it had been
scored or had shown something that changed a rule or a truth (LOG.md, 2026-11-23); now calibration is made on them too.
"""

from collections.abc import Callable, Iterator

import competition
import diffusion
import early_late
import embeddings
import examples
import frequencies
import hierarchy
import hypotheses
import lazy_to_rich
import lookup
import margins
import norm_ball
import nucleation
import numpy as np
import percolation
import quanta
import saddles
import separability
import slingshots
import subnetworks
import xor_clusters
from parent import DELTA, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.special import erf, expit

HELD_OUT = ("xor_clusters", "separability", "nucleation", "percolation", "early_late")
HELD_OUT_BEFORE = (
    *("davies_patterns", "linear_regression", "examples", "margins", "lazy_to_rich"),
    *("embeddings", "subnetworks", "hypotheses", "norm_ball", "saddles", "lookup"),
    *("quanta", "competition", "diffusion"),
    *("slingshots", "hierarchy", "frequencies"),
)


def rise(steps: np.ndarray, middle: float, width: float) -> np.ndarray:
    return expit((np.log1p(steps) - np.log1p(middle)) / width)


# Curves drawn by hand

KINDS = ("prompt", "late", "slow", "partial", "together", "partly", "never", "lost", "half", "beyond")


def sigmoids(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for i in range(n):
        yield sigmoid(draw, KINDS[i % len(KINDS)])


def sigmoid(draw: np.random.Generator, kind: str) -> Parent:
    budget = int(log_uniform(draw, 5e3, 1e5))
    chance = draw.choice([1 / 113, 1 / 31, 0.1, 0.5])
    t_train = log_uniform(draw, 30, budget / 20)
    t_val = t_train + (
        draw.uniform(-0.5 * min(t_train, DELTA), 0.85 * DELTA)
        if kind == "prompt"
        else log_uniform(draw, 1.2 * DELTA, max(1.3 * DELTA, 0.75 * budget - t_train))
    )
    if kind == "beyond":
        t_val = budget * draw.uniform(1.5, 6)
    wide = 0.3 if kind == "slow" else 0.12
    w_train, w_val = draw.uniform(0.04, wide, 2)
    top_val = draw.uniform(0.2, 0.8) if kind in ("partial", "partly") else draw.uniform(0.94, 1)
    part = draw.uniform(0.3, 0.8)
    t_lost = log_uniform(draw, min(2 * t_val, 0.4 * budget), 0.6 * budget)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val = rise(steps, t_train, w_train), top_val * rise(steps, t_val, w_val)
        if kind == "partly":
            val = top_val * rise(steps, t_train, w_train)
        if kind in ("never", "half"):
            val = 0 * val
        if kind == "half":
            train = part * train
        if kind == "together":
            train, val = part * train + (1 - part) * top_val * rise(steps, t_val, w_val), val
        if kind == "lost":
            val = top_val * rise(steps, t_train, w_train) * (1 - 0.98 * rise(steps, t_lost, 0.05))
        norm = 20 + 15 * rise(steps, t_train, w_train) + (8 if kind == "together" else -12) * val
        return chance + (1 - chance) * train, chance + (1 - chance) * val, norm

    size = sizes(draw)
    steps = dense_steps(10 * budget)
    memorized = part * rise(steps, t_train, w_train)
    return Parent(
        family="sigmoids",
        curves=curves,
        budget=budget,
        chance=float(chance),
        together=kind == "together"
        and is_together(steps, memorized, *curves(steps), chance=chance, n_train=size["n_train"]),
        **size,
    )


# Two circuits


def two_circuits(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield circuit(draw)


def circuit(draw: np.random.Generator) -> Parent:
    """Strengths m and g grow with the gradient of cross entropy, in proportion to their efficiency, and decay. The
    memorizing circuit is the less efficient the more there is to memorize; the generalizing one starts small and grows
    by itself. Where a smaller set takes the place of the first, memorizing becomes the cheaper way again."""
    budget = int(log_uniform(draw, 5e3, 1e5))
    chance = draw.choice([1 / 113, 1 / 31, 0.1])
    memorizing, generalizing = log_uniform(draw, 0.3, 6), log_uniform(draw, 0.8, 4)
    later = log_uniform(draw, 6, 14) if draw.uniform() < 0.2 else memorizing
    switch = budget * draw.uniform(0.4, 0.6)
    decay = log_uniform(draw, 3e-5, 3e-3)
    speed, seed = log_uniform(draw, 3e-4, 3e-2), log_uniform(draw, 1e-6, 1e-1)
    threshold, spread = draw.uniform(2, 4), draw.uniform(0.2, 0.6)
    grid = dense_steps(10 * budget, 1200)
    m, g = np.zeros(len(grid)), np.zeros(len(grid))
    g[0] = seed
    for i in range(len(grid) - 1):
        dt = grid[i + 1] - grid[i]
        e = memorizing if grid[i] < switch else later
        n_inner = int(np.clip(np.ceil(dt * max(speed * 8, decay * 4)), 1, 40))
        mi, gi = m[i], g[i]
        for _ in range(n_inner):
            wrong = expit(threshold - (e * mi + generalizing * gi)) if e * mi + generalizing * gi < 40 else 0.0
            mi += dt / n_inner * (speed * e * wrong - decay * mi)
            gi += dt / n_inner * (speed * generalizing * wrong * min(gi + 1e-9, 1.0) - decay * gi)
            mi, gi = min(max(mi, 0.0), 60.0), min(max(gi, 1e-12), 60.0)
        m[i + 1], g[i + 1] = mi, gi
    efficiency = np.where(grid < switch, memorizing, later)
    train = expit((efficiency * m + generalizing * g - threshold) / spread)
    val = expit((generalizing * g - threshold) / spread)
    norm = np.sqrt(5 + m**2 + g**2)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        floor = expit(-threshold / spread)
        a, v = (np.interp(steps, grid, (x - floor) / (1 - floor)).clip(0, 1) for x in (train, val))
        return chance + (1 - chance) * a, chance + (1 - chance) * v, np.interp(steps, grid, norm)

    return Parent(family="two_circuits", curves=curves, budget=budget, chance=float(chance), **sizes(draw))


# Limited memory


def limited_memory(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield memory(draw)


def memory(draw: np.random.Generator) -> Parent:
    """Memory takes in facts at a rate, and holds a share of the training set, or more than all of it. A rule grows like
    a population, in one or two surges, and explains ever more facts; memory is left to those that it does not explain.
    So where memory is short both accuracies rise together once the rule comes, and where it is not the rule shows in
    validation alone."""
    budget = int(log_uniform(draw, 5e3, 1e5))
    chance = draw.choice([1 / 113, 1 / 31, 0.1])
    holds = draw.uniform(0.25, 0.87) if draw.uniform() < 0.4 else draw.uniform(0.87, 3)
    to_memorize = log_uniform(draw, 20, budget / 10)
    explains = np.array([draw.uniform(0.1, 0.7), 0.0])
    explains[1] = draw.uniform(0, 1 - explains[0]) if draw.uniform() < 0.5 else draw.uniform(0.93, 1) - explains[0]
    if draw.uniform() < 0.25:
        explains[:] = 0.0
    first = log_uniform(draw, 30, 3 * budget)
    middle = np.array([first, first * log_uniform(draw, 1, 4)])
    seed = log_uniform(draw, 1e-5, 3e-2)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # Logistic growth from `seed` that reaches one half at `middle`.
        growth = expit(np.log(1 / seed - 1) * (steps[:, None] / middle - 1))
        rule = ((growth - seed) / (1 - seed)).clip(0, 1) @ explains
        memorized = holds * -np.expm1(-steps / to_memorize)
        train = rule + np.minimum(memorized, 1 - rule)
        norm = 20 + 15 * np.minimum(memorized, 1) + (8 if holds < 0.87 else -12) * rule
        return chance + (1 - chance) * train, chance + (1 - chance) * rule, norm

    size = sizes(draw)
    steps = dense_steps(10 * budget)
    memorized = holds * -np.expm1(-steps / to_memorize)
    return Parent(
        family="limited_memory",
        curves=curves,
        budget=budget,
        chance=float(chance),
        together=is_together(steps, memorized, *curves(steps), chance=chance, n_train=size["n_train"]),
        **size,
    )


# Held out: Davies' patterns


def davies_patterns(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield patterns(draw)


def patterns(draw: np.random.Generator) -> Parent:
    """Types 1 (fast, generalizes), 2 (fast, does not) and 3 (slow, generalizes, preferred), as in appendix B. Their
    time of 300 steps is stretched to a budget."""
    budget = int(log_uniform(draw, 5e3, 1e5))
    stretch = budget / 300
    chance = draw.choice([1 / 97, 0.1, 0.5])
    highest = np.array(
        [
            0.0 if draw.uniform() < 0.6 else draw.uniform(0.05, 0.95),
            1.0 if draw.uniform() < 0.5 else draw.uniform(0.3, 1.0),
            0.0 if draw.uniform() < 0.25 else draw.uniform(0.1, 1.0) if draw.uniform() < 0.5 else 1.0,
        ]
    )
    second = log_uniform(draw, 2, 60)
    middle = np.array([second * draw.uniform(0.3, 1.0), second, second * log_uniform(draw, 1.0, 12)])
    speed = np.array([4.0, 4.0, 4.0]) / middle * draw.uniform(0.7, 3.0, 3)
    general = np.array([draw.uniform(0.6, 1.0), draw.uniform(0.0, 0.04), draw.uniform(0.95, 1.0)])

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = steps[:, None] / stretch
        start = expit(-speed * middle)
        p1, p2, p3 = (highest * (expit(speed * (x - middle)) - start) / (1 - start)).clip(0, 1).T
        acc = p1 + p2 + p3 - p1 * p2 - p1 * p3 - p2 * p3 + p1 * p2 * p3
        both = (p1 * p2 * p3 - p1 * p2) / 2
        u1, u2, u3 = p1 - p1 * p3 + both, p2 - p2 * p3 + both, p3
        gen = general[0] * u1 + general[1] * u2 + general[2] * u3
        return chance + (1 - chance) * acc, chance + (1 - chance) * gen, np.full(len(steps), np.nan)

    # Patterns of type 2 are what is memorized; where type 1 is learnt too, validation follows from the start.
    size = sizes(draw)
    steps = dense_steps(10 * budget)
    start = expit(-speed[1] * middle[1])
    memorized = (highest[1] * (expit(speed[1] * (steps / stretch - middle[1])) - start) / (1 - start)).clip(0, 1)
    return Parent(
        family="davies_patterns",
        curves=curves,
        budget=budget,
        chance=float(chance),
        together=is_together(steps, memorized, *curves(steps), chance=chance, n_train=size["n_train"]),
        **size,
    )


# Held out: linear regression


def linear_regression(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield regression(draw)


def regression(draw: np.random.Generator) -> Parent:
    """A linear student of a linear teacher with d inputs and n examples, gradient flow from a random start with decay.
    In the eigenbasis of the examples every weight relaxes by itself, so both errors are known at any time."""
    d = int(draw.integers(10, 60))
    n = max(int(d * log_uniform(draw, 0.3, 8)), 4)
    budget = int(log_uniform(draw, 5e3, 1e5))
    rate = log_uniform(draw, 3e-4, 0.1)
    decay = 0.0 if draw.uniform() < 0.3 else log_uniform(draw, 1e-5, 1e-1)
    noise = 0.0 if draw.uniform() < 0.5 else log_uniform(draw, 1e-3, 0.5)
    x = draw.normal(size=(n, d))
    teacher, start = draw.normal(size=d) / np.sqrt(d), draw.normal(size=d) / np.sqrt(d) * log_uniform(draw, 0.1, 4)
    e = noise * draw.normal(size=n)
    eigen, basis = np.linalg.eigh(x.T @ x / n)
    eigen = eigen.clip(0)
    target = basis.T @ (x.T @ (x @ teacher + e) / n)
    rest = np.divide(target, eigen + decay, out=basis.T @ start.copy(), where=eigen + decay > 1e-12)
    moved = basis.T @ start - rest
    tolerance = log_uniform(draw, 3e-3, 3e-2)

    def losses(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        w = (rest + moved * np.exp(-np.outer(steps, rate * (eigen + decay)))) @ basis.T
        train = ((w - teacher) @ x.T - e) ** 2
        return train.mean(1), ((w - teacher) ** 2).sum(1) + noise**2, np.linalg.norm(w, axis=1)

    def share_right(loss: np.ndarray) -> np.ndarray:
        return erf(np.sqrt(tolerance / (2 * loss.clip(1e-12))))

    chance = float(share_right(losses(np.zeros(1))[1])[0])

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, norm = losses(steps)
        return share_right(train), share_right(val), norm

    return Parent(family="linear_regression", curves=curves, budget=budget, chance=chance, **sizes(draw))


FAMILIES: dict[str, Callable[[np.random.Generator, int], Iterator[Parent]]] = {
    "sigmoids": sigmoids,
    "two_circuits": two_circuits,
    "davies_patterns": davies_patterns,
    "linear_regression": linear_regression,
    "limited_memory": limited_memory,
    "examples": examples.family,
    "margins": margins.family,
    "lazy_to_rich": lazy_to_rich.family,
    "embeddings": embeddings.family,
    "subnetworks": subnetworks.family,
    "hypotheses": hypotheses.family,
    "norm_ball": norm_ball.family,
    "saddles": saddles.family,
    "lookup": lookup.family,
    "quanta": quanta.family,
    "competition": competition.family,
    "diffusion": diffusion.family,
    "slingshots": slingshots.family,
    "hierarchy": hierarchy.family,
    "frequencies": frequencies.family,
    "xor_clusters": xor_clusters.family,
    "separability": separability.family,
    "nucleation": nucleation.family,
    "percolation": percolation.family,
    "early_late": early_late.family,
}
"""A family's place seeds it, so new ones come last."""
