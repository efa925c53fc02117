"""Tables of every shape into one: a row a run and step, the metrics under the classifier's names.

A shape is recognized by its columns:

    TensorBoard   Wall time, Step, Value; run and metric are in the file's name
    W&B charts    a column of steps, then `RUN - METRIC` (and __MIN, __MAX, which are left out)
    tidy          a column that names the metric and one that holds its value
    wide          a column for each run and metric, `METRIC_RUN` or `RUN/METRIC`
    long          a column for each metric; runs by a column, by file, or by their hyperparameters

All but the last are first turned into (run, step, metric, value).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from results.classify.columns import VARIES_AMONG_NEIGHBOURS
from results.foreign.errors import ForeignError
from results.foreign.files import is_tensorboard, run_and_tag
from results.foreign.names import CONFIG, RUNS, TIMES, Meaning, is_epoch, is_step, meaning_of, plain, says_error

METRICS = ("train_accuracy", "val_accuracy", "train_loss", "val_loss", "param_norm")
TARGETS = ("run_id", "step", *METRICS)
"""Names that `--map` assigns columns to; hyperparameters beside them."""
CROSSINGS = ("t_train", "t_val")
HYPERPARAMETERS = tuple(dict.fromkeys((*CONFIG.values(), *VARIES_AMONG_NEIGHBOURS)))
"""Those that labelling reads. `--map` takes others too, as names for columns of the labels."""
NEAR = 0.85
"""How alike a name must be to another to be a slip of the pen: `stp` for step, but not batch_size for train_size."""
SEPARATOR = " - "
TIDY_NAMES, TIDY_VALUES = ("metric", "metricname", "tag", "key", "variable", "measure"), ("value", "y")
MIN_ROWS = 3


@dataclass
class Understanding:
    """What was made of the tables, for the user to check."""

    shape: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    """By target the column that it was read from."""
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file and its table."""

    path: Path
    root: Path | None
    """The folder that was given, if one was."""
    frame: pd.DataFrame


def to_long(sources: Sequence[Source], given: Mapping[str, str], understood: Understanding) -> pd.DataFrame:
    """run_id, step, some of METRICS, then hyperparameters. `given` maps targets and hyperparameters to columns."""
    tidy = [_tidied(source, given, understood) for source in sources]
    if all(table is not None for table in tidy):
        return _from_tidy(pd.concat([t for t in tidy if t is not None], ignore_index=True), given, understood)
    if any(table is not None for table in tidy):
        raise ForeignError("the files are of different shapes", hint="Label them in two calls.")
    understood.shape = "long"
    parts = [_long(source, given, understood, several=len(sources) > 1) for source in sources]
    return pd.concat(parts, ignore_index=True)


# Shapes that name run and metric for each value


def _tidied(source: Source, given: Mapping[str, str], understood: Understanding) -> pd.DataFrame | None:
    """run_id, step, metric, value, and hyperparameters; None for a long table."""
    frame = source.frame
    if is_tensorboard(frame):
        understood.shape = "TensorBoard export"
        run, tag = run_and_tag(source.path, source.root)
        columns = {plain(name): frame[name] for name in frame.columns}
        return pd.DataFrame({"run_id": run, "step": columns["step"], "metric": tag, "value": columns["value"]})
    if named := [name for name in frame.columns if SEPARATOR in name]:
        understood.shape = "W&B export of charts"
        return _charts(frame, named, given)
    names, values = (_one_of(frame, wanted) for wanted in (TIDY_NAMES, TIDY_VALUES))
    if names and values:
        understood.shape = "tidy"
        by_run = given.get("run_id") or _one_of(frame, RUNS)
        kept = [c for c in frame.columns if plain(c) in CONFIG and not is_step(c)]
        return pd.DataFrame(
            {
                "run_id": frame[by_run].astype(str) if by_run else _file_run(source),
                "step": frame[_step_column(frame, given)],
                "metric": frame[names].astype(str),
                "value": frame[values],
                **{CONFIG[plain(name)]: frame[name] for name in kept},
            }
        )
    wide = _wide_columns(frame) if not given and not _one_of(frame, RUNS) else {}
    if wide:
        understood.shape = "wide"
        return _melted(frame, wide, _step_column(frame, given))
    return None


def _charts(frame: pd.DataFrame, named: Sequence[str], given: Mapping[str, str]) -> pd.DataFrame:
    ends = ("__MIN", "__MAX", f"{SEPARATOR}_step", f"{SEPARATOR}_runtime", f"{SEPARATOR}_timestamp")
    parted = {name: tuple(name.rsplit(SEPARATOR, 1)) for name in named if not name.endswith(ends)}
    others = frame.drop(columns=list(named))
    return _melted(frame, parted, _step_column(others, given))


def _melted(frame: pd.DataFrame, parted: Mapping[str, tuple[str, ...]], step: str) -> pd.DataFrame:
    """`parted` gives run and metric of each column."""
    parts = [
        pd.DataFrame({"run_id": run, "step": frame[step], "metric": metric, "value": frame[name]})
        for name, (run, metric) in parted.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _wide_columns(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Run and metric of each column, if every metric has the same two runs or more in its names."""
    meanings = {name: meaning for name in frame.columns if (meaning := meaning_of(name)) and meaning.kind != "norm"}
    runs_of: dict[tuple[str, str, bool], set[tuple[str, ...]]] = {}
    for meaning in meanings.values():
        runs_of.setdefault((meaning.split, meaning.kind, meaning.is_second_choice), set()).add(meaning.rest)
    sets = list(runs_of.values())
    whole = len(meanings) == sum(len(runs) for runs in sets)
    if not sets or len(sets[0]) < 2 or () in sets[0] or any(runs != sets[0] for runs in sets) or not whole:
        return {}
    return {name: (" ".join(m.rest), f"{m.split} {m.kind}") for name, m in meanings.items()}


def _from_tidy(table: pd.DataFrame, given: Mapping[str, str], understood: Understanding) -> pd.DataFrame:
    """Metrics become columns, under the classifier's names."""
    names = list(dict.fromkeys(table["metric"]))
    targets = match_metrics(names, given, understood, "metrics")
    by_name = {name: target for target, name in targets.items()}
    table = table[table["metric"].isin(by_name)].assign(metric=lambda t: t["metric"].map(by_name))
    table["value"] = numbers(table["value"], "value")
    table["step"] = numbers(table["step"], "step")
    table = table.dropna(subset=["step", "value"])
    long = table.pivot_table(index=["run_id", "step"], columns="metric", values="value", aggfunc="last").reset_index()
    long.columns.name = None
    config = [name for name in table.columns if name not in ("run_id", "step", "metric", "value")]
    return long.merge(table.drop_duplicates("run_id")[["run_id", *config]], on="run_id") if config else long


# Long tables


def _long(source: Source, given: Mapping[str, str], understood: Understanding, *, several: bool) -> pd.DataFrame:
    frame = source.frame
    refuse_strangers(given, frame.columns, "columns")
    step = _step_column(frame, given)
    if is_epoch(step):
        _remark(understood, f"steps are epochs ({step}): classifier.delta_steps counts them too")
    taken = {name for target, name in given.items() if target not in METRICS} | {step}
    targets = match_metrics([c for c in frame.columns if c not in taken], given, understood, "columns")
    understood.columns["step"] = step
    config = _config_columns(frame, given, {*targets.values(), step})
    long = pd.DataFrame({"step": numbers(frame[step], step)})
    for target, name in targets.items():
        long[target] = numbers(frame[name], name)
    for target, name in config.items():
        long[target] = frame[name]
    long.insert(0, "run_id", _run_ids(source, long, given, several, understood))
    return long.dropna(subset=["step"])


def _config_columns(frame: pd.DataFrame, given: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """By name in grokctl's tables the column; hyperparameters that it has no name for keep theirs."""
    chosen = {target: name for target, name in given.items() if target not in TARGETS}
    run = given.get("run_id") or _one_of(frame, RUNS)
    for name in frame.columns:
        is_budget = name == "steps" and name not in taken
        if (
            name not in {*taken, *chosen.values(), run}
            and plain(name) not in TIMES
            and (is_budget or not is_step(name))
        ):
            chosen.setdefault(CONFIG.get(plain(name), name), name)
    return chosen


def _run_ids(
    source: Source, long: pd.DataFrame, given: Mapping[str, str], several: bool, understood: Understanding
) -> "pd.Series | str":
    column = given.get("run_id") or _one_of(source.frame, RUNS)
    if column:
        understood.columns["run_id"] = column
        return source.frame[column].astype(str)
    if not long["step"].dropna().duplicated().any():
        return _file_run(source) if several else "run"
    if (names := _identity(long)) is None:
        raise ForeignError(
            f"{source.path}: steps repeat, so it holds several runs, and no column tells them apart "
            f"(columns: {', '.join(source.frame.columns)})",
            hint="Say which column names the run: --map run_id=COLUMN.",
        )
    _remark(understood, f"runs are told apart by {', '.join(names)}")
    return long[names].astype(str).apply(lambda row: ",".join(f"{k}={v}" for k, v in row.items()), axis=1)


def _identity(long: pd.DataFrame) -> list[str] | None:
    """Hyperparameters under each combination of which no step occurs twice."""
    others = [name for name in long.columns if name not in ("step", *METRICS)]
    few = [name for name in others if 1 < long[name].nunique(dropna=False) <= len(long) / MIN_ROWS]
    if not few:
        return None
    groups = long.groupby(few, dropna=False)
    alone = not long.duplicated([*few, "step"]).any()
    return few if alone and groups.ngroups <= len(long) / MIN_ROWS else None


# Columns and names


def match_metrics(
    names: Sequence[str], given: Mapping[str, str], understood: Understanding, what: str
) -> dict[str, str]:
    """By target the name that holds it. Raises ForeignError for names that are not there, and where two would do."""
    chosen = {target: name for target, name in given.items() if target in METRICS}
    refuse_strangers(chosen, names, what)
    found: dict[str, list[tuple[tuple[bool, bool, int], str]]] = {}
    for name, meaning in _meanings(names, set(chosen.values())):
        target = _target(meaning, names)
        if target and target not in chosen:
            found.setdefault(target, []).append((meaning.rank, name))
    for target, candidates in found.items():
        candidates.sort()
        if len(candidates) > 1 and candidates[0][0] == candidates[1][0]:
            both = ", ".join(name for _, name in candidates)
            raise ForeignError(
                f"{target.replace('_', ' ')} could be any of these {what}: {both}",
                hint=f"Say which: --map {target}={quoted(candidates[0][1])}",
            )
        chosen[target] = candidates[0][1]
        if aside := [name for _, name in candidates[1:]]:
            _remark(understood, f"left aside for {target}: {', '.join(aside)}")
    for target, name in chosen.items():
        if says_error(name) != says_error(understood.columns.get(target, name)):
            raise ForeignError(
                f"{target.replace('_', ' ')} is {understood.columns[target]} in one file and {name} in another",
                hint="Label errors and accuracies in two calls.",
            )
    understood.columns.update(chosen)
    return chosen


def refuse_strangers(given: Mapping[str, str], names: Iterable[str], what: str) -> None:
    """Raises ForeignError for a `--map` to what is not there."""
    there = list(names)
    for target, name in given.items():
        if name not in there:
            raise ForeignError(f"--map {target}={name}: there is none such", hint=f"The {what}: {', '.join(there)}.")


def refuse_unknown_targets(given: Mapping[str, str]) -> None:
    """Raises ForeignError for a `--map` of what was meant to be called otherwise."""
    known = (*TARGETS, *CROSSINGS, *HYPERPARAMETERS)
    for target, name in given.items():
        if target not in known and (meant := _meant(target, known)):
            raise ForeignError(
                f"--map {target}={name}: unknown name {target!r}; did you mean {meant!r}?",
                hint=f"The names: {', '.join((*TARGETS, *CROSSINGS))}; and hyperparameters: "
                f"{', '.join(HYPERPARAMETERS)}, or any other.",
            )


def _meant(target: str, known: Sequence[str]) -> str | None:
    """What a target would be called that is no hyperparameter of the user's own."""
    if is_step(target):
        return "step"
    if plain(target) in RUNS and target != "model":
        return "run_id"
    if meaning := meaning_of(target):
        return _target(meaning, ["val_accuracy", "val_loss", target])
    near = get_close_matches(target, known, n=1, cutoff=NEAR)
    return CONFIG.get(plain(target)) or (near[0] if near else None)


def _meanings(names: Sequence[str], taken: set[str]) -> Iterator[tuple[str, Meaning]]:
    for name in names:
        if name not in taken and (meaning := meaning_of(name)):
            yield name, meaning


def _target(meaning: Meaning, names: Sequence[str]) -> str | None:
    """`accuracy` beside `val_accuracy` is that of training, as Keras has it; alone it says too little."""
    if meaning.kind == "norm":
        return "param_norm"
    kind = "accuracy" if meaning.kind == "error" else meaning.kind
    if meaning.split:
        return f"{meaning.split}_{kind}"
    same = [m for _, m in _meanings(names, set()) if m.kind == meaning.kind]
    named = {m.split for m in same}
    return f"train_{kind}" if "val" in named and "train" not in named else None


def _step_column(frame: pd.DataFrame, given: Mapping[str, str]) -> str:
    if "step" in given:
        return given["step"]
    if "step" in frame.columns:
        return "step"
    candidates = [name for name in frame.columns if is_step(name)]
    varying = [name for name in candidates if frame[name].nunique() > 1] or candidates
    counted = [name for name in varying if not is_epoch(name)] or varying
    if not counted:
        raise ForeignError(
            f"no column holds the training step (columns: {', '.join(frame.columns)})",
            hint="Say which does: --map step=COLUMN.",
        )
    return counted[0]


def numbers(column: pd.Series, name: str) -> pd.Series:
    """As float64; NaN, Infinity and empty cells in any spelling. Raises ForeignError for other text."""
    text = column.astype(object).where(column.notna(), np.nan)
    read = pd.to_numeric(text, errors="coerce")
    strange = text[read.isna() & text.notna()].astype(str).str.strip()
    strange = strange[~strange.str.lower().isin({"", "nan", "none", "null", "na", "n/a", "-"})]
    if len(strange):
        raise ForeignError(f"column {name!r} has {strange.iloc[0]!r} in row {strange.index[0] + 2}, which is no number")
    return read.astype(np.float64)


def quoted(name: str) -> str:
    """For a shell."""
    return name if re.fullmatch(r"[\w./-]+", name) else f"'{name}'"


def _one_of(frame: pd.DataFrame, wanted: Sequence[str]) -> str | None:
    by_plain = {plain(name): name for name in reversed(list(frame.columns))}
    return next((by_plain[name] for name in wanted if name in by_plain), None)


def _file_run(source: Source) -> str:
    if source.root is None:
        return source.path.stem
    return str(source.path.relative_to(source.root).with_suffix(""))


def _remark(understood: Understanding, text: str) -> None:
    if text not in understood.remarks:
        understood.remarks.append(text)
