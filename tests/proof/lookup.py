"""Runs of an associative memory beside an algorithmic circuit: family `lookup`."""

from collections.abc import Iterator

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import log_ndtr

CLASSES = (2, 10, 31, 113)
GROUPS = 16
"""Modes of the memory are followed in so many groups of neighbouring rank."""
SNR = np.concatenate([np.linspace(0, 12, 1201), [1e9]])
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)


def right_share(n_classes: int) -> np.ndarray:
    """P(the true class's logit is the largest) by signal-to-noise ratio (`SNR`), independent Gaussian noise."""
    z = np.linspace(-8, 8, 801)
    wins = np.exp(-(z**2) / 2 + (n_classes - 1) * log_ndtr(z + SNR[:, None]))
    return wins.sum(1) * (z[1] - z[0]) / np.sqrt(2 * np.pi)


RIGHT = {c: right_share(c) for c in CLASSES}


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    """Gradient flow on one squared loss with weight decay, of the sum of a linear key-value memory (Kohonen, Hopfield;
    feed-forward layers as memories, Geva et al. 2021) and of a circuit of two components, of strength A = s a b on the
    share q of inputs that it covers (two-layer saddle, Saxe et al.; induction heads, Olsson et al. 2022).

    The memory has d dimensions and a power-law key spectrum; in mode lambda it fits what the circuit leaves:
    m' = lambda (1 - A - m) - w m, and on uncovered inputs u' = lambda (1 - u) - w u. An example is right if its signal
    (A + mean m) beats the Gaussian crosstalk of all other stored ones, of variance mean m^2 - (mean m)^2; a fresh
    input gets A and the crosstalk only. The components follow a' = q s r b - w a, b' = q s r a - w b with
    r = 1 - A - mean m: from a small start they grow slowly, then abruptly, and they live on only if memory leaves
    r > w / (q s), so that too few data kill even a learned circuit (efficiency and critical data size, Varma et al.
    2023). Some runs are that paper's retraining: a network that has the circuit gets few data for its memory.
    """
    for _ in range(n):
        yield one(draw)


def one(draw: np.random.Generator) -> Parent:
    budget, size, n_classes = int(log_uniform(draw, 5e3, 1e5)), sizes(draw), int(draw.choice(CLASSES))
    n, p, retrained = size["n_train"], 1 / n_classes, draw.random() < 0.38
    dims = log_uniform(draw, n, 10 * n) if retrained else log_uniform(draw, 3, 3e4)
    modes = min(float(n), dims)
    rank = np.geomspace(1, modes + 1, GROUPS + 1)
    share = np.diff(rank) / modes  # of the modes that are not empty
    rates = np.sqrt(rank[1:] * rank[:-1]) ** -draw.uniform(0, 1.3)
    rates /= share @ rates  # in units of their mean
    share *= modes / n  # of all n, the empty ones hold nothing
    decay, efficiency = log_uniform(draw, 1e-4, 1), log_uniform(draw, 0.07, 100)  # both to the memory's mean rate
    cover = 1.0 if draw.random() < (0.8 if retrained else 0.35) else draw.uniform(0.2, 1)
    memory_speed = 1 / log_uniform(draw, 3, 2e3)  # per step
    circuit_speed = 1 / log_uniform(draw, 150, 1e4) / efficiency
    start = np.exp(draw.normal(-4, 1.5, 2)) if not retrained else draw.uniform(0.6, 1, 2)  # sqrt(s) a, b
    first_noise, jitter, spread = log_uniform(draw, 0.03, 3), log_uniform(draw, 1e-3, 0.1), draw.uniform(0, 0.6)
    rest = log_uniform(draw, 0.03, 3)  # squared norm of weights that take no part

    def strength(log_sum: np.ndarray, log_gap: np.ndarray) -> np.ndarray:
        return (np.exp(2 * np.minimum(log_sum, 3)) - np.exp(2 * np.minimum(log_gap, 3))) / 4

    def flow(y: np.ndarray, _: float) -> np.ndarray:
        left = 1 - strength(y[-2], y[-1])
        drive = cover * efficiency * (left - share @ y[:-2])
        memory = memory_speed * (rates * (left - y[:-2]) - decay * y[:-2])
        return np.append(memory, [circuit_speed * (drive - decay), -circuit_speed * (drive + decay)])

    steps = np.unique(
        np.concatenate([np.expm1(np.linspace(0, np.log1p(10 * budget), 1500)), np.linspace(0, 10 * budget, 1000)])
    )
    first = np.concatenate([np.zeros(GROUPS), np.log([start.sum(), abs(start[0] - start[1]) + 1e-9])])
    y = odeint(flow, first, steps, rtol=1e-6, atol=1e-7, mxstep=5000)
    circuit, m = strength(y[:, -2], y[:, -1]), y[:, :-2]
    fading = np.exp(-memory_speed * np.outer(steps, rates + decay))
    u = rates / (rates + decay) * (1 - fading)  # also what memory does where nothing generalizes
    old = np.exp(-2 * memory_speed * decay * steps)
    m_mean, u_mean, m_square, u_square = m @ share, u @ share, m**2 @ share, u**2 @ share
    seen_old = first_noise**2 * (fading**2 @ share + (1 - share.sum()) * old) + jitter**2
    m_noise, u_noise = (np.maximum(square - mean**2, 0) for square, mean in ((m_square, m_mean), (u_square, u_mean)))
    noise = cover * m_noise + (1 - cover) * u_noise + seen_old
    new_noise = min(1, n / dims) * (cover * m_square + (1 - cover) * u_square) + first_noise**2 * old + jitter**2

    def right(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
        return np.interp(signal / np.sqrt(p * noise), SNR, RIGHT[n_classes])

    def seen(added: np.ndarray | float, memory: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Accuracy on stored examples, whose keys differ in strength."""
        each = [right(added + memory * np.exp(spread * z), noise) for z in NODES]
        return WEIGHTS @ np.array(each) / WEIGHTS.sum()

    uncovered = (1 - cover) * seen(0.0, u_mean, noise)
    train = cover * seen(circuit, m_mean, noise) + uncovered
    memorized = (cover * seen(0.0, m_mean, noise) + uncovered - p) / (1 - p)
    alone = (seen(0.0, u_mean, u_noise + seen_old).max() - p) / (1 - p)
    val = cover * right(circuit, new_noise) + (1 - cover) * p
    stored = (1 - p) * (cover * m**2 + (1 - cover) * u**2) @ (share / rates)
    parts = (np.exp(2 * y[:, -2]) + np.exp(2 * y[:, -1])) / 2 / efficiency
    norm = np.sqrt(modes * (stored + parts + rest * old))
    log_steps = np.log1p(steps)

    def curves(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x = np.log1p(np.asarray(at, float))
        return tuple(np.interp(x, log_steps, curve) for curve in (train, val, norm))

    fine = dense_steps(10 * budget)
    together = is_together(
        fine, np.interp(np.log1p(fine), log_steps, memorized), *curves(fine), chance=p, n_train=n, memory_alone=alone
    )
    return Parent(family="lookup", curves=curves, budget=budget, chance=p, together=together, **size)
