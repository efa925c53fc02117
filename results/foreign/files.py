"""Files into tables. What the file's name says of run and metric (TensorBoard) becomes columns."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results.foreign.errors import ForeignError
from results.foreign.names import SPLITS, words

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
TENSORBOARD = {"walltime", "step", "value"}
TAGGED = re.compile(r"run-(?P<run>.*?)-tag-(?P<tag>.*)")
DELIMITERS = ",;\t"


def holds_tables(path: Path) -> bool:
    """A file, whatever it is, or a folder with a table somewhere in it."""
    return path.is_file() or any(each.suffix.lower() in SUFFIXES for each in path.rglob("*"))


def find_files(paths: Sequence[Path]) -> list[Path]:
    """The tables among `paths`, and in the folders among them. Raises FileNotFoundError, or ForeignError for none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES and each.is_file())
        else:
            found.append(path)
    if not found:
        raise ForeignError(
            f"{', '.join(map(str, paths))}: no table in it", hint=f"Traces are read from {', '.join(SUFFIXES)}."
        )
    return found


def read_file(path: Path) -> pd.DataFrame:
    """Raises FileNotFoundError, or ForeignError for what is no table."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ForeignError(f"{path}: not a table that can be read", hint=f"Give {', '.join(SUFFIXES)}.")
    if not path.exists():
        raise FileNotFoundError(2, "No such file", str(path))
    try:
        frame = _read_parquet(path) if suffix == ".parquet" else _read_utf8(path)
    except (ValueError, UnicodeDecodeError, OSError, csv.Error) as error:
        if isinstance(error, ForeignError):
            raise
        raise ForeignError(f"{path}: {_first_line(error)}", hint="Is it a table with one line of names?") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    unnamed = [name for name in frame.columns if not name or name.startswith("Unnamed:")]
    frame = frame.drop(columns=unnamed)
    if frame.empty or not len(frame.columns):
        raise ForeignError(f"{path}: the table has no rows")
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    """To the last value: text that is none would else be noticed by whoever meets it first."""
    table = pq.read_table(path)
    try:
        table.validate(full=True)
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, KeyError, TypeError) as error:  # damaged values, or damaged notes of pandas
        raise ForeignError(f"{path}: {_first_line(error)}", hint="The file is damaged.") from error
    return frame


def _read_utf8(path: Path) -> pd.DataFrame:
    try:
        return _read_text(path)
    except UnicodeDecodeError as error:
        raise ForeignError(
            f"{path}: not text in UTF-8 (byte {error.object[error.start]:#04x})",
            hint="Save it as CSV in UTF-8; if it is no table, move it away or name the other files only.",
        ) from error


def _read_text(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        head = file.readline()
    if not head.strip():
        raise ForeignError(f"{path}: the file is empty")
    delimiter = max(DELIMITERS, key=head.count)
    decimal = "," if delimiter == ";" else "."
    frame = pd.read_csv(path, sep=delimiter, decimal=decimal, encoding="utf-8-sig", skipinitialspace=True)
    if frame.index.nlevels > 1:
        raise ForeignError(
            f"{path}: rows have {frame.index.nlevels} cells more than there are names",
            hint="Give every column a name, in the first line.",
        )
    return frame.reset_index(drop=True)  # one cell more is the name of the row, as R writes it


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def is_tensorboard(frame: pd.DataFrame) -> bool:
    return {"".join(words(name)) for name in frame.columns} == TENSORBOARD


def run_and_tag(path: Path, root: Path | None) -> tuple[str, str]:
    """Of a TensorBoard export: `run-NAME-tag-TAG.csv` as its download names it, else folder and file name. Where the
    run's name ends with a set (Keras writes .../train and .../validation), that goes to the tag."""
    match = TAGGED.fullmatch(path.stem)
    if match:
        run, tag = match["run"].strip("._-"), match["tag"]
    else:
        run = "" if root is None or path.parent == root else str(path.parent.relative_to(root))
        tag = path.stem
    last = words(run)[-1] if words(run) else ""
    if last in SPLITS and not any(word in SPLITS for word in words(tag)):
        run, tag = run[: run.lower().rindex(last)].strip("._-/ "), f"{last} {tag}"
    return run or "run", tag
