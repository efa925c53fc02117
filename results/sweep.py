"""Reading a sweep: `open_sweep("sweeps/NAME")`, then `.runs()`, `.traces(width=32)`, `.labels()` as DataFrames.

What has been published is read from `traces/`; what is committed of other runs, from their packs' live segments.
Which files these are is read off one look at each pack's header, so that a run which ends meanwhile is there once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from results import schema, tables
from results.errors import DamagedError, MissingError
from results.headers import Header, RunOutcome, StoredFile
from results.objects import ObjectPath
from results.pack_store import PackStore
from results.places import Place, below, one_look, relative
from results.select import check_names, condition, listed
from results.store import SweepStore

OUTCOME_TYPES = {
    "outcome": pa.string(),
    "stopped_at": pa.int64(),
    "wall_s": pa.float64(),
    "n_parameters": pa.int64(),
}


TrainingSets = Callable[[str], list[tuple[int, int]]]
"""The operands of each training example of a run, by its id. The store does not hold them; they follow from the run's
config, by code that results does not import."""


def open_sweep(path: str | Place) -> "Sweep":
    """The sweep in a folder, or in `s3://bucket/prefix`, finished or not. Raises MissingError if there is none."""
    store = SweepStore(path)
    store.read_plan()
    return Sweep(store)


class Sweep:
    """A sweep's tables, narrowed by column values: `width=32`, `learning_rate=1e-3`, `seed=[0, 1]`, `batch_size=None`.

    Numbers with a fraction match to nine digits. A name that isn't a column raises ValueError.
    """

    def __init__(self, store: SweepStore) -> None:
        store.require_text_path()
        self.store = store

    def __repr__(self) -> str:
        return f"<Sweep {self.plan['name']} in {self.store.root}>"

    @property
    def plan(self) -> dict[str, Any]:
        """The frozen plan: packs, axes, columns."""
        return self.store.read_plan()

    @property
    def spec(self) -> dict[str, Any]:
        """The resolved spec."""
        spec: dict[str, Any] = self.plan["spec"]
        return spec

    @property
    def n_planned(self) -> int:
        """Runs of the plan, whether or not they have ended."""
        return sum(len(pack["runs"]["run_id"]) for pack in self.plan["packs"])

    def runs(self, **where: Any) -> pd.DataFrame:
        """One row a run of the plan; `outcome` is null while it has not ended."""
        return _frame(self.runs_table(), where)

    def settings(self) -> pd.DataFrame:
        """All that decides how each planned run is trained, by the spec's names: also what the tables leave out."""
        parts = [pd.DataFrame({**pack["fixed"], **pack["runs"]}) for pack in self.plan["packs"]]
        return pd.concat(parts, ignore_index=True)

    def labels(self, **where: Any) -> pd.DataFrame:
        """One row a labelled run; none before the sweep is labelled."""
        return _frame(self.labels_table(), where)

    def sensitivity(self) -> pd.DataFrame:
        """How much the labels hang on each knob, a row a knob; none before `grokctl label --sensitivity`."""
        path = self.store.table_path("sensitivity")
        return tables.read(path).to_pandas() if path.exists() else pd.DataFrame()

    def critical(self, **where: Any) -> pd.DataFrame:
        """One row for each quantity that `grokctl critical` found; none before it ran."""
        return _frame(self.critical_table(), where)

    def traces(
        self, columns: Sequence[str] | None = None, *, include_running: bool = True, **where: Any
    ) -> pd.DataFrame:
        """One row an evaluated step of a run, with these columns or all. A run's rows are together and ordered.

        `include_running` adds the committed part of runs that have not ended.
        """
        check_names(columns or (), self.trace_schema)
        chosen = condition(where, self.trace_schema)
        run_ids = _named(where)
        dataset = self._dataset("traces", self.trace_schema, include_running, run_ids)
        return self.frame_of(dataset, columns, chosen)

    def measures(
        self, columns: Sequence[str] | None = None, *, include_running: bool = True, **where: Any
    ) -> pd.DataFrame:
        """One row a number of what `measures:` of the spec names: run_id, step, name, layer, index, value.

        `where` may also name columns of the runs, as in `.measures(name="norms", width=32)`.
        """
        kind = schema.further_schema("measures")
        check_names(columns or (), kind)
        within = {name: value for name, value in where.items() if name in kind.names}
        of_runs = {name: value for name, value in where.items() if name not in kind.names}
        chosen = condition(within, kind)
        run_ids = _named(where)
        if of_runs:
            theirs = self.runs(**of_runs)["run_id"]
            run_ids = set(theirs)
            is_theirs = pc.field("run_id").isin(pa.array(theirs, pa.string()))
            chosen = is_theirs if chosen is None else chosen & is_theirs
        dataset = self._dataset("measures", kind, include_running, run_ids)
        return self.frame_of(dataset, columns, chosen)

    def snapshots(self, run_id: str, name: str = "embed.weight") -> dict[int, np.ndarray]:
        """A parameter of one run at each step at which it was kept (`snapshots:` of the spec), by step, ascending.

        Raises MissingError if there is none, with what there is.
        """
        dataset = self._dataset("snapshots", schema.further_schema("snapshots"), run_ids={run_id})
        rows = dataset.to_table(filter=pc.field("run_id") == run_id)
        here = rows.filter(pc.field("name") == name).sort_by("step")
        if not len(here):
            kept = ", ".join(sorted(set(rows["name"].to_pylist()))) or "none of this run"
            raise MissingError(f"{self.store.root} holds no snapshots of {name} of run {run_id}; there are: {kept}")
        arrays = (row.values.to_numpy() for row in here["values"])
        shaped = (array.reshape(shape) for array, shape in zip(arrays, here["shape"].to_pylist(), strict=True))
        return dict(zip(here["step"].to_pylist(), shaped, strict=True))

    def frame_of(
        self, dataset: ds.Dataset, columns: Sequence[str] | None, chosen: pc.Expression | None = None
    ) -> pd.DataFrame:
        """Columns of a dataset of this sweep (absent: all) in the rows that were chosen."""
        with tables.readable(self.store.root):
            frame: pd.DataFrame = dataset.to_table(columns=columns and list(columns), filter=chosen).to_pandas()
        return frame

    @cached_property
    def trace_schema(self) -> pa.Schema:
        return schema.trace_schema(self.plan["columns"], sorted(self.spec.get("metrics", ())))

    def runs_table(self) -> pa.Table:
        """The runs as a launch described them, else as planned; how they ended, as their packs have it now."""
        described = self.store.table_path("runs")
        wanted = schema.runs_schema(self.plan["columns"])
        runs = _read(described, wanted) if described.exists() else wanted.empty_table()
        if len(runs) < self.n_planned:
            planned = self._planned_runs()  # of runs that were added since, or of all
            known = pc.is_in(planned["run_id"], runs["run_id"].combine_chunks())
            runs = pa.concat_tables([runs, planned.filter(pc.invert(known))])
        with one_look(self.store.root):
            outcomes = [run for pack in self._packs() for run in pack.outcomes()]
        return _with_outcomes(runs, outcomes)

    def labels_table(self) -> pa.Table:
        path, wanted = self.store.table_path("labels"), schema.labels_schema(self.plan["columns"])
        return _read(path, wanted) if path.exists() else wanted.empty_table()

    def critical_table(self) -> pa.Table:
        path, wanted = self.store.table_path("critical"), schema.critical_schema()
        return _read(path, wanted) if path.exists() else wanted.empty_table()

    def traces_dataset(self, *, include_running: bool = True) -> ds.Dataset:
        """The published files, and one table in memory for what is committed but not published."""
        return self._dataset("traces", self.trace_schema, include_running)

    def further_dataset(self, table: str, *, include_running: bool = True) -> ds.Dataset:
        """The same of `measures` or `snapshots`."""
        return self._dataset(table, schema.further_schema(table), include_running)

    def _dataset(
        self, table: str, kind: pa.Schema, include_running: bool = True, run_ids: set[str] | None = None
    ) -> ds.Dataset:
        """Of runs that are not published only those of `run_ids`: their rows are read here and now."""
        with one_look(self.store.root):
            published, unpublished = self._files_and_rows(table, kind, include_running, run_ids)
        files = _parquet_dataset(self.store.root, published, kind)
        return ds.dataset([files, ds.dataset(unpublished)]) if len(unpublished) else files

    def _files_and_rows(
        self, table: str, kind: pa.Schema, include_running: bool, run_ids: set[str] | None
    ) -> tuple[list[Place], pa.Table]:
        """The published files, and the rows that are committed and not published."""
        published: list[Place] = []
        unpublished = kind.empty_table()
        for pack in self._packs():
            header = pack.newest_header()
            if header is None:
                published += below(self.store.root / table, f"{pack.pack_id}-*.parquet")
                continue
            entries = [entry for entry in header.published if entry.table == table]
            published += [path for path in map(pack.files.path, entries) if path.exists()]
            known = [*header.waiting, *(header.running if include_running else ())]
            wanted = [run_id for run_id in known if run_ids is None or run_id in run_ids]
            rows = _unpublished_rows(pack, header, table, entries, wanted)
            unpublished = pa.concat_tables([unpublished, *rows])
        return published, unpublished

    def _planned_runs(self) -> pa.Table:
        columns = self.plan["columns"]
        parts = [schema.runs_schema(columns).empty_table()]
        for pack in self.plan["packs"]:
            runs = schema.config_table(columns, fixed=pack["fixed"], varying=pack["runs"])
            runs = runs.append_column("pack_id", pa.repeat(pack["pack_id"], len(runs)))
            parts.append(schema.conform(runs, parts[0].schema))
        return pa.concat_tables(parts)

    def _packs(self) -> Iterable[PackStore]:
        return self.store.packs().values()


def _parquet_dataset(root: Place, paths: Sequence[Place], kind: pa.Schema) -> ds.Dataset:
    if not isinstance(root, ObjectPath):
        return ds.dataset([str(path) for path in paths], schema=kind, format="parquet")
    from results.object_files import object_files

    names = [relative(path, root) for path in paths]
    return ds.dataset(names, schema=kind, format="parquet", filesystem=object_files(root))


def _unpublished_rows(
    pack: PackStore, header: Header, table: str, published: Sequence[StoredFile], wanted: Sequence[str]
) -> Iterable[pa.Table]:
    for entry in published:
        if not pack.files.path(entry).exists():
            yield _staged_rows(pack, header, entry)
    if wanted:
        is_trace = table == "traces"
        yield pack.whole_traces(header, wanted) if is_trace else pack.whole_further(header, table, wanted)


def _named(where: Mapping[str, Any]) -> set[str] | None:
    """The runs that a filter names; None if it names none and any may be meant."""
    return set(listed(where["run_id"])) if "run_id" in where else None


def _staged_rows(pack: PackStore, header: Header, entry: StoredFile) -> pa.Table:
    """Of a file that was committed and is not yet in its place, unless it came there just now, or is gone."""
    for path in (str(entry.staged), entry.path):
        with suppress(DamagedError):
            return pack.files.rows(replace(entry, path=path))
    return pack.made_again(header, entry)


def _with_outcomes(runs: pa.Table, outcomes: Sequence[RunOutcome]) -> pa.Table:
    """Where an outcome is known it counts; elsewhere stays what the table says."""
    run_ids = pa.array([run.run_id for run in outcomes], pa.string())
    place = pc.index_in(runs["run_id"], run_ids)
    for name, kind in OUTCOME_TYPES.items():
        if name in runs.column_names:
            known = pa.array([getattr(run, name) for run in outcomes], kind).take(place)
            column = pc.if_else(pc.is_valid(place), known, runs[name])
            runs = runs.set_column(runs.column_names.index(name), runs.schema.field(name), column)
    return runs


def _read(path: Place, wanted: pa.Schema) -> pa.Table:
    """A table with these columns. Raises DamagedError."""
    table = tables.read(path)
    try:
        return schema.conform(table, wanted)
    except ValueError as error:
        raise DamagedError(path, f"is another table: {error}") from error


def _frame(table: pa.Table, where: dict[str, Any]) -> pd.DataFrame:
    chosen = condition(where, table.schema)
    frame: pd.DataFrame = (table if chosen is None else table.filter(chosen)).to_pandas()
    return frame
