"""Logistic regression at the edge of linear separability (Beck, Levi, Bar-Sinai 2024; Levi, Beck, Bar-Sinai 2023).

A linear readout is trained by gradient flow with weight decay on the logistic loss over a population of training
examples whose margins are Gaussian. Memory is bundles of weak random directions: their empirical variances are the
Marchenko-Pastur quantiles at `ratio`, dimensions over what just separates the training set; together they hold a
share min(ratio, 1) of the labels (the geometry of least squares), so that their margins have spread sqrt(1 -
ratio), which vanishes at the edge, where the weakest bundle also becomes arbitrarily slow. On fresh examples memory
is pure noise, as are the weights at initialization, which training forgets at each bundle's own rate and, outside
the span of the data, only weight decay removes. One direction generalizes, with a scale (how fast) and a noise of
its own (how well in the end); there may be a nuisance direction too, a cue that holds in training and not, or the
other way round, on fresh examples. The gradient E[x sigmoid(-z)] shrinks with the margin and is exact for Gaussian
x (Stein), the Hessian likewise, so that linearly implicit Euler steps follow the convex loss from the first step to
ten budgets; an example is right if its logit beats all K - 1.
"""

from collections.abc import Iterator

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform, sizes
from scipy.stats import norm as gauss

BATCH, POINTS = 250, 700
MASS = np.array([0.01, 0.04, 0.1, 0.2, 0.3, 0.35])
"""Share of the directions in each bundle, the weakest first."""
NODES = np.linspace(-4.6, 4.6, 93)
WEIGHTS = gauss.pdf(NODES) / gauss.pdf(NODES).sum()
KAPPA = np.linspace(-12, 20, 1601)
_U = np.linspace(-7, 7, 401)
RIGHT = {k: gauss.cdf(_U + KAPPA[:, None]) ** (k - 1) @ (gauss.pdf(_U) / gauss.pdf(_U).sum()) for k in (2, 10, 31, 113)}
Drawn = dict[str, float | int | dict[str, int]]


def marchenko_pastur(ratio: float) -> np.ndarray:
    """Variance in the training set of each bundle, where it is 1 in the population."""
    r = min(ratio, 1 / ratio)
    angle = (np.arange(4000) + 0.5) * np.pi / 4000
    x = 1 + r - 2 * np.sqrt(r) * np.cos(angle)
    cdf = np.cumsum(np.sin(angle) ** 2 / x)
    return np.interp(np.cumsum(MASS) - MASS / 2, cdf / cdf[-1], x) * max(ratio, 1)


def constants(draw: np.random.Generator) -> Drawn:
    budget = int(log_uniform(draw, 5e3, 1e5))
    decays, misled = draw.random() < 0.5, draw.random() < 0.6
    time = log_uniform(draw, 1, budget / 150)
    # A cue that misleads matters where the one that generalizes is noisy and there early.
    g_scale = log_uniform(draw, *((0.15, 6) if misled else (0.05, 2)))
    g_noise = log_uniform(draw, *((0.2, 0.9) if misled else (0.05, 1)))
    return {
        "budget": budget,
        "classes": int(draw.choice([2, 10, 31, 113])),
        "sizes": sizes(draw),
        "ratio": float(np.exp(draw.normal(-0.7, 0.5))),
        "rate": 1 / time,
        "decay": log_uniform(draw, 0.01, 20) / budget if decays else 0.0,
        "g_scale": g_scale,
        "g_noise": g_noise,
        "q_scale": g_scale * log_uniform(draw, 0.02, 1) if misled else 0.0,
        "q_noise": g_noise * log_uniform(draw, 0.03, 1),
        "q_fresh": draw.uniform(-1.2, 0.2),
        "q_fresh_noise": log_uniform(draw, 0.1, 3),
        "init": log_uniform(draw, 0.02, 8),
    }


def integrate(drawn: list[Drawn], with_g: bool) -> dict[str, np.ndarray]:
    """Points by runs: mean and variance of the margins in training, fresh and by memory alone; and the norm."""
    c = {k: np.array([d[k] for d in drawn], float) for k in drawn[0] if k != "sizes"}
    n, j = len(drawn), len(MASS)
    end, ratio, rate, decay = 10.0 * c["budget"], c["ratio"], c["rate"], c["decay"]
    times = np.concatenate([np.zeros((1, n)), np.geomspace(np.full(n, 0.03), end, POINTS - 1)])
    root = np.sqrt([marchenko_pastur(r) for r in ratio])
    share = np.sqrt(np.minimum(ratio, 1)[:, None] * MASS)
    g, q = c["g_scale"] * with_g, c["q_scale"]
    mean = np.concatenate([root * share, g[:, None], q[:, None]], axis=1)
    cov = np.zeros((n, j + 2, j + 2))
    cov[:, :j, :j] = root[:, :, None] * root[:, None, :] * (np.eye(j) - share[:, :, None] * share[:, None, :])
    cov[:, j, j], cov[:, j + 1, j + 1] = (g * c["g_noise"]) ** 2, (q * c["q_noise"]) ** 2
    seen = np.minimum(1 / ratio, 1)
    w = np.zeros((n, j + 2))
    noise = c["init"][:, None] * np.sqrt(seen[:, None] * MASS)
    unseen = c["init"] * np.sqrt(1 - seen)
    out = {k: np.empty((POINTS, n)) for k in ("m", "v", "fm", "fv", "mm", "mv", "norm")}
    m, v, spread = np.zeros(n), np.ones(n), np.zeros_like(w)
    for i in range(POINTS):
        if i:
            dt = times[i] - times[i - 1]
            z = m[:, None] + np.sqrt(v)[:, None] * NODES - np.log(c["classes"] - 1)[:, None]
            pull = 0.5 * (1 - np.tanh(z / 2))
            a, bend = pull @ WEIGHTS, pull * (1 - pull) * WEIGHTS
            b0, b1, b2 = bend.sum(1), bend @ NODES, bend @ NODES**2
            slope = a[:, None] * mean - b0[:, None] * spread
            unit = spread / np.sqrt(v)[:, None]
            mixed = b1[:, None, None] * mean[:, :, None] * unit[:, None, :]
            hess = b0[:, None, None] * (cov + mean[:, :, None] * mean[:, None, :]) + mixed + mixed.transpose(0, 2, 1)
            hess += (b2 - b0)[:, None, None] * unit[:, :, None] * unit[:, None, :]
            shrink = np.eye(j + 2) * (1 + dt * decay)[:, None, None]
            force = (dt * rate)[:, None] * slope - (dt * decay)[:, None] * w
            w = w + np.linalg.solve(shrink + (dt * rate)[:, None, None] * hess, force[:, :, None])[:, :, 0]
            noise = noise / (1 + dt[:, None] * ((rate * b0)[:, None] * root**2 + decay[:, None]))
            unseen = unseen / (1 + dt * decay)
        spread = np.einsum("nij,nj->ni", cov, w)
        residue = (root**2 * noise**2).sum(1)
        parts, spreads = w * mean, w * spread
        m, v = parts.sum(1), np.maximum(spreads.sum(1), 0) + residue + 1e-9
        wg, wq = w[:, j], w[:, j + 1]
        forgotten = (w[:, :j] ** 2).sum(1) + (noise**2).sum(1) + unseen**2
        fv = forgotten + (wg * g * c["g_noise"]) ** 2 + (wq * q * c["q_fresh_noise"]) ** 2 + 1e-9
        now = (m, v, wg * g + wq * q * c["q_fresh"], fv, m - parts[:, j], v - spreads[:, j])
        for k, x in zip(out, (*now, np.sqrt(forgotten + wg**2 + wq**2)), strict=True):
            out[k][i] = x
    return {"t": np.log1p(times), **out}


def accuracy(m: np.ndarray, v: np.ndarray, classes: int) -> np.ndarray:
    return np.interp(m * np.sqrt(2 / np.maximum(v, 1e-9)), KAPPA, RIGHT[classes])


def parent_of(d: Drawn, path: dict[str, np.ndarray], alone: dict[str, np.ndarray]) -> Parent:
    k, chance, budget = int(d["classes"]), 1 / int(d["classes"]), int(d["budget"])
    table = np.array([accuracy(path["m"], path["v"], k), accuracy(path["fm"], path["fv"], k), path["norm"]])

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, norm = (np.interp(np.log1p(steps), path["t"], row) for row in table)
        return train, val, norm

    steps = dense_steps(budget)
    above = [(accuracy(p["mm"], p["mv"], k) - chance) / (1 - chance) for p in (path, alone)]
    together = is_together(
        steps, np.interp(np.log1p(steps), path["t"], above[0]), *curves(steps), chance=chance,
        n_train=d["sizes"]["n_train"], memory_alone=float(above[1][path["t"] <= np.log1p(budget)].max()),
    )  # fmt: skip
    return Parent(family="separability", curves=curves, budget=budget, chance=chance, together=together, **d["sizes"])


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for start in range(0, n, BATCH):
        drawn = [constants(draw) for _ in range(min(BATCH, n - start))]
        paths, alone = integrate(drawn, True), integrate(drawn, False)
        for i, d in enumerate(drawn):
            yield parent_of(d, {k: x[:, i] for k, x in paths.items()}, {k: x[:, i] for k, x in alone.items()})
