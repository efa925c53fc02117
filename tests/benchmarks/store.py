"""From traces to knowledge: what writing, reading and labelling cost on a sweep of 20,000 runs, 10 million rows."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, Setting, interleave, seconds
from benchmarks.made_up import MadeUpSweep
from results import open_sweep
from results.classify import ClassifierSettings, label_runs

COLUMNS = ["step", "train_accuracy", "val_accuracy"]


def rows(setting: Setting) -> Iterator[Row]:
    n_runs, n_labelled = (200, 100) if setting.quick else (20_000, 10_000)
    with tempfile.TemporaryDirectory(prefix="grokctl-bench-") as folder:
        made_up = MadeUpSweep(Path(folder) / "sweep", n_runs, 200)
        spent = made_up.commit_all()
        of = f"{made_up.n_rows:,} rows"
        yield Row(
            comparison=f"rows written through the store, {of}",
            ours=made_up.n_rows / spent,
            unit="rows/s",
            beside=f"{len(made_up.packs)} packs, {n_runs // 50} commits with their syncs; making the rows left out",
        )
        size = made_up.bytes_published() / made_up.n_rows
        yield Row(comparison="published traces, all columns", ours=size, unit="bytes/row", lower_is_better=True)
        yield from _reading(made_up, setting, of)
        yield from _labelling(made_up, setting, n_labelled)


def _reading(made_up: MadeUpSweep, setting: Setting, of: str) -> Iterator[Row]:
    read = lambda: open_sweep(made_up.root).traces(columns=COLUMNS)  # noqa: E731
    assert len(read()) == made_up.n_rows
    spent = interleave({"read": lambda: seconds(read)}, setting.repeats())["read"]
    yield Row(
        comparison=f"{of} to three columns of a DataFrame",
        ours=spent,
        unit="s",
        lower_is_better=True,
        goal=None if setting.quick else 1.5,
        beside="open_sweep included; files in the system's cache",
    )


def _labelling(made_up: MadeUpSweep, setting: Setting, n_runs: int) -> Iterator[Row]:
    sweep = open_sweep(made_up.root)
    runs = sweep.runs().iloc[:n_runs]
    traces = sweep.traces(run_id=list(runs["run_id"]))
    label = lambda: label_runs(traces, runs, ClassifierSettings())  # noqa: E731
    assert len(label()) == n_runs
    spent = interleave({"label": lambda: seconds(label)}, setting.repeats(3))["label"]
    yield Row(
        comparison=f"labelling {n_runs:,} runs of {len(traces) // n_runs} rows",
        ours=spent,
        unit="s",
        lower_is_better=True,
        goal=None if setting.quick else 3.0,
        beside="from DataFrames in memory",
    )
