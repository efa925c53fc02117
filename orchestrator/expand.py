"""From a spec to the table of its runs.

The grid's first axis is the outermost; then come zip, sample, and the seeds innermost. What follows from several
hyperparameters together (a fraction of the table as a count, the filter, repeated runs) is settled here, on the
distinct combinations.
"""

import math
import os.path
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.axes import rounded
from orchestrator.checks import check
from orchestrator.errors import Fault, KeyPath, Problem, SpecError
from orchestrator.parquet_data import own_data
from orchestrator.run_table import Coded, RunTable, n_examples
from orchestrator.spec_model import MAX_RUNS, PLACES, Sample, SweepSpec
from orchestrator.spec_values import WITHOUT_OPERATION
from orchestrator.train_schedule import read_schedule
from results.objects import SCHEME
from trainers.config import DEFAULTS, FOUND_IN_DATA, WHEREABOUTS
from trainers.expressions import ExpressionError
from trainers.tasks import TABLE_FIELDS, DataError, idx
from trainers.train_sizes import Before, parse_before, write_before

__all__ = ["RunTable", "build_table", "expand", "find_factors", "missing_faults", "size_faults"]


@dataclass(frozen=True)
class Factor:
    """One dimension of the product: an axis, or axes that move together."""

    path: KeyPath
    fields: dict[str, list[Any]]
    """Fields of RunConfig, one value a point."""

    @property
    def n_points(self) -> int:
        return len(next(iter(self.fields.values())))


def expand(spec: SweepSpec) -> RunTable:
    """All runs of a sweep. Raises SpecError for what its keys may not say together."""
    factors = find_factors(spec)
    faults = size_faults(spec, factors)
    if not faults:
        table, faults = build_table(spec, factors)
    faults = faults or check(table, spec)
    if faults:
        problems = [Problem(where=spec.name, path=".".join(map(str, f.path)), message=f.message) for f in faults]
        raise SpecError(problems)
    return table


def build_table(spec: SweepSpec, factors: Sequence[Factor]) -> tuple[RunTable, list[Fault]]:
    """The table of a spec without size faults, and what is wrong with it."""
    unknown = {name: DEFAULTS[name] for name in FOUND_IN_DATA}
    table = _product(factors, {**unknown, **spec.base_values(), "seed": 0}, spec)
    table, faults = _with_tasks(table)
    if not faults:
        table, faults = _with_data(table)
    if not faults:
        table, faults = _with_counts(table)
    if not faults and spec.where is not None:
        table, faults = _filtered(table, spec.where)
    faults = faults or _duplicates(table, spec)
    return replace(table, axis_names=_columns_of(table.axis_names)), faults


def size_faults(spec: SweepSpec, factors: Sequence[Factor]) -> list[Fault]:
    """What keeps a spec from being multiplied out."""
    return missing_faults(spec) + _conflicts(factors) + _too_many(factors)


def missing_faults(spec: SweepSpec) -> list[Fault]:
    """What has no default and is no axis either."""
    missing = [n for n in ("steps", "train_size") if getattr(spec, n) is None and n not in spec.axis_paths()]
    return [Fault((name,), "is missing; give a number, or make it an axis of grid") for name in missing]


def find_factors(spec: SweepSpec) -> list[Factor]:
    """The dimensions that a sweep is the product of, the outermost first."""
    factors = [Factor(("grid", name), _fields(name, values, spec)) for name, values in spec.grid.items()]
    if spec.zip:
        factors.append(Factor(("zip",), _together(spec.zip, spec)))
    if spec.sample and spec.sample.axes:
        factors.append(Factor(("sample",), _together(_draw(spec.sample), spec)))
    if "seed" not in spec.axis_paths():
        factors.append(Factor(("seeds",), {"seed": list(spec.seeds)}))
    return factors


def _together(axes: Mapping[str, Sequence[Any]], spec: SweepSpec) -> dict[str, list[Any]]:
    together: dict[str, list[Any]] = {}
    for name, values in axes.items():
        together.update(_fields(name, values, spec))
    return together


def _fields(name: str, values: Sequence[Any], spec: SweepSpec) -> dict[str, list[Any]]:
    """The fields that an axis sets. `task`, `betas` and a schedule of train sizes may set several."""
    if name == "betas":
        return {"beta1": [pair[0] for pair in values], "beta2": [pair[1] for pair in values]}
    if name == "train_size" and any(isinstance(value, list | tuple) for value in values):
        return _schedule_fields(values, spec)
    if name != "task":
        return {name: list(values)}
    points = [value if isinstance(value, Mapping) else {"op": value} for value in values]
    base = spec.base_values()
    keys = {field: str(path[1]) for field, path in PLACES.items() if path[0] == "task"}
    used = [field for field, key in keys.items() if field == "task" or any(key in point for point in points)]
    return {field: [point.get(keys[field], base[field]) for point in points] for field in used}


def _schedule_fields(values: Sequence[Any], spec: SweepSpec) -> dict[str, list[Any]]:
    """A size beside schedules keeps what the base says of the time before it."""
    before = {"train_size_before": spec.train_size_before}
    points = [
        read_schedule(value, ())[0] if isinstance(value, list | tuple) else {"train_size": value, **before}
        for value in values
    ]
    return {name: [point[name] for point in points] for name in ("train_size", "train_size_before")}


def _draw(sample: Sample) -> dict[str, list[Any]]:
    """Each axis from a stream of its own name, so that another axis more leaves its values alone."""
    drawn = {}
    for name, written in sample.axes.items():
        [(kind, arguments)] = written.items()
        shares = np.random.default_rng([sample.seed, zlib.crc32(name.encode())]).random(sample.count)
        drawn[name] = _drawn(kind, arguments, shares)
    return drawn


def _drawn(kind: str, arguments: Sequence[Any], shares: npt.NDArray[np.float64]) -> list[Any]:
    """The values at these shares of a distribution. Counts are whole, both ends included."""
    if kind == "choice":
        return [arguments[i] for i in (shares * len(arguments)).astype(int).tolist()]
    low, high = arguments
    if isinstance(low, int) and kind == "uniform":
        return [low + int(share * (high - low + 1)) for share in shares.tolist()]
    values = low + shares * (high - low) if kind == "uniform" else low * (high / low) ** shares
    step = round if isinstance(low, int) else rounded
    return [min(high, max(low, step(value))) for value in values.tolist()]


def _conflicts(factors: Sequence[Factor]) -> list[Fault]:
    """Two axes that set the same hyperparameter."""
    owners: dict[str, KeyPath] = {}
    faults = []
    for factor in factors:
        for name in factor.fields:
            if name in owners:
                other = ".".join(map(str, owners[name]))
                faults.append(Fault(factor.path, f"{name} is set twice, here and by {other}", at_key=True))
            owners[name] = factor.path
    return faults


def _too_many(factors: Sequence[Factor]) -> list[Fault]:
    """Counted before anything is multiplied out."""
    n_runs = math.prod(factor.n_points for factor in factors)
    if n_runs <= MAX_RUNS:
        return []
    sizes = " x ".join(f"{factor.n_points:,} ({factor.path[-1]})" for factor in factors if factor.n_points > 1)
    message = f"{n_runs:,} runs; a sweep may have {MAX_RUNS:,}. The axes multiply: {sizes}"
    return [Fault(max(factors, key=lambda factor: factor.n_points).path, message, at_key=True)]


def _product(factors: Sequence[Factor], base: Mapping[str, Any], spec: SweepSpec) -> RunTable:
    n_runs = inner = math.prod(factor.n_points for factor in factors)
    coded = {name: Coded.constant(value, n_runs) for name, value in base.items()}
    for factor in factors:
        inner //= factor.n_points
        index = np.arange(n_runs) // inner % factor.n_points
        for name, values in factor.fields.items():
            coded[name] = Coded.of(values, index)
    names = [name for factor in factors for name in factor.fields if factor.path != ("seeds",)]
    return RunTable(n_runs, coded, tuple(names), _log_axes(spec))


def _log_axes(spec: SweepSpec) -> frozenset[str]:
    return frozenset(name for name, how in (spec.sample.axes if spec.sample else {}).items() if "loguniform" in how)


def _replaced(table: RunTable, name: str, values: Sequence[Any], index: npt.NDArray[Any]) -> RunTable:
    return replace(table, coded={**table.coded, name: Coded.of(values, index)})


def _with_tasks(table: RunTable) -> tuple[RunTable, list[Fault]]:
    """Labels without a rule, and images, have no operation."""
    combos, index = table.combinations(("task_kind", "task"))
    kinds = {name: kind for kind, name in WITHOUT_OPERATION.items()}
    faults = []
    for combo in combos:
        kind, task, stands_for = combo["task_kind"], combo["task"], kinds.get(combo["task"])
        if kind in WITHOUT_OPERATION and task not in (DEFAULTS["task"], WITHOUT_OPERATION[kind]):
            faults.append(Fault(PLACES["task"], f"{kind} has no operation; leave out `op: {task}`"))
        if kind not in WITHOUT_OPERATION and stands_for is not None:
            faults.append(Fault(PLACES["task"], f"{task} is not an operation; write `kind: {stands_for}`"))
    tasks = [WITHOUT_OPERATION.get(combo["task_kind"], combo["task"]) for combo in combos]
    return _replaced(table, "task", tasks, index), faults


def _with_data(table: RunTable) -> tuple[RunTable, list[Fault]]:
    """What a config says of images, or of a file of the user's, is read off these; of own code the spec says it."""
    source = ("folder", "file", "feature_columns", "target_columns")
    combos, index = table.combinations(("task_kind", *source, "input_size", "n_classes", "n_outputs"))
    facts, faults = [], []
    for combo in combos:
        said = {name: combo.pop(name) for name in ("input_size", "n_classes", "n_outputs")}
        if combo["task_kind"] == "code":
            facts.append({**{name: combo[name] for name in ("folder", "file")}, "data_sha256": None, **said})
            continue
        for name in (name for name, value in said.items() if value != DEFAULTS[name]):
            faults.append(Fault(PLACES[name], f"only `kind: code` needs {name}; {combo['task_kind']} knows it"))
        try:
            facts.append(_facts(**combo))
        except DataError as error:
            faults.append(Fault(PLACES["file" if combo["task_kind"] == "data" else "folder"], str(error)))
    if faults:
        return table, faults
    for name in ("folder", "file", *FOUND_IN_DATA):
        table = _replaced(table, name, [fact[name] for fact in facts], index)
    return table, []


def _facts(
    task_kind: str, folder: str | None, file: str | None, feature_columns: str, target_columns: str
) -> dict[str, Any]:
    if task_kind == "data":
        return {"folder": folder, **_facts_of_file(own_data.source(file, feature_columns, target_columns))}
    if task_kind != "images" or folder is None:
        if task_kind == "images":
            raise DataError("images need a folder: `task: {kind: images, folder: ...}`")
        return {"folder": folder, "file": file, **{name: DEFAULTS[name] for name in FOUND_IN_DATA}}
    path = absolute(folder)
    images = idx.load(path)
    return {
        **{name: DEFAULTS[name] for name in FOUND_IN_DATA},
        "folder": path,
        "file": file,
        "data_sha256": images.sha256,
        "input_size": images.pixels_NT.shape[1],
        "n_classes": images.n_classes,
    }


def _facts_of_file(source: own_data.Source) -> dict[str, Any]:
    path = absolute(source.file)
    data = own_data.load(source._replace(file=path))
    return {
        "file": path,
        "data_sha256": data.sha256,
        "input_size": data.features_NT.shape[1],
        "n_classes": data.n_classes if not data.n_outputs else DEFAULTS["n_classes"],
        "n_outputs": data.n_outputs,
    }


def absolute(folder: str, base: Path | None = None) -> str:
    """A folder as workers find it, wherever they run on this machine; relative to `base`, or to the current folder. An
    object store is found from everywhere."""
    if folder.startswith(SCHEME):
        return folder
    return str((base or Path()).absolute() / os.path.expanduser(folder))


def _columns_of(axis_names: Sequence[str]) -> tuple[str, ...]:
    """Tables name data by their hash, not by where they lie; and so does whoever draws them."""
    return tuple(dict.fromkeys("data_sha256" if name in WHEREABOUTS else name for name in axis_names))


def _with_counts(table: RunTable) -> tuple[RunTable, list[Fault]]:
    """Fractions of the table become counts, at least 1."""
    tables, _ = table.combinations(TABLE_FIELDS)
    faults = [fault for combo in tables for fault in _table_faults(combo)]
    if faults:
        return table, faults
    for name, count in (("train_size", _count), ("train_size_before", _counts_before)):
        combos, index = table.combinations((name, *TABLE_FIELDS))
        counts = [count(combo[name], combo) for combo in combos]
        table = _replaced(table, name, counts, index)
    return table, []


def _table_faults(combo: Mapping[str, Any]) -> Iterator[Fault]:
    path = PLACES["task"]
    if (combo["task_kind"] == "mixture") != bool(combo["members"]):
        yield Fault(path, "a mixture needs members, and only it has them: `task: {kind: mixture, members: {...}}`")
        return
    try:
        n_pairs = n_examples(combo)
    except ExpressionError as error:
        yield Fault(path, f"{combo['task']}: {error.message}")
        return
    if combo["task_kind"] == "code" and n_pairs < 2:
        yield Fault(PLACES["n_examples"], "say how many examples task() gives: `task: {kind: code, n_examples: ...}`")
        return
    if n_pairs < 2:
        of = (
            f"is defined for {n_pairs} pairs mod {combo['modulus']}"
            if combo["folder"] is None and combo["file"] is None
            else f"has {n_pairs} examples"
        )
        yield Fault(path, f"{combo['task']} {of}; two are the least")


def _count(train_size: int | float, table: Mapping[str, Any]) -> int:
    return train_size if isinstance(train_size, int) else max(1, round(train_size * n_examples(table)))


def _counts_before(text: str, table: Mapping[str, Any]) -> str:
    def count(size: str) -> int:
        if size == "all":
            return n_examples(table)
        return _count(float(size) if "." in size else int(size), table)

    return write_before([Before(str(count(entry.size)), entry.until) for entry in parse_before(text)])


def _filtered(table: RunTable, where: str) -> tuple[RunTable, list[Fault]]:
    try:
        holds = table.select(where)
    except ExpressionError as error:
        return table, [Fault(("where",), error.message)]
    if not holds.any():
        return table, [Fault(("where",), f"leaves none of {table.n_runs:,} runs")]
    return (table if holds.all() else table.take(holds)), []


def _duplicates(table: RunTable, spec: SweepSpec) -> list[Fault]:
    """Runs with equal configs would be one run with two places."""
    varying = [name for name, column in table.coded.items() if len(column.values) > 1]
    first, index = table.groups(varying)
    if len(first) == table.n_runs:
        return []
    order = np.argsort(index, kind="stable")
    second = int(order[1:][index[order][1:] == index[order][:-1]].min())
    shown = ", ".join(
        f"{name}={table.coded[name].values[table.coded[name].codes[second]]}" for name in table.axis_names
    )
    path: KeyPath = ("sample",) if spec.sample else ("zip",) if spec.zip else ("grid",)
    return [
        Fault(path, f"{table.n_runs - len(first):,} of {table.n_runs:,} runs repeat others, e.g. {shown}", at_key=True)
    ]
