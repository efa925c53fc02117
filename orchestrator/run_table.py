"""The runs of a sweep as a table, held by columns: a million runs are a few arrays, and a RunConfig is built only for a
pack at work.

A column is dictionary-encoded (`Coded`): its distinct values, and for each run the number of its value. Whatever
depends on hyperparameters (filters, checks, table sizes, identities) is computed once for each combination of values
that occurs, not once for each run.
"""

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.filters import parse_filter
from trainers.config import DEFAULTS, FOLLOWS, RunConfig, canonical_fragments, hash_canonical
from trainers.expressions import Expression
from trainers.tasks import TABLE_FIELDS, table_size

Codes = npt.NDArray[np.int32]
CHUNK = 65536
MAX_JOINED = 4096
"""Combinations of neighbouring fields whose part of the canonical config is written once."""

STANDS_FOR = {
    "batch_size": "train_size",
    **FOLLOWS,
    "data_seed": "seed",
    "init_seed": "seed",
}
"""What an absent value means; filters see the meaning."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A column: values[codes[i]] is the value of run i."""

    values: tuple[Any, ...]
    codes: Codes

    @classmethod
    def of(cls, listed: Sequence[Any], index: npt.NDArray[Any]) -> "Coded":
        """Encode a short list of values; run i has listed[index[i]]."""
        numbers: dict[Any, int] = {}
        codes = np.array([numbers.setdefault(value, len(numbers)) for value in listed], dtype=np.int32)
        return cls(tuple(numbers), codes[index])

    @classmethod
    def constant(cls, value: Any, n_runs: int) -> "Coded":
        """The same for all runs; takes no memory."""
        return cls((value,), np.broadcast_to(np.int32(0), (n_runs,)))

    def take(self, rows: npt.NDArray[Any]) -> "Coded":
        """Some runs, and only the values that they have, in the old order."""
        if len(self.values) == 1:
            return Coded.constant(self.values[0], len(rows))
        used, codes = np.unique(self.codes[rows], return_inverse=True)
        return Coded(tuple(self.values[i] for i in used.tolist()), codes.astype(np.int32))

    def array(self) -> npt.NDArray[Any]:
        """The column itself: int64, float64 or bool where all values are, else Python objects."""
        types = {type(value) for value in self.values}
        dtype = {int: np.int64, float: np.float64, bool: np.bool_}.get(next(iter(types))) if len(types) == 1 else None
        values: npt.NDArray[Any] = np.empty(len(self.values), dtype=dtype or object)
        values[:] = self.values
        return np.asarray(values[self.codes])


@dataclass(frozen=True, eq=False)
class RunTable:
    """All runs of a sweep, in order."""

    n_runs: int
    coded: Mapping[str, Coded]
    """Every field of RunConfig."""
    axis_names: tuple[str, ...]
    """The columns that the spec's axes decide, the outermost first."""
    log_axes: frozenset[str] = frozenset()
    """Axes drawn log-uniformly."""

    @functools.cached_property
    def fixed(self) -> dict[str, Any]:
        """Fields of RunConfig that are equal for all runs."""
        return {name: column.values[0] for name, column in self.coded.items() if len(column.values) == 1}

    @functools.cached_property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The other fields, one entry a run."""
        return {name: column.array() for name, column in self.coded.items() if len(column.values) > 1}

    @functools.cached_property
    def axes(self) -> dict[str, list[Any]]:
        """The distinct values of each axis, in the order of the spec."""
        return {name: list(self.coded[name].values) for name in self.axis_names}

    @functools.cached_property
    def scales(self) -> dict[str, str]:
        """linear, log or category, for each axis."""
        return {n: "log" if n in self.log_axes else scale(values) for n, values in self.axes.items()}

    def config(self, row: int) -> RunConfig:
        return RunConfig(**{name: column.values[column.codes[row]] for name, column in self.coded.items()})

    def configs(self, rows: Iterable[int]) -> list[RunConfig]:
        return [self.config(int(row)) for row in rows]

    def run_ids(self) -> npt.NDArray[np.str_]:
        """RunConfig.run_id of every run."""
        return self._run_ids

    @functools.cached_property
    def _run_ids(self) -> npt.NDArray[np.str_]:
        ids = np.empty(self.n_runs, dtype="U16")
        parts = _fragments(self.coded)
        for start in range(0, self.n_runs, CHUNK):
            columns = [[part.values[code] for code in part.codes[start : start + CHUNK].tolist()] for part in parts]
            rows = zip(*columns, strict=True)
            ids[start : start + CHUNK] = [hash_canonical([text for text in row if text]) for row in rows]
        ids.setflags(write=False)
        return ids

    def combinations(self, names: Sequence[str]) -> tuple[list[dict[str, Any]], npt.NDArray[np.int64]]:
        """The distinct combinations of these fields that occur, and for each run the number of its own."""
        first, inverse = self.groups(names)
        if not names:
            return [{}], inverse
        columns = [[self.coded[n].values[code] for code in self.coded[n].codes[first].tolist()] for n in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)], inverse

    def groups(self, names: Collection[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The first run of each distinct combination of these fields, and for each run the number of its own."""
        keys = self._keys(names)
        if keys is None:
            return np.zeros(1, dtype=np.int64), np.zeros(self.n_runs, dtype=np.int64)
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        return first, inverse

    def _keys(self, names: Collection[str]) -> npt.NDArray[np.int64] | None:
        """A number for each run, equal where these fields are; None if they are the same for all."""
        varying = [self.coded[name] for name in names if len(self.coded[name].values) > 1]
        if not varying:
            return None
        keys, bound = np.zeros(self.n_runs, dtype=np.int64), 1
        for column in varying:
            if bound * len(column.values) >= 2**62:
                keys = np.unique(keys, return_inverse=True)[1].astype(np.int64)
                bound = self.n_runs
            keys, bound = keys * len(column.values) + column.codes, bound * len(column.values)
        return keys

    def select(self, condition: Expression | str) -> npt.NDArray[np.bool_]:
        """For which runs a filter holds. Raises ExpressionError."""
        filter_ = parse_filter(condition) if isinstance(condition, str) else condition
        combos, inverse = self.combinations(_fields_behind(filter_.names))
        env = {name: [_meaning(combo, name) for combo in combos] for name in filter_.names}
        return np.broadcast_to(filter_.holds(env), (len(combos),))[inverse]

    def take(self, rows: npt.NDArray[Any]) -> "RunTable":
        """The table of some of the runs: row numbers in order, or a mask."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        coded = {name: column.take(rows) for name, column in self.coded.items()}
        return RunTable(len(rows), coded, self.axis_names, self.log_axes)


def _fields_behind(names: Collection[str]) -> list[str]:
    """The fields that the meaning of these names depends on."""
    behind = {"train_fraction": ("train_size", *TABLE_FIELDS)}
    found = [f for n in sorted(names) for f in behind.get(n, (n, STANDS_FOR[n]) if n in STANDS_FOR else (n,))]
    return list(dict.fromkeys(found))


def _meaning(combo: Mapping[str, Any], name: str) -> Any:
    if name == "train_fraction":
        return combo["train_size"] / n_examples(combo)
    value = combo[name]
    return combo[STANDS_FOR[name]] if value is None and name in STANDS_FOR else value


EVEN, ROUNDED = 0.01, 0.15
"""Share by which gaps that count as equal may differ: as computed, and as people round them."""


def scale(values: Sequence[Any]) -> str:
    """How an axis is drawn: log if it is geometric (over a decade nearly so: 1, 3, 10) or spans two decades, linear for
    other numbers, else category. A zero beside a span of two decades fits on neither."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "category"
    ordered = sorted(values)
    positive = [value for value in ordered if value > 0]
    spans_decades = len(positive) > 1 and positive[-1] >= 100 * positive[0]
    if spans_decades and len(positive) < len(ordered):
        return "linear" if _is_even([b - a for a, b in pairwise(ordered)]) else "category"
    if len(positive) == len(ordered) > 2:
        ratios = [b / a for a, b in pairwise(ordered)]
        if _is_even(ratios, ROUNDED if ordered[-1] >= 10 * ordered[0] else EVEN):
            return "log"
    return "log" if spans_decades else "linear"


def _is_even(gaps: Sequence[float], within: float = EVEN) -> bool:
    return max(gaps) - min(gaps) <= within * max(gaps)


def n_examples(fields: Mapping[str, Any]) -> int:
    """Size of the table of runs with these fields; absent ones are at their default, and only TABLE_FIELDS count.
    Remembered. Raises ExpressionError for an operation that has no value, DataError for a folder without images."""
    return _n_examples(tuple(fields.get(name, DEFAULTS[name]) for name in TABLE_FIELDS))


@functools.lru_cache(maxsize=1024)
def _n_examples(values: tuple[Any, ...]) -> int:
    return table_size(RunConfig.model_construct(**dict(zip(TABLE_FIELDS, values, strict=True))))


# Identity


def _fragments(coded: Mapping[str, Coded]) -> list[Coded]:
    """The canonical config of every run in a few encoded columns of text: a fragment is made once for each distinct
    value, and neighbouring fields are joined while their combinations are few."""
    parts: list[Coded] = []
    for name in sorted(coded):
        column = coded[name]
        texts = tuple(",".join(canonical_fragments({name: value})) for value in column.values)
        part = Coded(texts, column.codes)
        if parts and len(parts[-1].values) * len(texts) <= MAX_JOINED:
            parts[-1] = _joined(parts[-1], part)
        else:
            parts.append(part)
    return parts


def _joined(left: Coded, right: Coded) -> Coded:
    values = tuple(",".join(text for text in (a, b) if text) for a in left.values for b in right.values)
    if len(right.values) == 1:
        return Coded(values, left.codes)
    codes = right.codes if len(left.values) == 1 else left.codes * np.int32(len(right.values)) + right.codes
    return Coded(values, codes)
