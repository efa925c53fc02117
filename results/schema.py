"""The tables on disk: which columns they have, of which types, in which order. The contract with every reader.

Each file of a table has all columns of its sweep, with types fixed here and not by the data: readers take the columns
of the first file, and would drop silently what only later files have. null means not measured; NaN means that the
number was not a number. Strings are plain (dictionaries are the encoding's business), so that every reader finds the
same types.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from results.versions import SCHEMA_VERSION

METADATA = {b"grokctl_schema_version": str(SCHEMA_VERSION).encode()}

METRIC_TYPES: dict[str, pa.DataType] = {
    "train_loss": pa.float32(),
    "val_loss": pa.float32(),
    "train_accuracy": pa.float64(),
    "val_accuracy": pa.float64(),
    "param_norm": pa.float32(),
}
"""Accuracies are counts over counts: 0.9 as float32 would be 0.89999998."""

MEASURE_TYPES: dict[str, pa.DataType] = {
    "name": pa.string(),
    "layer": pa.string(),
    "index": pa.int64(),
    "value": pa.float64(),
}
"""One number a row: of which measure, of which part of the network (a parameter's name, null for the whole of it), and
the number of the neuron, frequency and so on within it (null where there is only one)."""

SNAPSHOT_TYPES: dict[str, pa.DataType] = {
    "name": pa.string(),
    "shape": pa.list_(pa.int64()),
    "values": pa.list_(pa.float32()),
}
"""One parameter a row, by its name in the state dict; `values` row by row (C order)."""

FURTHER_TYPES = {"measures": MEASURE_TYPES, "snapshots": SNAPSHOT_TYPES}
"""Long tables beside the traces. They have no config columns: `run_id` leads to those in `runs`."""
_WITHIN_STEP = {"measures": ["name", "layer", "index"], "snapshots": ["name"]}
"""What tells the rows of one step of a run apart."""

_STRINGS = ("task", "task_kind", "data_sha256", "model", "optimizer", "loss", "loss_dtype")
_OBSERVED = ("metrics", "measures", "measure_at", "snapshots", "snapshot_at")
_TASK_STRINGS = ("code_sha256", "members", "train_size_before", "subsets", "marginal_of")
_FLAGS = ("symmetric", "biases", "fresh")
_MODEL_STRINGS = (
    "activation", "initialization", "layer_norm", "attention", "positions", "readout", "combine", "dropout_on",
)  # fmt: skip
_MODEL_FLAGS = (
    "final_norm", "attention_biases", "equals_token", "operator_token", "readout_bias", "tied_embeddings", "split_mlp",
)  # fmt: skip
_TRAINING_STRINGS, _TRAINING_FLAGS = ("dtype", "decay_towards", "targets"), ("fixed_norm",)
_COUNTS = (
    "modulus", "width", "depth", "heads", "mlp_ratio", "embedding_dim", "target_dim", "train_size", "val_size", "steps",
    "batch_size", "warmup_steps", "eval_gaps", "stop_patience_steps", "seed", "data_seed", "init_seed", "n_parameters",
    "input_size", "n_classes", "vocabulary", "n_outputs", "n_examples", "n_tokens",
)  # fmt: skip
_TASK_COUNTS = (
    "bits", "parity", "symbols", "outliers", "digits", "tokens", "length", "repeated", "copies", "trigrams",
)  # fmt: skip
_NUMBERS = (
    "init_scale", "dropout", "label_noise", "learning_rate", "weight_decay", "embedding_learning_rate",
    "embedding_weight_decay", "beta1", "beta2", "eps", "momentum", "train_fraction", "eval_growth", "stop_val_accuracy",
    "chance_accuracy", "embedding_scale",
    "last_layer_learning_rate", "clip_norm", "gradient_noise", "weight_noise", "embedding_penalty", "tolerance",
    "right_within",
)  # fmt: skip
CONFIG_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys((*_STRINGS, *_MODEL_STRINGS, *_TRAINING_STRINGS, *_OBSERVED), pa.string()),
    **dict.fromkeys((*_FLAGS, *_MODEL_FLAGS, *_TRAINING_FLAGS), pa.bool_()),
    **dict.fromkeys(_COUNTS, pa.int64()),
    **dict.fromkeys(_TASK_STRINGS, pa.string()),
    **dict.fromkeys(_TASK_COUNTS, pa.int64()),
    **dict.fromkeys(_NUMBERS, pa.float64()),
}
"""Every hyperparameter, and what follows: `train_fraction`, `val_size`, `chance_accuracy`, `n_parameters`."""

LABEL_TYPES: dict[str, pa.DataType] = {
    "phase": pa.string(),
    "confidence": pa.float64(),
    "liu_phase": pa.string(),
    "huang_dynamic": pa.string(),
    **dict.fromkeys(("t_train", "t_train_lo", "t_train_hi", "t_val", "t_val_lo", "t_val_hi"), pa.float64()),
    **dict.fromkeys(("delay", "t_onset"), pa.float64()),
    "onset_train_accuracy": pa.float64(),
    "peak_val_accuracy": pa.float64(),
    "final_train_accuracy": pa.float64(),
    "final_val_accuracy": pa.float64(),
    "n_surges": pa.int64(),
    "norm_change": pa.float64(),
    "ungrokking_kind": pa.string(),
    "pass": pa.int64(),
    "neighbours": pa.string(),
    "warning": pa.string(),
    "why": pa.string(),
    "classifier_version": pa.string(),
    "thresholds": pa.string(),
}

CRITICAL_TYPES: dict[str, pa.DataType] = {
    "quantity": pa.string(),
    "detail": pa.string(),
    "axis": pa.string(),
    "axis_value": pa.float64(),
    "axis_label": pa.string(),
    "facet": pa.string(),
    "facet_value": pa.float64(),
    "facet_label": pa.string(),
    "train_size": pa.int64(),
    "outcome": pa.string(),
    "budget_share": pa.float64(),
    "budget_steps": pa.int64(),
    "relation": pa.string(),
    **dict.fromkeys(("value", "low", "high", "exact_low", "exact_high", "bracket_low", "bracket_high"), pa.float64()),
    **dict.fromkeys(("smallest", "largest", "facts", "p", "peak_at", "dip_at", "detectable"), pa.float64()),
    "verdict": pa.string(),
    "design_effect": pa.float64(),
    **dict.fromkeys(("n_runs", "n_seeds", "n_sizes"), pa.int64()),
    "why": pa.string(),
    "critical_version": pa.string(),
    "classifier_version": pa.string(),
    "settings": pa.string(),
}
"""What is read off a sweep as a whole (results.critical.table): null where a quantity has no such thing, and where a
number is not known."""


def trace_schema(config_columns: Sequence[str], metrics: Sequence[str] = ()) -> pa.Schema:
    """run_id, step, the metrics, those that the spec names besides, then the config columns."""
    measured = metric_types(metrics)
    return _schema({"run_id": pa.string(), "step": pa.int64(), **measured, **config_types(config_columns)})


def metric_types(further: Sequence[str] = ()) -> dict[str, pa.DataType]:
    """Metrics of every row."""
    return METRIC_TYPES | {name: pa.float64() if "accuracy" in name else pa.float32() for name in further}


def further_schema(table: str) -> pa.Schema:
    """run_id, step, then what `measures` or `snapshots` hold. The same in every sweep."""
    return _schema({"run_id": pa.string(), "step": pa.int64(), **FURTHER_TYPES[table]})


def runs_schema(config_columns: Sequence[str]) -> pa.Schema:
    """run_id, config columns, then how the run ended (null while it has not)."""
    ends = {"pack_id": pa.string(), "outcome": pa.string(), "stopped_at": pa.int64(), "wall_s": pa.float64()}
    return _schema({"run_id": pa.string(), **config_types(config_columns), **ends})


def labels_schema(config_columns: Sequence[str]) -> pa.Schema:
    """run_id, what the classifier says, then the config columns."""
    return _schema({"run_id": pa.string(), **LABEL_TYPES, **config_types(config_columns)})


def critical_schema() -> pa.Schema:
    """One row for each quantity, value of the axis and budget. The same in every sweep."""
    return _schema(CRITICAL_TYPES)


def config_types(names: Iterable[str]) -> dict[str, pa.DataType]:
    """Raises ValueError on a name that is no config column."""
    unknown = [name for name in names if name not in CONFIG_TYPES]
    if unknown:
        raise ValueError(f"not config columns: {', '.join(unknown)}")
    return {name: CONFIG_TYPES[name] for name in names}


def config_table(
    config_columns: Sequence[str], *, fixed: Mapping[str, Any], varying: Mapping[str, Sequence[Any]]
) -> pa.Table:
    """run_id and the config columns of one pack's runs, one row a run, in the pack's order.

    `fixed` holds what all runs share; `varying` holds `run_id` and what differs, one entry a run. A column that is in
    neither is null.
    """
    schema = _schema({"run_id": pa.string(), **config_types(config_columns)})
    n_runs = len(varying["run_id"])
    arrays = [
        pa.array(varying[field.name], field.type)
        if field.name in varying
        else pa.repeat(pa.scalar(fixed.get(field.name), field.type), n_runs)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def trace_table(block: Mapping[str, np.ndarray], runs: pa.Table) -> pa.Table:
    """Rows of traces with their config columns.

    `block` has `run` (row number in `runs`), `step`, the metrics and perhaps further ones, one entry a row; masked is
    what a run does not have. `runs` comes from `config_table`.
    """
    config_columns = runs.column_names[1:]
    taken = runs.take(pa.array(block["run"]))
    further = [name for name in block if name not in ("run", "step", *METRIC_TYPES)]
    measured = {"step": pa.int64(), **metric_types(further)}
    arrays = {name: _array(block[name], kind) for name, kind in measured.items()}
    schema = trace_schema(config_columns, further)
    return pa.table([arrays[name] if name in arrays else taken[name] for name in schema.names], schema=schema)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    """What is masked becomes null."""
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(np.ma.getdata(values), kind, mask=np.ma.getmaskarray(values))
    return pa.array(values, kind)


def conform(data: "pa.Table | pd.DataFrame", schema: pa.Schema) -> pa.Table:
    """`data` with the columns of `schema`, in its order and types; columns that `data` lacks are null.

    Raises ValueError if it has others.
    """
    table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(data, preserve_index=False)
    further = [name for name in table.column_names if name not in schema.names]
    if further:
        raise ValueError(f"columns that the table does not have: {', '.join(further)}")
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def further_table(table: str, block: Mapping[str, Any], run_ids: Sequence[str]) -> pa.Table:
    """Rows of `measures` or `snapshots`; `block` has `run` (index into `run_ids`) and the other columns."""
    wanted = further_schema(table)
    columns = {**block, "run_id": [run_ids[run] for run in block["run"]]}
    return pa.table([_array(columns[field.name], field.type) for field in wanted], schema=wanted)


def sort_rows(rows: pa.Table, table: str = "traces") -> pa.Table:
    """Rows by (run_id, step), within a step in the order that they have. A row twice is our bug."""
    # The sort is stable.
    ordered = rows.take(pc.sort_indices(rows, [("run_id", "ascending"), ("step", "ascending")]))
    assert is_ordered(ordered, table), "two rows for the same step of a run"
    return ordered


def is_ordered(rows: pa.Table, table: str = "traces") -> bool:
    """Whether rows are by (run_id, step), with no pair twice; of a long table, with nothing twice within a step."""
    if len(rows) < 2:
        return True
    run_id, step = (rows[name].combine_chunks() for name in ("run_id", "step"))
    same_run = pc.equal(run_id[1:], run_id[:-1])
    is_later = pc.greater if table == "traces" else pc.greater_equal
    later_run, later_step = pc.greater(run_id[1:], run_id[:-1]), is_later(step[1:], step[:-1])
    in_order = bool(pc.all(pc.or_(later_run, pc.and_(same_run, later_step))).as_py())
    return in_order and (table == "traces" or _is_distinct(rows, ["run_id", "step", *_WITHIN_STEP[table]]))


def _is_distinct(rows: pa.Table, names: list[str]) -> bool:
    return len(rows.group_by(names).aggregate([])) == len(rows)


def _schema(types: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in types.items()], METADATA)
