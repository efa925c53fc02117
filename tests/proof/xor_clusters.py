"""Noisy clusters in high dimension: own noise first, the few signal directions later."""

from collections.abc import Iterator

import numpy as np
from parent import Curves, Parent, dense_steps, is_together, log_uniform, sizes
from scipy.special import ndtr, wrightomega

CLASSES = (2, 10, 31, 113)
MODES, GRID = 12, 1200
NODES = np.linspace(-6, 6, 49)
DENSITY = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """Benign and harmful overfitting of noisy clusters (after Xu et al. 2024, Cao et al. 2022, Advani & Saxe 2017).

    N examples of K clusters, a share of labels flipped, each with its own noise vector in d dimensions. A lazy part of
    the network fits by the noise vectors: gradient flow on squared loss under weight decay, whose kernel between
    examples has the Marchenko-Pastur spectrum of N/d, so that N > d leaves modes that no memory can fit. A feature
    part, s = (alignment)^2, starts near zero and grows by 2 s (k_s G - decay_s), G being the residual that the noise
    part leaves along the true labels; so noise may starve the signal, and decay may shift weight to it or away from
    it. The noise part fits A y - B z (y given labels, z true ones), in each mode mu by dA = k mu (1 - A) - decay A and
    dB = k mu (s - B) - decay B. Accuracies are those of Gaussian margins: in training, the diagonal of A and B against
    the crosstalk of other examples; on fresh examples, s against the spread within a cluster, the output at the start
    and the learnt noise weights, N/d E[(fit)^2 / mu], which flips and mu near 0 (N near d) make large (ungrokking by
    overfitting).
    """
    for _ in range(n):
        yield run(draw)


def run(draw: np.random.Generator) -> Parent:
    n_classes = int(draw.choice(CLASSES))
    budget = int(log_uniform(draw, 5e3, 1e5))
    size = sizes(draw)
    load = log_uniform(draw, 0.2, 7)  # N / d
    flips = 0.4 * draw.uniform() ** 1.5
    k = 1 / log_uniform(draw, 30, 3e4)  # noise, a step
    k_s = 1 / log_uniform(draw, 3, 3e3)  # signal, a step
    decay = log_uniform(draw, 1e-7, 1e-3)
    decay_s = decay * log_uniform(draw, 0.3, 100)  # groups of weights differ in it
    spread = log_uniform(draw, 0.03, 0.5)  # within a cluster, of the signal
    start = log_uniform(draw, 0.02, 0.3)  # output at the start
    s_0 = start * log_uniform(draw, 1e-5, 0.3)  # hidden in it
    norm_0 = log_uniform(draw, 0.03, 3)  # squared norm at the start, of what both fits need

    mu, share = spectrum(load)
    t = np.expm1(np.linspace(0, np.log1p(10 * budget), GRID))
    agree = 1 - flips - flips / (n_classes - 1)
    a, b, s = integrate(t, mu, share, k=k, k_s=k_s, decay=decay, decay_s=decay_s, agree=agree, s_0=s_0)

    mean_a = a @ share
    kept = start * np.exp(-decay * t)  # of the output at the start: fresh examples see it, training corrects it
    left = kept * (1 - mean_a)

    def power(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Variance in each class of a noise part that learnt modes x of the given and -y of the true labels."""
        flipped = x**2 + y**2 + 2 * x * y / (n_classes - 1)
        total = ((1 - flips) * (x - y) ** 2 + flips * flipped) / n_classes + spread**2 * y**2
        return total @ w

    def trained(signal: np.ndarray | float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Training accuracy where modes x, y are learnt and the signal is added."""
        own_x, own_y = x @ share, y @ share
        crosstalk = power(x, y, share) - power(own_x[:, None], own_y[:, None], np.ones(1))
        noise = np.sqrt(np.maximum(crosstalk, 0) + (spread * (signal - own_y)) ** 2 + left**2)
        clean = right(own_x + signal - own_y, 0 * own_x, noise, n_classes)
        return (1 - flips) * clean + flips * right(own_x, signal - own_y, noise, n_classes)

    weights = power(a, b, np.divide(share, mu, out=np.zeros_like(mu), where=mu > 0))
    train = trained(s, a, b)
    val = right(s, 0 * s, np.sqrt(load * weights + (spread * s) ** 2 + kept**2), n_classes)
    need = 1 / k + 2 / k_s
    norm = np.sqrt(norm_0 * need * np.exp(-2 * decay * t) + (n_classes * weights / k + 2 * s / k_s))
    chance = 1 / n_classes
    curves = interpolation(t, train, val, norm)
    by_memory = (trained(0.0, a, b) - chance) / (1 - chance)
    memory_alone = float(((trained(0.0, a, 0 * b) - chance) / (1 - chance)).max())  # A does not depend on s
    steps = dense_steps(10 * budget)
    memorized = np.interp(np.log1p(steps), np.log1p(t), by_memory)
    together = is_together(
        steps, memorized, *curves(steps), chance=chance, n_train=size["n_train"], memory_alone=memory_alone
    )
    return Parent(family="xor_clusters", curves=curves, budget=budget, chance=chance, together=together, **size)


def integrate(
    t: np.ndarray,
    mu: np.ndarray,
    share: np.ndarray,
    *,
    k: float,
    k_s: float,
    decay: float,
    decay_s: float,
    agree: float,
    s_0: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B of each mode and s at times t: A and B (with s of the step's end) exactly; log s by backward Euler."""
    rate = k * mu + decay
    a = k * mu / rate * -np.expm1(-t[:, None] * rate)
    step = np.diff(t)
    stay = np.exp(-step[:, None] * rate)
    come = k * mu / rate * (1 - stay)
    unfit, gain, q = agree * (1 - a @ share)[1:], 2 * k_s * step, 2 * k_s * step * (1 - come @ share)
    b, log_s = np.zeros_like(a), np.full(len(t), np.log(s_0))
    for i in range(len(step)):
        old = b[i] * stay[i]
        target = log_s[i] + gain[i] * (unfit[i] + old @ share) - 2 * decay_s * step[i]
        log_s[i + 1] = target - wrightomega(target + np.log(q[i]))  # solves x + q e^x = target
        b[i + 1] = old + come[i] * np.exp(log_s[i + 1])
    return a, b, np.exp(log_s)


def spectrum(load: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of N examples' noise kernel (mean 1) by Gauss-Chebyshev nodes, and their shares; N > d has zeros."""
    angle = np.arange(1, MODES + 1) * np.pi / (MODES + 1)
    mu = 1 + load + 2 * np.sqrt(load) * np.cos(angle)
    share = np.sin(angle) ** 2 / mu
    share *= min(1, 1 / load) / share.sum()
    return np.append(mu, 0.0), np.append(share, 1 - share.sum())


def right(own: np.ndarray, rival: np.ndarray, noise: np.ndarray, n_classes: int) -> np.ndarray:
    """Chance that the own class beats a rival one with a lead of its own and all the others, under noise in each."""
    lead = NODES + (own / noise)[:, None]
    return ndtr(lead) ** (n_classes - 2) * ndtr(lead - (rival / noise)[:, None]) @ DENSITY


def interpolation(t: np.ndarray, *values: np.ndarray) -> Curves:
    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, norm = (np.interp(np.log1p(steps), np.log1p(t), v) for v in values)
        return train, val, norm

    return curves
