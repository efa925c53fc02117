"""SQL over the tables of one or more sweeps, in DuckDB: the views `runs`, `traces`, `measures`, `snapshots`, `labels`
and `critical`.

The database lives in memory and may touch nothing outside it: neither files nor the network nor extensions. It sees the
tables only because they are handed to it, so that a query can read a sweep and never write one. Tables that a question
does not name are handed over without their rows: reading what is committed of an unfinished sweep can take long.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from results import schema
from results.sweep import Sweep, open_sweep

VIEWS = ("runs", "traces", "measures", "snapshots", "labels", "critical")
SANDBOX: dict[str, Any] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
}
READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
"""What asks and does not change. MULTI is what PIVOT becomes."""
RUN_TEXT = ("query", "json_execute_serialized_sql")
"""Functions that run a text as SQL (query, query_table, ...), which may put the name of a view together."""


def query(folders: Sequence[str | Path], sql: str) -> pd.DataFrame:
    """The result of one SELECT (or DESCRIBE, SUMMARIZE, PIVOT ...) over the sweeps in `folders`.

    Of several sweeps the views have the columns of all, and `sweep`: the folder's name, or its path as given where
    names repeat. Raises ValueError for anything but one question, or with DuckDB's words.
    """
    with duckdb.connect(":memory:", config=SANDBOX) as connection:
        try:
            _refuse_commands(connection, sql)
            _create_views(connection, folders, _asked(sql))
            connection.execute("SET lock_configuration = true")
            frame: pd.DataFrame = connection.execute(sql).df()
        except duckdb.Error as error:
            raise ValueError(str(error)) from error
    return frame


def _refuse_commands(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    if not sql.isprintable() and any("\ud800" <= character <= "\udfff" for character in sql):
        raise ValueError("a query is text; this one has bytes that are none")
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise ValueError(f"a query is one statement, not {len(statements)}")
    if statements[0].type not in READING:
        raise ValueError(f"a query reads: SELECT, not {statements[0].type.name}")


def _create_views(
    connection: duckdb.DuckDBPyConnection, folders: Sequence[str | Path], filled: Collection[str]
) -> None:
    for number, folder in enumerate(folders):
        for table, data in _tables(open_sweep(folder), filled).items():
            connection.register(f"{table}_{number}", data)
    for table in VIEWS:
        if len(folders) == 1:
            parts = [f"SELECT * FROM {table}_0"]
        else:
            names = enumerate(_names(folders))
            parts = [f"SELECT {_literal(name)} AS sweep, * FROM {table}_{number}" for number, name in names]
        connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


def _asked(sql: str) -> Collection[str]:
    """The views whose rows the answer may depend on: those that are named anywhere in the question, be it in a comment.

    DuckDB's own `get_table_names` fails on PIVOT and on `JOIN ... USING`.
    """
    text = sql.lower()
    if any(function in text for function in RUN_TEXT):
        return VIEWS
    return [name for name in VIEWS if name in text]


def _tables(sweep: Sweep, filled: Collection[str]) -> dict[str, Any]:
    """Those that are not to be filled have their columns and no rows."""
    columns = sweep.plan["columns"]
    of_views: dict[str, tuple[pa.Schema, Callable[[], Any]]] = {
        "runs": (schema.runs_schema(columns), sweep.runs_table),
        "traces": (sweep.trace_schema, sweep.traces_dataset),
        "measures": (schema.further_schema("measures"), lambda: sweep.further_dataset("measures")),
        "snapshots": (schema.further_schema("snapshots"), lambda: sweep.further_dataset("snapshots")),
        "labels": (schema.labels_schema(columns), sweep.labels_table),
        "critical": (schema.critical_schema(), sweep.critical_table),
    }
    return {name: read() if name in filled else kind.empty_table() for name, (kind, read) in of_views.items()}


def _names(folders: Sequence[str | Path]) -> list[str]:
    names = [Path(folder).resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
