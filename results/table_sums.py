"""tables.json: the sha256 of the tables of the whole sweep, which no pack's header names.

It is written before the table that it is to vouch for, and names two sums for each: the newest, and that of the table
which lies there until the newest is in its place. So whatever a kill cuts off, the table is one of the two.
"""

from collections.abc import Mapping, Sequence

from results import durable
from results.durable import sha256_of
from results.errors import DamagedError
from results.places import Place
from results.sealed import seal, unseal
from results.versions import require_kind

TABLES = ("runs.parquet", "labels.parquet", "sensitivity.parquet", "critical.parquet")
FILE = "tables.json"


def write_table(root: Place, name: str, data: bytes, *, tag: str) -> None:
    """Replaces a table of the sweep, and vouches for it."""
    path, new = root / name, sha256_of(data)
    old = sha256_of(path.read_bytes()) if path.exists() else ""
    sums = read_sums(root)
    kept = [sha256 for sha256 in sums.get(name, ()) if sha256 == old != new]
    durable.replace_file(root / FILE, seal({"tables": {**sums, name: [new, *kept]}}), tag=tag)
    durable.replace_file(path, data, tag=tag)


def read_sums(root: Place) -> dict[str, list[str]]:
    """The sums that may be, by the table's name. Raises DamagedError if the record isn't what was written."""
    path = root / FILE
    if not path.exists():
        return {}
    body = unseal(path, "the record of checksums")
    require_kind(("tables",), body, path, "the checksums")
    return dict(body["tables"])


def check_table(root: Place, name: str, sums: Mapping[str, Sequence[str]]) -> bytes:
    """The table's content; DamagedError if it isn't what was written."""
    path = root / name
    data = path.read_bytes()
    if name not in sums:
        raise DamagedError(path, f"{FILE} does not vouch for this table")
    if sha256_of(data) not in sums[name]:
        raise DamagedError(path, "not what was written: its sha256 differs")
    return data
