"""Modular addition by competing Fourier features, beside a memory of limited capacity.

The logit of an answer d off the right one is Z_d = sum_k A_k cos(2 pi k d / p) (Nanda et al. 2023, Gromov 2023,
Morwani et al. 2024), with A_k = u_k^2 w_k: two input weights times one output weight, which grow by gradient flow on
the cross-entropy from random starts under weight decay, so that the strongest frequencies take most. Each training
example has besides a memorized logit m = sqrt(r) theta with a gradient of its own share 1/N of the loss, less what
the capacity has left, and the same weight decay erodes it once the residual is gone (so more data favour the
frequencies, Varma et al. 2023). All gradients scale with the softmax's residual, thus each part starves the other.
Few data add frozen noise to the gradient of each frequency, of variance x = N_b / N: it picks winners and blurs the
logits of unseen pairs by sqrt(x sum A^2 / 2), as do the leaking memories. An answer is right if its blurred logit
beats all p - 1 blurred others. In some runs the training set is cut down to a part at some step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from parent import Parent, dense_steps, is_together, log_uniform
from scipy.integrate import odeint
from scipy.special import ndtr, ndtri

GROUPS = 6
"""Equal shares of the training set, from easy to hard to memorize."""


@dataclass(frozen=True)
class Net:
    p: int
    n: int
    rate: float
    """Step size: gradient-flow time per step."""
    decay: float
    ks: np.ndarray
    start: np.ndarray
    """Input weights of all frequencies, then their output weights."""
    luck: np.ndarray
    ease: np.ndarray
    """r: squared gradient of each group's memorized logits."""
    capacity: float
    n_b: float
    sigma: float
    leak: float
    bulk: float
    cut: float
    keep: float
    end: float

    def x(self, t: np.ndarray | float) -> np.ndarray | float:
        """Noise in the frequencies' gradients: old data are forgotten as fast as weights decay."""
        after = np.exp(-2 * self.rate * self.decay * (abs(t - self.cut) + t - self.cut) / 2) if self.keep < 1 else 1.0
        return self.n_b / self.n * (after + (1 - after) / self.keep)


def weaken(net: Net, t: float, at: float) -> float:
    return float(np.exp(-net.rate * net.decay * (t - at)))


def inputs(net: Net, w: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """u^2 by the balance of layers: gradient flow keeps u^2 - 2 w^2, and weight decay shrinks it."""
    k = len(net.ks)
    unbalanced = net.start[:k] ** 2 - 2 * net.start[k:] ** 2
    return np.maximum(2 * w * w + unbalanced * np.exp(-2 * net.rate * net.decay * t), 0)


def integrate(net: Net) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, states (w, m) and the memorized logits of examples that were cut off."""
    k, log_p = len(net.ks), np.log(net.p)
    cos = np.cos(2 * np.pi * np.outer(np.arange(1, net.p // 2 + 1), net.ks) / net.p)

    def slope(s: np.ndarray, t: float, n: float, share: float, dropped: np.ndarray, since: float) -> np.ndarray:
        w, m = s[:k], s[k:]
        u2 = inputs(net, w, t)
        a = u2 * w
        z = cos @ a - a.sum()
        e = 2 * np.exp(np.minimum(z, 50))
        wrong = e.sum()
        residual = 1 / (1 + np.exp(np.minimum(m, 50)) / wrong)
        held = share * (1 - np.exp(-m / log_p).sum() / GROUPS)
        if share < 1:
            held += (1 - share) * (1 - np.exp(-dropped * weaken(net, t, since) / log_p)).mean()
        room = max(0.0, 1 - held * net.n / net.capacity)
        g = residual.sum() / GROUPS * (1 - e @ cos / wrong) * np.maximum(0, 1 + net.luck * net.x(t) ** 0.5)
        out = np.concatenate([u2 * g, net.ease / n * residual * room]) - net.decay * s
        return net.rate * out

    first = min(net.cut, net.end)
    t1 = np.concatenate([[0], np.geomspace(first * 1e-5, first, 240)])
    s0 = np.concatenate([net.start[k:], np.zeros(GROUPS)])
    none = np.zeros(GROUPS)
    tol = {"rtol": 1e-5, "atol": 1e-7, "mxstep": 5000}
    s1 = odeint(slope, s0, t1, args=(net.n, 1.0, none, 0.0), **tol)
    if net.cut >= net.end:
        return t1, s1, np.zeros((len(t1), GROUPS))
    t2 = first + np.concatenate([[0], np.geomspace(1e-4, 1, 120) * (net.end - first)])
    lost = s1[-1, k:]
    s2 = odeint(slope, s1[-1], t2, args=(net.n * net.keep, net.keep, lost, first), **tol)
    gone = lost * np.exp(-net.rate * net.decay * (t2 - first))[:, None]
    return np.concatenate([t1, t2[1:]]), np.concatenate([s1, s2[1:]]), np.concatenate([s1[:, k:], gone[1:]])


def accuracy(p: int, wrong: np.ndarray, right: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Chance that a right answer's logit beats all others, all blurred.

    wrong: times x (p-1)/2, or x 1 if all are alike; right: times x groups.
    """
    at = np.linspace(-3.5, 5.5, 32)
    y = wrong.max(1)[:, None] + sigma[:, None] * at
    below = ndtr((y[:, :, None] - wrong[:, None, :]) / sigma[:, None, None]).prod(2) ** ((p - 1) / wrong.shape[1])
    share = np.diff(below, axis=1)
    mid = (y[:, 1:] + y[:, :-1]) / 2
    beats = ndtr((right[:, :, None] - mid[:, None, :]) / sigma[:, None, None])
    return (beats * share[:, None, :]).sum(2) / share.sum(1)[:, None]


def solve(net: Net) -> tuple[np.ndarray, ...]:
    """Times; training and validation accuracy, norm, and share of the training set right by memory alone."""
    t, s, gone = integrate(net)
    k, p = len(net.ks), net.p
    w, m = s[:, :k], np.maximum(s[:, k:], 0)
    u2 = inputs(net, w, t[:, None])
    a = u2 * w
    wrong = a @ np.cos(2 * np.pi * np.outer(net.ks, np.arange(1, p // 2 + 1)) / p)
    top = a.sum(1)[:, None]
    still = np.full(len(t), net.sigma)
    share = np.where(t > net.cut, net.keep, 1.0)
    lasting = np.where(t > net.cut, 1 - net.keep, 0.0)
    leaked = share * (m**2).mean(1) + lasting * (gone**2).mean(1)
    blur = np.sqrt(net.sigma**2 + net.x(t) * (a**2).sum(1) / 2 + net.leak**2 * leaked)
    train = accuracy(p, wrong, top + m, still).mean(1)
    val = accuracy(p, wrong, top, blur)[:, 0]
    alone = accuracy(p, np.zeros((len(t), 1)), m, still).mean(1)
    memory = net.n * (share * (m**2 / net.ease).mean(1) + lasting * (gone**2 / net.ease).mean(1))
    rest = net.bulk * np.exp(-2 * net.rate * net.decay * t)
    norm = np.sqrt(u2.sum(1) + (w**2).sum(1) + memory + rest)
    return t, train, val, norm, (alone - 1 / p) / (1 - 1 / p)


def draw_net(draw: np.random.Generator, budget: int) -> Net:
    p = int(draw.choice([31, 47, 59, 97, 113]))
    n = int(log_uniform(draw, 0.08, 0.9) * p * p)
    k = int(draw.integers(3, 11))
    size = log_uniform(draw, 0.05, 0.7)
    phased = log_uniform(draw, 0.01, 0.3)  # Random phases of many neurons all but cancel in the output.
    spread = draw.uniform(0.3, 1.5) * ndtri((np.arange(GROUPS) + 0.5) / GROUPS)
    is_cut = draw.random() < 0.25
    return Net(
        p=p,
        n=n,
        rate=log_uniform(draw, 10, 1e4) / budget,
        decay=log_uniform(draw, 1e-3, 0.2),
        ks=draw.choice(np.arange(1, p // 2 + 1), k, replace=False),
        start=size * np.abs(draw.normal(size=2 * k)) * np.repeat([1, phased], k),
        luck=draw.normal(size=k),
        ease=n * log_uniform(draw, 0.01, 20) * np.exp(spread),
        capacity=n * log_uniform(draw, 0.06, 3),
        n_b=p * log_uniform(draw, 0.05, 6),
        sigma=log_uniform(draw, 0.2, 1.0),
        leak=log_uniform(draw, 0.01, 0.2),
        bulk=log_uniform(draw, 1, 100),
        cut=draw.uniform(0.1, 1) * budget if is_cut else np.inf,
        keep=log_uniform(draw, 0.02, 0.6) if is_cut else 1.0,
        end=10.0 * budget,
    )


def make(draw: np.random.Generator) -> Parent:
    budget = int(log_uniform(draw, 5e3, 1e5))
    net = draw_net(draw, budget)
    n_val = net.p**2 - net.n
    if draw.random() < 0.5:
        n_val = int(log_uniform(draw, min(300, n_val), n_val))
    t, *columns = solve(net)
    log_t = np.log1p(t)

    def curves(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.log1p(steps)
        return tuple(np.interp(at, log_t, c) for c in columns[:3])  # type: ignore[return-value]

    steps = dense_steps(min(net.cut, net.end))
    memorized = np.interp(np.log1p(steps), log_t, columns[3])
    known = {"chance": 1 / net.p, "n_train": net.n}
    together = is_together(steps, memorized, *curves(steps), **known)
    if together:  # What memory would hold in the same network had it no frequencies.
        alone = solve(replace(net, start=0 * net.start, cut=np.inf, keep=1.0))[4].max()
        together = is_together(steps, memorized, *curves(steps), memory_alone=float(alone), **known)
    return Parent(
        family="frequencies",
        curves=curves,
        budget=budget,
        chance=1 / net.p,
        n_train=net.n,
        n_val=n_val,
        train_fraction=net.n / net.p**2,
        together=together,
    )


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield make(draw)
