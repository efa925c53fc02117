"""Data of one's own: a file with `features` (examples in rows) and `targets`.

Targets that are whole numbers are classes, from 0 on; targets of a floating-point type are real numbers, one or several
an example: a regression, with mse. `val_features` and `val_targets` may hold the examples for validation; without them
it is what is not trained on, or `val_size` of it. Numbers enter as they are: scaling them is the user's business. The
hash is of the arrays, so that packing the file anew, or in another format, changes nothing.

Of formats only .npz is known here. READERS is open for others: `orchestrator.parquet_data` adds Parquet.
"""

import functools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trainers.config import RunConfig
from trainers.errors import DataError
from trainers.tasks.data import Ints, Table
from trainers.tasks.digest import digest_of

MOST_CLASSES = 256
MOST_OUTPUTS = 4096
NEEDED = ("features", "targets")
FURTHER = ("val_features", "val_targets")

Arrays = Mapping[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float32]


class Source(NamedTuple):
    """A file, and which of its columns; absent ones are found by their names."""

    file: str
    feature_columns: str = ""
    target_columns: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Both parts, the pool first. N examples, T numbers of each, K outputs of a regression."""

    features_NT: Floats
    targets_N: Ints
    """Classes; of a regression each example is one of its own."""
    values_NK: Floats | None
    """Real-valued targets."""
    n_pool: int
    has_validation: bool
    n_classes: int
    """Of a regression 2, which nothing reads."""
    sha256: str

    @property
    def n_outputs(self) -> int:
        """0 where targets are classes."""
        return 0 if self.values_NK is None else self.values_NK.shape[1]


def load(source: Source) -> Features:
    """Read once a process unless the file changes. Raises DataError."""
    try:
        stat = Path(source.file).stat()
    except OSError as error:
        raise DataError(f"cannot read {source.file}: {error.strerror or error}") from None
    return _load(source, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def source_of(config: RunConfig) -> Source:
    """Raises DataError without a file."""
    return source(config.file, config.feature_columns, config.target_columns)


def source(file: str | None, feature_columns: str = "", target_columns: str = "") -> Source:
    """Raises DataError without a file."""
    if file is None:
        raise DataError("data of your own need a file: `task: {kind: data, file: mine.npz}`")
    return Source(file, feature_columns, target_columns)


def planned(source: Source, sha256: str | None) -> Features:
    """Raises DataError if the file is not what runs were planned with."""
    data = load(source)
    if data.sha256 != sha256:
        raise DataError(
            f"{source.file} has changed since the sweep was planned; put the old file back, or launch the spec into "
            "another folder with --out"
        )
    return data


def pool_size(source: Source) -> int:
    """Examples that a training set may be drawn from."""
    return load(source).n_pool


def val_size(config: RunConfig) -> int:
    data = load(source_of(config))
    there = len(data.targets_N) - (data.n_pool if data.has_validation else config.train_size)
    return there if config.val_size is None else min(config.val_size, there)


def table(config: RunConfig) -> Table:
    data = planned(source_of(config), config.data_sha256)
    return Table(
        inputs_NT=data.features_NT,
        labels_N=data.targets_N,
        n_classes=data.n_classes if data.values_NK is None else len(data.targets_N),
        target_vectors_CK=data.values_NK,
        n_pool=data.n_pool if data.has_validation else None,
        chance_accuracy=None if data.values_NK is None else 0.0,
    )


@functools.lru_cache(maxsize=2)
def _load(source: Source, stamp: tuple[int, ...]) -> Features:
    file, arrays = source.file, _arrays(source)
    parts = [_part(file, arrays, *NEEDED)]
    if any(name in arrays for name in FURTHER):
        parts.append(_part(file, arrays, *FURTHER))
        _require_alike(file, *parts)
    features_NT = np.concatenate([features for features, _ in parts])
    targets = np.concatenate([targets for _, targets in parts])
    is_regression = targets.dtype.kind == "f"
    n_classes = 2 if is_regression else max(2, int(targets.max()) + 1)
    for array in (features_NT, targets):
        array.setflags(write=False)  # shared by all runs of the process
    return Features(
        features_NT=features_NT,
        targets_N=np.arange(len(targets)) if is_regression else targets,
        values_NK=targets if is_regression else None,
        n_pool=len(parts[0][1]),
        has_validation=len(parts) > 1,
        n_classes=n_classes,
        sha256=digest_of(features_NT, targets, np.array([len(parts[0][1])])),
    )


def _require_alike(file: str, *parts: tuple[Floats, npt.NDArray[Any]]) -> None:
    (features, targets), (val_features, val_targets) = parts
    if features.shape[1] != val_features.shape[1]:
        raise DataError(f"{file}: features and val_features have rows of different lengths")
    if targets.dtype != val_targets.dtype or targets.shape[1:] != val_targets.shape[1:]:
        raise DataError(f"{file}: targets and val_targets are not alike: both classes, or both as many real numbers")


def _arrays(source: Source) -> Arrays:
    suffix = Path(source.file).suffix.lower()
    arrays = READERS.get(suffix, _npz)(source)
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        names = ", ".join(arrays)
        raise DataError(f"{source.file} has no {' and no '.join(missing)}; its arrays are {names or 'none'}")
    return arrays


def _npz(source: Source) -> Arrays:
    file = source.file
    if source.feature_columns or source.target_columns:
        raise DataError(f"{file}: columns are of a .parquet file; of an .npz file arrays called features and targets")
    if not zipfile.is_zipfile(file):
        known = " or ".join(READERS)
        raise DataError(
            f"{file} is not an .npz file; write one with numpy.savez(file, features=..., targets=...). Files that can "
            f"be read end in {known}"
        )
    try:
        with np.load(file, allow_pickle=False) as stored:
            there = [name for name in (*NEEDED, *FURTHER) if name in stored]
            if not {*NEEDED} <= {*there}:
                missing = " and no ".join(name for name in NEEDED if name not in there)
                names = ", ".join(stored.files)
                raise DataError(f"{file} has no {missing}; its arrays are {names or 'none'}")
            return {name: stored[name] for name in there}
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} cannot be read as .npz ({error})") from None


READERS: dict[str, Callable[[Source], Arrays]] = {".npz": _npz}
"""By the file's suffix: what gives the arrays that NEEDED and FURTHER name. Raises DataError."""


def _part(file: str, arrays: Arrays, features: str, targets: str) -> tuple[Floats, npt.NDArray[Any]]:
    """One part, checked: features of more dimensions flattened; targets int64 (N,), or float32 (N, K)."""
    if features not in arrays or targets not in arrays:
        raise DataError(f"{file}: {features} and {targets} come together or not at all")
    x, y = arrays[features], arrays[targets]
    if x.dtype.kind not in "fiub" or x.ndim < 2 or not x.size:
        raise DataError(
            f"{file}: {features} should be numbers, examples in rows; they are {x.dtype} of shape {x.shape}"
        )
    return _finite(file, features, x.reshape(len(x), -1)), _targets(file, targets, y, len(x))


def _targets(file: str, name: str, y: npt.NDArray[Any], n_examples: int) -> npt.NDArray[Any]:
    is_regression = y.dtype.kind == "f"
    if y.shape[:1] != (n_examples,) or y.ndim > 1 + is_regression:
        wanted = "one number" if not is_regression else "one number, or a row of them,"
        raise DataError(
            f"{file}: {name} should be {wanted} for each of {n_examples:,} examples, are of shape {y.shape}"
        )
    if is_regression:
        rows = y.reshape(n_examples, -1)
        if not 1 <= rows.shape[1] <= MOST_OUTPUTS:
            raise DataError(f"{file}: {name} have {rows.shape[1]:,} numbers an example; 1 to {MOST_OUTPUTS:,} are read")
        return _finite(file, name, rows)
    if y.dtype.kind not in "iub" or y.min() < 0:
        raise DataError(
            f"{file}: {name} should be whole numbers from 0 on, the classes, or real numbers, a regression; they are "
            f"{y.dtype}" + ("" if y.dtype.kind not in "iub" else f", and the least is {y.min()}")
        )
    if y.max() >= MOST_CLASSES:
        raise DataError(f"{file}: {name} go up to {y.max()}; {MOST_CLASSES} classes are the most, from 0 on")
    return y.astype(np.int64)


def _finite(file: str, name: str, rows: npt.NDArray[Any]) -> Floats:
    with np.errstate(over="ignore"):
        found = rows.astype(np.float32)
    bad = ~np.isfinite(found)
    if bad.any():
        row, column = (int(index[0]) for index in np.nonzero(bad))
        n_bad = int(bad.sum())
        counted = "a number that is not finite," if n_bad == 1 else f"{n_bad:,} numbers that are not finite, the first"
        raise DataError(f"{file}: {name} hold {counted} in row {row + 1}, place {column + 1}: {rows[row, column]}")
    return found
