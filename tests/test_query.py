import pandas as pd
import pytest
from store_helpers import create_sweep, launch, train

from results.pack_files import PackFiles
from results.query import query


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweeps") / "it's"
    launch(root)
    return root


def test_views_hold_the_whole_sweep(sweep):
    counts = query([sweep], "SELECT (SELECT count(*) FROM runs) runs, (SELECT count(*) FROM traces) rows")
    assert counts.to_dict("records") == [{"runs": 5, "rows": 45}]
    assert list(query([sweep], "FROM labels")) == list(query([sweep], "DESCRIBE labels")["column_name"])


def test_question_over_runs_and_traces(sweep):
    sql = "SELECT width, max(step) AS last FROM traces JOIN runs USING (run_id, width) GROUP BY width ORDER BY width"
    assert query([sweep], sql).to_dict("list") == {"width": [32, 64], "last": [9, 9]}


def test_several_sweeps_have_a_column_sweep(sweep, tmp_path):
    store = create_sweep(tmp_path / "other")
    train(store.pack("aaaa"), store.begin_attempt(), segments=1)
    found = query([sweep, tmp_path / "other"], "SELECT sweep, count(*) AS n FROM traces GROUP BY sweep ORDER BY sweep")
    assert found.to_dict("list") == {"sweep": ["it's", "other"], "n": [45, 10]}


def test_equal_folder_names_are_told_apart_by_path(tmp_path):
    folders = [tmp_path / "a" / "s", tmp_path / "b" / "s"]
    for folder in folders:
        create_sweep(folder)
    found = query(folders, "SELECT DISTINCT sweep FROM runs ORDER BY sweep")
    assert found["sweep"].tolist() == [str(folder) for folder in folders]


@pytest.fixture
def live(tmp_path, monkeypatch):
    """A sweep at work, and the list of its live files that were read."""
    store = create_sweep(tmp_path / "live")
    train(store.pack("aaaa"), store.begin_attempt(), segments=1)
    read = []
    rows = PackFiles.rows
    monkeypatch.setattr(PackFiles, "rows", lambda files, entry: (read.append(entry.path), rows(files, entry))[1])
    return store.root, read


@pytest.mark.parametrize("sql", ["SELECT count(*) FROM labels", "SHOW ALL TABLES", "FROM runs", "DESCRIBE"])
def test_rows_of_runs_that_go_on_are_read_if_they_are_asked_for(live, sql):
    root, read = live
    query([root], sql)
    assert read == []
    query([root], "FROM traces")
    assert len(read) == 1


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ('FROM main."Traces"', 10),
        ("WITH labels AS (FROM TRACES) FROM labels", 10),
        ("SELECT * FROM runs JOIN traces USING (run_id)", 10),
        ("PIVOT traces ON run_id USING count(*) GROUP BY step", 5),
        ("UNPIVOT (SELECT step, width FROM traces) ON step, width", 20),
        ("FROM query_table('tra' || 'ces')", 10),
        ("FROM query('FROM ' || 'tra' || 'ces')", 10),
        ("SELECT (SELECT count(*) FROM traces) AS n FROM runs", 5),
        ("FROM traces_0", 10),
        ("SHOW TABLES", 12),
        ("DESCRIBE snapshots", 5),
    ],
)
def test_however_a_table_is_named_it_is_read(live, sql, rows):
    found = query([live[0]], sql)
    assert len(found) == rows
    assert "n" not in found or set(found["n"]) == {10}


@pytest.mark.parametrize(
    "sql",
    [
        "COPY traces TO '{there}'",
        "SELECT * FROM '{parquet}'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "ATTACH '{there}' AS x",
        "INSTALL httpfs",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW runs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "",
        "SELEC 1",
        "SELECT no_such_column FROM runs",
        "SELECT * FROM frame",
    ],
)
def test_nothing_but_a_question_over_the_tables(sweep, tmp_path, sql):
    frame = pd.DataFrame({"a": [1]})
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    parquet = next((sweep / "traces").glob("*.parquet"))
    with pytest.raises(ValueError, match=r"\w"):
        query([sweep], sql.format(there=tmp_path / "out.db", parquet=str(parquet).replace("'", "''")))
    assert before == {path: path.stat().st_mtime_ns for path in sweep.rglob("*")}
    assert list(tmp_path.iterdir()) == []
    assert len(frame) == 1


def test_bytes_that_are_no_text_are_no_question(sweep):
    with pytest.raises(ValueError, match="text"):
        query([sweep], "SELECT '\udcff'")
