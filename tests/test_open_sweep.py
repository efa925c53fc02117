import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from store_helpers import COLUMNS, create_sweep, launch, train

from results import open_sweep, schema
from results.errors import MissingError
from results.pack_files import PackFiles

ALL = schema.trace_schema(COLUMNS).names


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweeps") / "finished"
    launch(root)
    return root


def test_any_reader_reads_traces_from_the_folder(finished):
    frame = pd.read_parquet(finished / "traces")
    assert list(frame) == ALL
    assert len(frame) == 45
    duck = duckdb.sql(f"SELECT count(*), count(DISTINCT (run_id, step)), max(width) FROM '{finished}/traces/*.parquet'")
    assert duck.fetchall() == [(45, 45, 64)]
    assert pl.read_parquet(finished / "traces" / "*.parquet").columns == ALL
    assert pl.scan_parquet(finished / "traces").select(pl.len()).collect().item() == 45


def test_traces_are_what_was_published(finished):
    mine = open_sweep(finished).traces().sort_values(["run_id", "step"], ignore_index=True)
    plain = pd.read_parquet(finished / "traces").sort_values(["run_id", "step"], ignore_index=True)
    pd.testing.assert_frame_equal(mine, plain)


def test_null_is_not_measured_and_nan_is_not_a_number(finished):
    table = open_sweep(finished).traces_dataset().to_table()
    assert table["batch_size"].null_count == len(table)
    assert table["val_loss"].null_count == 0
    assert np.isnan(table["val_loss"].to_numpy()).sum() == 5


def test_floats_are_found_as_people_write_them(finished):
    sweep = open_sweep(finished)
    assert set(sweep.traces(learning_rate=1e-3)["run_id"]) == {"a0", "b0"}
    assert set(sweep.traces(learning_rate=[1e-4, 0.01])["run_id"]) == {"a2", "a1", "b1"}
    assert sweep.traces(learning_rate=1.001e-3).empty
    assert set(sweep.runs(learning_rate=1e-3)["run_id"]) == {"a0", "b0"}


def test_selection_by_any_column(finished):
    sweep = open_sweep(finished)
    assert set(sweep.traces(width=32)["run_id"]) == {"a0", "a1", "a2"}
    assert set(sweep.traces(width=[32.0, 64], seed=range(1))["run_id"]) == {"a2", "b1"}
    assert len(sweep.traces(run_id="a0", step=np.arange(3))) == 3
    assert len(sweep.traces(batch_size=None)) == 45
    assert sweep.traces(batch_size=[16]).empty
    assert len(sweep.traces(val_loss=float("nan"))) == 5
    assert sweep.traces(task="a * b").empty
    assert sweep.traces(width=[]).empty


def test_settings_are_those_of_every_planned_run(finished):
    sweep = open_sweep(finished)
    settings = sweep.settings().set_index("run_id")
    runs = sweep.runs().set_index("run_id")
    assert len(settings) == sweep.n_planned == len(runs)
    assert settings.loc[runs.index, "width"].tolist() == runs["width"].tolist()
    assert settings.loc["a1", "learning_rate"] != settings.loc["a0", "learning_rate"]


def test_columns_are_those_asked_for(finished):
    frame = open_sweep(finished).traces(["step", "val_accuracy"], width=32)
    assert list(frame) == ["step", "val_accuracy"]
    assert len(frame) == 30


@pytest.mark.parametrize("where", [{"widht": 32}, {"columns": ["widht"]}])
def test_unknown_names_get_a_proposal(finished, where):
    with pytest.raises(ValueError, match="no column 'widht'; did you mean width"):
        open_sweep(finished).traces(**where)


@pytest.mark.parametrize(
    "where",
    [
        {"width": "32"},
        {"width": 32.5},
        {"width": True},
        {"task": 1},
        {"learning_rate": "1e-3"},
        {"width": float("inf")},
    ],
)
def test_values_that_can_match_nothing_are_refused(finished, where):
    with pytest.raises(ValueError, match="holds values of type"):
        open_sweep(finished).traces(**where)


def test_running_packs_add_their_committed_rows_once(tmp_path):
    store = create_sweep(tmp_path / "s")
    attempt = store.begin_attempt()
    train(store.pack("bbbb"), attempt, segments=1)
    train(store.pack("aaaa"), attempt, segments=1)
    sweep = open_sweep(tmp_path / "s")
    rows = sweep.traces().groupby("run_id")["step"].agg(list).to_dict()
    assert rows == {"a0": [0, 1, 2, 3, 4], "a2": [0, 1, 2, 3, 4], "b0": [0, 1, 2, 3, 4], "b1": [0, 1, 2, 3, 4]}
    assert set(sweep.traces(include_running=False)["run_id"]) == {"b0"}
    assert set(sweep.traces(learning_rate=1e-3)["run_id"]) == {"a0", "b0"}
    runs = sweep.runs().set_index("run_id")
    assert runs["outcome"].dropna().to_dict() == {"b0": "stopped"}


def test_of_running_packs_only_those_of_the_runs_asked_for_are_read(tmp_path, monkeypatch):
    store = create_sweep(tmp_path / "s")
    attempt = store.begin_attempt()
    train(store.pack("bbbb"), attempt, segments=1)
    train(store.pack("aaaa"), attempt, segments=1)
    sweep, read, rows = open_sweep(tmp_path / "s"), [], PackFiles.rows
    monkeypatch.setattr(PackFiles, "rows", lambda files, entry: (read.append(files.pack_id), rows(files, entry))[1])
    assert set(sweep.traces(run_id="a0")["run_id"]) == {"a0"}
    assert read == ["aaaa"]
    assert set(sweep.traces(run_id=["b0", "b1", "a1"])["run_id"]) == {"b0", "b1"}
    assert read == ["aaaa", "bbbb"]


def test_rows_that_are_committed_but_not_yet_published_count(tmp_path, monkeypatch):
    store = create_sweep(tmp_path / "s")
    pack = store.pack("bbbb")
    monkeypatch.setattr(pack, "_publish", lambda header: None)
    train(pack, store.begin_attempt(), segments=1)
    assert not (tmp_path / "s" / "traces").exists()
    assert set(open_sweep(tmp_path / "s").traces(include_running=False)["run_id"]) == {"b0"}


def test_traces_without_the_packs_folder_are_still_read(finished, tmp_path):
    import shutil

    shutil.copytree(finished, tmp_path / "s", ignore=shutil.ignore_patterns("packs"))
    assert len(open_sweep(tmp_path / "s").traces()) == 45


def test_empty_sweep_has_empty_frames_with_all_columns(tmp_path):
    create_sweep(tmp_path / "s")
    sweep = open_sweep(tmp_path / "s")
    traces, labels = sweep.traces(width=32), sweep.labels(phase="grokking")
    assert traces.empty
    assert list(traces) == ALL
    assert traces.dtypes["learning_rate"] == np.float64
    assert labels.empty
    assert list(labels) == schema.labels_schema(COLUMNS).names
    assert sweep.runs()["outcome"].isna().tolist() == [True] * 5


def test_runs_know_their_ends(finished):
    runs = open_sweep(finished).runs()
    assert list(runs) == schema.runs_schema(COLUMNS).names
    assert runs["outcome"].tolist() == ["ended"] * 4 + ["stopped"]  # b0, before its budget
    assert runs["pack_id"].tolist() == ["aaaa"] * 3 + ["bbbb"] * 2


def test_described_runs_take_precedence_and_get_fresh_outcomes(tmp_path):
    store = create_sweep(tmp_path / "s")
    described = open_sweep(store.root).runs()
    store.write_runs(described.assign(outcome=["failed", None, None, "failed", None], width=7))
    train(store.pack("bbbb"), store.begin_attempt(), segments=1)
    runs = open_sweep(store.root).runs()
    assert runs["width"].tolist() == [7] * 5
    assert runs["outcome"].fillna("").tolist() == ["failed", "", "", "failed", "stopped"]


def test_plan_and_spec_are_at_hand(finished):
    sweep = open_sweep(str(finished))
    assert sweep.plan["columns"] == COLUMNS
    assert sweep.spec == {"name": "tiny", "steps": 10}
    assert "tiny" in repr(sweep)


def test_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(MissingError, match=r"no plan\.json"):
        open_sweep(tmp_path)


def test_importing_results_is_light():
    code = "import sys, results, results.store; print([m for m in ('pyarrow', 'pandas', 'duckdb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
