"""Which runs may share a pack: equal shapes, and on the full set train sizes that are worth padding to one. Pure.

Each train size of a shape begins as a band of its own. A band joins the next larger one where that is estimated to be
cheaper: padding costs arithmetic, and lanes that stay empty or share their dispatch with fewer others cost more.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.costs import CostModel
from orchestrator.run_table import RunTable
from trainers.config import SHAPE_FIELDS, SWITCHES, RunConfig, is_on
from trainers.trace import Engine
from trainers.train_sizes import phases

PADDING_LIMIT = 1.25
"""Padded over real training examples of a pack, at most."""
MAX_LANES = 2**31
"""Where memory is not known."""
START_S = 2.0
"""Start of a pack in a warm process: tasks, tensors, first step."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Runs that could all share one pack, largest train size first, then longest budget."""

    indices: np.ndarray
    steps: np.ndarray
    config: RunConfig
    """The dearest run, which the others are padded to."""
    engine: Engine = "eager"


def find_bands(table: RunTable, cost: CostModel) -> list[Band]:
    """Group runs by shape key, then by similar train size."""
    steps = _column(table, "steps", np.int64)
    sizes = _largest_sizes(table)
    bands = []
    for group in shape_groups(table):
        # lexsort is stable, so runs keep the order of the spec within equal sizes and budgets.
        ordered = group[np.lexsort((-steps[group], -sizes[group]))]
        if table.config(int(ordered[0])).is_full_batch:
            edges = [0, *(np.flatnonzero(np.diff(sizes[ordered])) + 1).tolist(), len(ordered)]
            bands += _merged([_band(table, steps, ordered[a:b]) for a, b in itertools.pairwise(edges)], cost)
        else:
            bands.append(_band(table, steps, ordered))
    return bands


def _band(table: RunTable, steps: np.ndarray, rows: np.ndarray) -> Band:
    return Band(indices=rows, steps=steps[rows], config=table.config(int(rows[0])))


def _merged(bands: list[Band], cost: CostModel) -> list[Band]:
    """Neighbours joined where that is cheaper, the largest train size first."""
    found: list[Band] = []
    real = 0
    for band in bands:
        real_here = len(band.indices) * band.config.largest_train_size
        if found:
            joined = _joined(found[-1], band)
            padded = len(joined.indices) * joined.config.largest_train_size
            is_cheaper = _seconds(joined, cost) <= _seconds(found[-1], cost) + _seconds(band, cost)
            if is_cheaper and padded <= PADDING_LIMIT * (real + real_here):
                found[-1], real = joined, real + real_here
                continue
        found.append(band)
        real = real_here
    return found


def _joined(larger: Band, smaller: Band) -> Band:
    return Band(
        indices=np.concatenate([larger.indices, smaller.indices]),
        steps=np.concatenate([larger.steps, smaller.steps]),
        config=larger.config,
    )


def _seconds(band: Band, cost: CostModel) -> float:
    """As one pack: full rounds of lanes, some of them idle in the last."""
    lanes = best_lanes(band, len(band.indices), cost)
    rounds = -(-len(band.indices) // lanes)
    per_step = lanes * cost.seconds_per_run_step(band.config, lanes, band.engine)
    return START_S + rounds * float(band.steps.mean()) * per_step


def most_wanted(preferred: int) -> int:
    """Lanes that are still near enough to the preferred number."""
    return preferred + preferred // 2


def best_lanes(band: Band, n_runs: int, cost: CostModel, most: int = MAX_LANES) -> int:
    """Of the lane counts near the preferred one, at most `most`, that which is cheapest for so many runs of a band:
    lanes that idle in the last round cost what the others do."""
    wanted = cost.preferred_lanes(band.config, band.engine)
    fewest_rounds = -(-n_runs // min(most, most_wanted(wanted)))
    enough_rounds = -(-n_runs // min(most, wanted)) + 1
    choices = sorted({-(-n_runs // rounds) for rounds in range(fewest_rounds, min(enough_rounds, n_runs) + 1)})

    def seconds(lanes: int) -> float:
        return -(-n_runs // lanes) * lanes * cost.seconds_per_run_step(band.config, lanes, band.engine)

    return min(choices, key=seconds)


def shape_groups(table: RunTable) -> list[np.ndarray]:
    """Row numbers of runs with equal `shape_key`, groups in the order of their first run."""
    combinations, codes = table.combinations(SHAPE_FIELDS)
    for column in _further_shape_columns(table):
        values, inverse = np.unique(column, return_inverse=True)
        # Renumbering after each column keeps the codes below n_runs, so they cannot overflow.
        codes = np.unique(codes * len(values) + inverse, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    assert len(groups) >= len(combinations)
    return sorted(groups, key=lambda group: int(group[0]))


def _further_shape_columns(table: RunTable) -> Iterable[np.ndarray]:
    """What shape_key has beside SHAPE_FIELDS, by columns; a test holds the two together."""
    sizes = _largest_sizes(table)
    batches = np.asarray([0 if value is None else value for value in _values(table, "batch_size")], dtype=np.int64)
    yield np.where((batches == 0) | (batches >= sizes), 0, batches)
    for name in SWITCHES:
        yield np.broadcast_to([is_on(name, value) for value in _values(table, name)], (table.n_runs,))


def _largest_sizes(table: RunTable) -> np.ndarray:
    """Of each run's training sets."""
    names = ("train_size", "train_size_before", "members")
    combos, index = table.combinations(names)
    sizes = [max(phase.size for phase in phases(*(combo[name] for name in names))) for combo in combos]
    return np.asarray(sizes, dtype=np.int64)[index]


def _values(table: RunTable, name: str) -> list[Any]:
    """The column as a list, of length 1 if all runs agree."""
    if name in table.columns:
        values: list[Any] = table.columns[name].tolist()
        return values
    return [table.fixed[name]]


def _column(table: RunTable, name: str, dtype: type) -> np.ndarray:
    return np.broadcast_to(np.asarray(_values(table, name), dtype=dtype), (table.n_runs,))
