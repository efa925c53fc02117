"""The group of all permutations of 3, 4 or 5 things, S3 to S5 (Power et al. 2022: xy, xyx⁻¹ and xyx in S5; Liu et al.
2022: S3).

An example is an ordered pair of elements. Elements are numbered as itertools.permutations lists them, 0 being the
identity; a * b is b first, then a: (a * b)(x) = a(b(x)).
"""

import functools
import itertools

import numpy as np

from trainers.config import RunConfig
from trainers.expressions import OPERANDS, Group, parse
from trainers.tasks.data import Ints, Table
from trainers.tasks.modular import all_pairs


@functools.lru_cache(maxsize=4)
def group(symbols: int) -> Group:
    elements = list(itertools.permutations(range(symbols)))
    number = {element: index for index, element in enumerate(elements)}
    product = np.array([[number[tuple(a[x] for x in b)] for b in elements] for a in elements], dtype=np.int64)
    return Group(product=product, inverse=np.argmin(product, axis=1))  # the identity is number 0


@functools.lru_cache(maxsize=64)
def labels(task: str, symbols: int) -> Ints:
    """(n!²,). Raises ExpressionError."""
    pairs = all_pairs(len(group(symbols).inverse))
    found = parse(task, OPERANDS).evaluate_group({"a": pairs[:, 0], "b": pairs[:, 1]}, group(symbols))
    found.setflags(write=False)  # shared by all runs of the process
    return found


def table_size(task: str, symbols: int) -> int:
    return len(labels(task, symbols))


def table(config: RunConfig) -> Table:
    n_elements = len(group(config.symbols).inverse)
    return Table(inputs_NT=all_pairs(n_elements), labels_N=labels(config.task, config.symbols), n_classes=n_elements)
