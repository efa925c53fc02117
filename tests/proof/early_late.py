"""Simulated runs: a kernel solution first, which weight decay lets go of for a rich one."""

from collections.abc import Iterator

import numpy as np
from parent import Parent, is_together, log_uniform, sizes
from scipy.integrate import odeint
from scipy.special import expit, ndtr, ndtri

GRID = np.unique(np.concatenate([[0.0], np.geomspace(1e-6, 10, 600), np.linspace(0.01, 10, 400)]))
"""In budgets."""


class Net:
    """A diagonal network of depth L (weights w = a^L - b^L, a = b = alpha at first), gradient flow with weight decay.

    After Lyu et al. 2024: ab decays by itself, s = alpha^L exp(-L lambda eta t), down to a floor that gradient noise
    keeps, and w' = L eta (g (w^2 + 4 s^2)^(1 - 1/L) - lambda w) (exact for L = 2): linear (kernel) while s is large,
    multiplicative (rich) once s is small; g is the logistic loss's. Groups of weights have an alpha each, and leave
    the kernel regime at their own times: sparse features for each kind of example, a dense rule of many weak weights
    (kept only by the kernel when |g| < lambda in each, hence misgrokking), a shortcut that holds in training
    alone, and memory: n examples on d random features, gradient 1/sqrt(n) in each, cross-talk M sqrt(n/d) on fresh data
    and on what memory cannot reach; it reaches a share min(1, 2d/n) (smoothed), of lognormal ease. In some runs a part
    of the training labels is wrong (validation's are right). A feature found from n examples errs by n against its
    critical number.
    """

    def __init__(self, draw: np.random.Generator, budget: int, chance: float, n: int) -> None:
        self.budget, self.chance, self.n = budget, chance, n
        # The setting: any; sparse features of small start with short memory; or a dense teacher, the kernel's case.
        is_short, is_dense = [(False, False), (True, False), (False, True)][draw.choice(3, p=[0.35, 0.25, 0.4])]
        kinds = int(draw.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
        self.kinds, self.depth = kinds, int(draw.choice([2, 3], p=[0.7, 0.3]))
        self.d = n * log_uniform(draw, *((0.08, 0.5) if is_short else (0.2, 10)))
        gone = log_uniform(draw, *((0.001, 3) if is_short else (0.5, 60)))  # lambda eta times the budget
        self.decay = log_uniform(draw, 0.01, 0.25) / n**0.5 if is_dense else gone / log_uniform(draw, 500, 1e6)
        self.eta = gone / self.decay
        self.noise = log_uniform(draw, 0.3, 1.5)
        wrong = draw.choice([0.0, draw.uniform(0, 0.3)], p=[0.6, 0.4])
        reach = (1 + (2 * self.d / n) ** -4.0) ** -0.25
        ease = np.exp(draw.uniform(0.2, 1.2) * ndtri((np.arange(5) + 0.5) / 5))
        share = draw.dirichlet(np.full(kinds, 3.0))
        # Examples: kind x (right, wrong) x ease (the last: out of memory's reach).
        kind, sign, level = (x.ravel() for x in np.meshgrid(range(kinds), [1, -1], range(6), indexing="ij"))
        self.weight = share[kind] * np.where(sign > 0, 1 - wrong, wrong) * np.where(level < 5, reach / 5, 1 - reach)
        keep = self.weight > 0
        self.weight, kind, sign, level = self.weight[keep], kind[keep], sign[keep], level[keep]
        self.kind, self.share, self.null = kind, share, level == 5
        held = np.flatnonzero(~self.null)
        # Groups: sparse features by kind, the dense rule, the shortcut, memory.
        p_dense = n * log_uniform(draw, 1, 300)
        sparse = [log_uniform(draw, 1, 30) for _ in range(kinds)]
        clear = log_uniform(draw, 0.1, 5) * (log_uniform(draw, 1e-4, 0.1) if is_dense else 1)
        gain = [clear * log_uniform(draw, 0.5, 2) for _ in range(kinds)]
        dense = log_uniform(draw, 1.5, 20) * (1 if is_dense else log_uniform(draw, 1e-6, 1e-2))
        shortcut = log_uniform(draw, 0.01, 1) * (draw.random() < (0.8 if is_dense else 0.25))
        self.gain = np.array([*gain, dense, shortcut, *(ease[level[held]] * self.d / n)])
        self.bulk = np.array([*np.sqrt(sparse), p_dense**0.5, 1.0, *np.full(held.size, self.d / n**0.5)])
        alpha = log_uniform(draw, 0.1 if is_short else 0.01, 10)
        own = alpha * np.exp(-draw.uniform(4 if is_short else 0, 12) * draw.uniform(0.7, 1, size=kinds + 2))
        own[kinds:] = alpha * np.exp(-draw.uniform(0, [1, 6]))
        self.start = np.array([*own, *np.full(held.size, alpha)])
        self.floor = np.minimum(self.start, log_uniform(draw, 1e-8, 1e-3))
        critical = n / log_uniform(draw, 0.3, 60)
        power = draw.uniform(0.5, 2)
        self.snr = np.array([*[(n / critical / q**0.5 * 4) ** power for q in sparse], (1000 * n / p_dense) ** 0.5])
        # Margins are `reads` @ strengths.
        self.reads = np.zeros((self.weight.size, self.gain.size))
        self.reads[np.arange(kind.size), kind] = sign
        self.reads[:, kinds : kinds + 2] = sign[:, None]
        self.reads[held, kinds + 2 + np.arange(held.size)] = 1
        self.pull = (self.reads * self.weight[:, None]).T
        self.pull[kinds + 2 :] = (self.reads[:, kinds + 2 :] > 0).T
        self.pull *= self.gain[:, None]
        self.odds, self.power = np.log(1 / chance - 1), 1 - 1 / self.depth

    def scale(self, t: np.ndarray | float) -> np.ndarray:
        gone = np.exp(-self.depth * self.decay * self.eta * np.asarray(t))
        return np.multiply.outer(gone, self.start) + self.floor

    def run(self, generalizes: bool = True) -> np.ndarray:
        """Strength of each group on the grid, as it adds to the margin."""
        on = np.ones(self.gain.size)
        on[: self.kinds + 1] = generalizes
        rate, pull = self.depth * self.eta, self.pull * on[:, None]

        cross = self.weight[~self.null] * self.n / self.d * np.pi / 8

        def blur(x: np.ndarray) -> np.ndarray:
            """The loss of an example out of memory's reach is an average over the cross-talk of the others."""
            return np.where(self.null, (1 + cross @ x[self.kinds + 2 :] ** 2) ** 0.5, 1.0)

        def slope(x: np.ndarray, t: float) -> np.ndarray:
            wrong = expit((self.odds - self.reads @ x) / blur(x))
            size = (x / self.bulk) ** 2 + 4 * self.scale(t) ** 2
            return rate * ((pull @ wrong) * size**self.power - self.decay * x)

        def jacobian(x: np.ndarray, t: float) -> np.ndarray:
            wrong = expit((self.odds - self.reads @ x) / blur(x))
            size = (x / self.bulk) ** 2 + 4 * self.scale(t) ** 2
            j = -(pull * (wrong * (1 - wrong) / blur(x))) @ self.reads * (size**self.power)[:, None]
            own = (pull @ wrong) * self.power * size ** (self.power - 1) * 2 * x / self.bulk**2 - self.decay
            return rate * (j + np.diag(own))

        zero = np.zeros(self.gain.size)
        return odeint(slope, zero, GRID, Dfun=jacobian, rtol=1e-4, atol=1e-7, mxstep=20_000)

    def right(self, margin: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        return ndtr(margin / noise + ndtri(self.chance))

    def memorized(self, x: np.ndarray) -> np.ndarray:
        """The shortcut is memory as well: it holds of no fresh example."""
        rest = x.copy()
        rest[:, : self.kinds + 1] = 0
        right = self.right(rest @ self.reads.T, self.noise) @ self.weight
        return (right - self.chance) / (1 - self.chance)

    def accuracies(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        k = self.kinds
        found = x[:, : k + 1] / self.snr
        memory = x[:, k + 2 :] ** 2 @ (self.weight[~self.null])
        cross = self.noise**2 + memory * self.n / self.d + x[:, k + 1] ** 2
        noise = np.sqrt(found[:, :k] ** 2 + (found[:, k] ** 2 + cross)[:, None])
        val = self.right(x[:, :k] + x[:, k : k + 1], noise) @ self.share
        train = self.right(x @ self.reads.T, np.where(self.null, noise[:, self.kind], self.noise)) @ self.weight
        s = self.scale(GRID)
        size = ((x / self.bulk) ** 2 + 4 * s**2) ** (1 / self.depth)
        mass = (memory * self.n / self.d**2 + 4 * s[:, -1] ** 2) ** (1 / self.depth) * self.d
        return train, val, np.sqrt(size[:, : k + 2] @ self.bulk[: k + 2] ** 2 + mass)


def family(draw: np.random.Generator, n: int) -> Iterator[Parent]:
    for _ in range(n):
        yield parent(draw)


def parent(draw: np.random.Generator) -> Parent:
    budget = int(log_uniform(draw, 5e3, 1e5))
    chance = float(draw.choice([1 / 113, 1 / 31, 0.1, 0.5]))
    size = sizes(draw)
    net = Net(draw, budget, chance, size["n_train"])
    x = net.run()
    train, val, norm = net.accuracies(x)
    steps = GRID * budget

    def curves(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.interp(at, steps, train), np.interp(at, steps, val), np.interp(at, steps, norm)

    # Judged over the run or, where validation has not risen by then, over what would follow.
    risen = (val >= chance + (1 - chance) / 2).argmax()
    here = steps <= budget * next(k for k in (1, 3, 10) if k * budget >= steps[risen])
    about = {"chance": chance, "n_train": size["n_train"]}
    seen = (steps[here], net.memorized(x)[here], train[here], val[here], norm[here])
    together = is_together(*seen, **about)
    if together:
        alone = net.memorized(net.run(generalizes=False))[here].max()
        together = is_together(*seen, **about, memory_alone=float(alone))
    return Parent(family="early_late", curves=curves, budget=budget, chance=chance, together=together, **size)
