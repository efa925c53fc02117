"""Labels without a rule, on the inputs of modular arithmetic: only memorizing helps (Huang et al. 2024, section 3).

Symmetric labels are equal for (a, b) and (b, a), as those of a commutative operation are, so that the number of
separate facts is the same as there.
"""

import numpy as np

from trainers.config import RunConfig
from trainers.streams import generator
from trainers.tasks.data import Table
from trainers.tasks.modular import all_pairs


def table_size(modulus: int) -> int:
    return modulus**2


def table(config: RunConfig) -> Table:
    p = config.modulus
    rng = generator(config.seed_of_data, "random_labels")
    grid = rng.integers(0, p, (p, p))
    if config.symmetric:
        grid = np.tril(grid) + np.tril(grid, -1).T
    return Table(inputs_NT=all_pairs(p), labels_N=grid.reshape(-1), n_classes=p)
