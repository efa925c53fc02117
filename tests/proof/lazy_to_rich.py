"""From lazy to rich: a kernel fits the training set, features take over, and drift may undo them.

(1) Gradient flow on the squared loss with weight decay: a kernel of power-law spectrum, and of a rank that may be
less than the training set, relaxes mode by mode (dg/dt = lambda (target - g) - decay g) to whatever the initial
function (output scale alpha) and the features leave of the labels. (2) Features of strength s = u v grow by their
correlation with what residual is left, ds/dt = 2 s (gain * correlation - decay), from a start of order 1/alpha^2
(Saxe et al.; Kumar et al. 2023), so that once the kernel has fitted, only decay holds the residual open and the
handover takes about log(1/s0)/decay, if it comes (Lyu et al. 2023). (3) Their overlap q with the target follows from
the data, q^2 / (1 - q^2) = n / n_c, and their gain is greatest on a shell of the weight norm (Liu et al. 2022,
Omnigrok): the norm relaxes to a floor, and one below the shell loses the features. (4) In some runs the training set
is cut once to a fraction, which lowers the gain alike, while the rank covers more of what is left (Varma et al.
2023). (5) Accuracies are the exact chance that the right one of C logits with independent Gaussian noise is largest,
from the signal-to-noise ratio of a random example: in training, kernel noise is the spread of g over modes (own
reasoning, for random eigenvectors); in validation, it is a share of all that the kernel memorized.
"""

from collections.abc import Iterator
from functools import cache

import numpy as np
from parent import Curves, Parent, is_together, log_uniform, sizes
from scipy.special import ndtr

MODES, HALF, CHUNK = 24, 1000, 200
U = (np.arange(MODES) + 0.5) / MODES
Z = np.linspace(-4, 16, 2001)
Table = dict[str, np.ndarray]


@cache
def accuracy_table(classes: int) -> np.ndarray:
    x = np.linspace(-8, 8, 801)
    weight = np.exp(-(x**2) / 2)
    return (ndtr(x + Z[:, None]) ** (classes - 1)) @ (weight / weight.sum())


def constants(draw: np.random.Generator) -> dict[str, float]:
    """Of one run; rates are per step."""
    budget = int(log_uniform(draw, 5e3, 1e5))
    classes = int(draw.choice([113, 31, 10, 2]))
    alpha = log_uniform(draw, 0.1, 30)
    memory = log_uniform(draw, 1, 8) / classes if draw.random() < 0.6 else 1.0  # rank / n_train
    noise = log_uniform(draw, 0.01, 0.2)  # features do not stick out of it at the start
    is_cut = draw.random() < 0.4
    decay = log_uniform(draw, 2e-5, 4e-3) if draw.random() < 0.7 else 1e-8
    return dict(
        budget=budget, classes=classes, memory=min(memory, 1.0), cut_at=budget * log_uniform(draw, 0.05, 2),
        keep=log_uniform(draw, 0.02, 0.8) if is_cut else 1.0,
        rate=log_uniform(draw, 1e-3, 0.1), slope=draw.uniform(0.5, 3), decay=decay,
        chi=log_uniform(draw, 0.6, 30), s0=min(log_uniform(draw, 1e-12, 1e-3) / alpha**2, noise / 30),
        f0=alpha * log_uniform(draw, 0.01, 0.1), snr=log_uniform(draw, 3, 300),
        x0=log_uniform(draw, 0.7, 4), floor=log_uniform(draw, 0.2, 1.5),
        low=draw.uniform(1, 4), high=draw.uniform(0.3, 2),
        kappa=log_uniform(draw, 1e-3, 0.2), leak=draw.uniform(0.2, 1), noise=noise,
        shell=log_uniform(draw, 5, 60), spread=log_uniform(draw, 0.1, 1),
    )  # fmt: skip


def integrate(c: Table) -> Table:
    """All runs at once, each on its own grid: log time from 0, and again from the cut. A step takes the kernel's
    response to s as linear and solves the logistic equation for s that is left, so that stiff rates do no harm."""
    end, n = 10 * c["budget"], len(c["budget"])
    first = np.geomspace(0.3, c["cut_at"], HALF, axis=1)
    t = np.hstack([np.zeros((n, 1)), first, c["cut_at"][:, None] + np.geomspace(0.3, end - c["cut_at"], HALF, axis=1)])
    x = c["floor"][:, None] + (c["x0"] - c["floor"])[:, None] * np.exp(-c["decay"][:, None] * t)
    rates = np.minimum(c["rate"][:, None] * (2 * U) ** -c["slope"][:, None], 1)
    full_gain = c["chi"] / (1 / rates).mean(1)
    shell_gain = 2 / (x ** -c["low"][:, None] + x ** c["high"][:, None])
    q = np.sqrt(c["snr"] / c["classes"] / (1 + c["snr"] / c["classes"]))  # snr = classes * n / n_c
    miss, decay, rho, s = np.sqrt(1 - q**2), c["decay"], c["memory"].copy(), c["s0"].copy()
    g = np.zeros((3, n, MODES))  # the kernel's fit of: labels, failings of the features, initial function
    out = {name: np.zeros(t.shape) for name in ("s", "g", "g2", "h", "h2", "p", "p2", "cost")}
    for i in range(t.shape[1]):
        if i == HALF + 1:  # the cut: the kernel's mean output on what is kept stays as it is
            covered = np.minimum(rho / c["keep"], 1)
            g, rho, full_gain = g * (rho / covered)[:, None], covered, full_gain * c["keep"]
        if i > 0:
            dt = t[:, i] - t[:, i - 1]
            lam = rates * (x[:, i] ** 2 / (1 + x[:, i] ** 2))[:, None]
            fade = np.exp(-(lam + decay[:, None]) * dt[:, None])
            reach = (1 - fade) * lam / (lam + decay[:, None])
            g *= fade
            left, slack, gain = rho * g.mean(2), rho * reach.mean(1), full_gain * shell_gain[:, i]
            a = 2 * (gain * (q * (1 - left[0] - slack) - miss * left[1]) - decay)
            b = 2 * gain * (1 - slack)  # = q (q - q slack) + miss (miss - miss slack)
            e = np.exp(np.clip(a * dt, -600, 600))
            grown = np.where(np.abs(a * dt) < 1e-9, dt, (e - 1) / np.where(a == 0, 1, a))
            s = np.maximum(s * e / (1 + b * s * grown), 1e-30)
            targets = np.stack([1 - q * s, -miss * s, -c["f0"] * np.exp(-decay * t[:, i])])
            g += reach * targets[:, :, None]
        means, squares = rho * g.mean(2), rho * (g**2).mean(2)
        for k, name in enumerate("ghp"):
            out[name][:, i], out[name + "2"][:, i] = means[k], squares[k]
        out["s"][:, i] = s
        out["cost"][:, i] = rho * (g**2 / rates).sum(0).mean(1) / (1 / rates).mean(1) + 2 * s / c["chi"]
    f = c["f0"][:, None] * np.exp(-decay[:, None] * t)
    q, miss, floor2 = q[:, None], miss[:, None], c["noise"][:, None] ** 2
    of_init = (f + out["p"]) ** 2 + out["p2"] - out["p"] ** 2 + floor2
    of_memory = out["g2"] - out["g"] ** 2 + of_init
    of_misses = (miss * out["s"] + out["h"]) ** 2 + out["h2"] - out["h"] ** 2
    leaked = (miss * out["s"]) ** 2 + c["leak"][:, None] * (out["g2"] + out["h2"] + out["p2"])
    root = np.sqrt(c["classes"])[:, None]
    return dict(
        t=t, memorized=root * out["g"] / np.sqrt(of_memory),
        train=root * (q * out["s"] + out["g"]) / np.sqrt(of_memory + of_misses),
        val=root * (q * out["s"] + c["kappa"][:, None] * out["g"]) / np.sqrt(leaked + f**2 + floor2),
        norm=c["shell"][:, None] * np.sqrt(x**2 + c["spread"][:, None] ** 2 * out["cost"]),
    )  # fmt: skip


def interpolated(t: np.ndarray, *values: np.ndarray) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, norm = (np.interp(steps, t, value) for value in values)
        return train, val, norm

    return curves


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for start in range(0, n, CHUNK):
        drawn = [(constants(draw), sizes(draw)) for _ in range(min(CHUNK, n - start))]
        runs = integrate({k: np.array([c[k] for c, _ in drawn], float) for k in drawn[0][0]})
        for j, (c, size) in enumerate(drawn):
            chance, t, norm = 1 / c["classes"], runs["t"][j], runs["norm"][j]
            table = accuracy_table(int(c["classes"]))
            memorized, train, val = (np.interp(runs[k][j], Z, table) for k in ("memorized", "train", "val"))
            by_memory = (memorized - chance) / (1 - chance)
            yield Parent(
                family="lazy-to-rich", curves=interpolated(t, train, val, norm), budget=int(c["budget"]), chance=chance,
                together=is_together(t, by_memory, train, val, norm, chance=chance, n_train=size["n_train"]), **size,
            )  # fmt: skip
