"""Is everything on disk what was committed? Reads every byte, changes nothing.

Damage is a file that isn't what its header, or the plan, says. Debris is what a kill left and the next launch removes.

A launch may be at work meanwhile. What it removes or replaces while we read is no damage: a finding stands only if what
says so, read again, still says so.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from results import schema, table_sums, tables
from results.errors import DamagedError, LostPlanError
from results.headers import Header, StoredFile
from results.pack_files import PackFiles
from results.pack_store import FURTHER_TABLES, PackStore
from results.places import Place, below
from results.store import SweepStore

PUBLISHED = ("traces", *FURTHER_TABLES, "weights")
"""Folders of published files."""

Homes = dict[tuple[str, str], Place]
"""(table, run_id) -> the published file that holds the run."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    path: Place
    problem: str
    kind: Literal["damage", "debris"] = "damage"

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


def verify(root: Place) -> list[Finding]:
    """Every sha256, row count, duplicate and plan_id of a sweep, and files that nobody vouches for.

    An empty list is good news. Raises MissingError if there is no sweep.
    """
    store = SweepStore(root)
    try:
        require_whole_plan(store)
    except DamagedError as error:
        return [_finding(error)]  # without the plan nobody knows which packs there are
    return list(_findings(store))


def require_whole_plan(store: SweepStore) -> None:
    """Raises LostPlanError if a file of the plan isn't what was written, or if one must be missing: packs have
    committed of which the plan knows nothing."""
    known = _packs_ever(store.read_plan())
    for folder in below(store.root / "packs"):
        is_foreign = folder.name not in known and PackFiles(store.root, folder.name).headers()[0]
        if is_foreign and folder.name not in _packs_ever(store.read_plan()):
            what = "plan.0001.json or a later one is missing, or this is the plan of another sweep"
            raise LostPlanError(
                store.root / "plan.json", f"knows nothing of pack {folder.name}, which has committed: {what}"
            )


def _packs_ever(plan: Mapping[str, Any]) -> set[str]:
    """Of the plan, and those that amendments replaced or removed."""
    changes = plan["amendments"]
    gone = {name for change in changes for name in (change.get("replaced"), *change.get("removed", ())) if name}
    return gone | {pack["pack_id"] for pack in plan["packs"]}


def _findings(store: SweepStore) -> Iterator[Finding]:
    yield from wrong_spec(store)
    there = published_files(store)  # before the headers that name them: what is published later is not looked for
    vouched: set[Place] = set()
    homes: Homes = {}
    for pack in store.packs().values():
        for path in header_paths(pack):
            yield from wrong_header(store, pack, path)
        yield from wrong_failure(pack)
        headers = pack.headers()
        yield from _wrong_payload(pack, headers)
        if headers:
            newest = headers[-1]
            yield from _in_two_files(pack, newest, homes)
            for entry in newest.published:
                yield from wrong_published(pack, newest, entry)
            vouched |= {pack.files.path(entry) for entry in newest.published}
    yield from (Finding(path, "no header vouches for this file") for path in there if path not in vouched)
    yield from wrong_tables(store)
    if store.holder() is None:
        yield from _debris(store)


COPIES = {"spec.yaml": ("spec_text", "spec"), "code.py": ("code_text", "code")}
"""Files of which the plan holds a copy, under which name, and what they are."""


def wrong_spec(store: SweepStore) -> Iterator[Finding]:
    """spec.yaml and the user's code, against the copies in the plan."""
    for name, (key, what) in COPIES.items():
        path, written = store.root / name, store.read_plan().get(key)
        if written is not None and not (path.exists() and path.read_bytes() == written.encode()):
            yield Finding(path, f"not the {what} that was launched; the plan holds it, and decides")


def header_paths(pack: PackStore) -> list[Place]:
    """done.json, and the headers beside it."""
    live = [path for path, _ in pack.files.lives("header")]
    return [pack.files.done, *live] if pack.is_done() else live


def wrong_header(store: SweepStore, pack: PackStore, path: Place) -> Iterator[Finding]:
    """Not what was written, of another pack or plan, or with runs that the plan doesn't have."""
    try:
        header = pack.files.header(path)
    except FileNotFoundError:
        return  # the writer let go of it while we read
    except DamagedError as error:
        yield _finding(error)
        return
    planned = store.pack_plan(pack.pack_id)["runs"]["run_id"]
    if header.plan_id not in store.read_plan()["plan_ids"]:
        yield Finding(path, f"belongs to another plan ({header.plan_id})")
    if set(run.run_id for run in header.outcomes) - set(planned):
        yield Finding(path, "names runs that the plan does not have")
    if header.checkpoint is None and len(header.outcomes) != len(planned):
        yield Finding(path, "is the pack's last and does not have an outcome for every run")


def wrong_failure(pack: PackStore) -> Iterator[Finding]:
    """What is kept of why a pack failed, which `status` shows."""
    try:
        pack.failure()
    except DamagedError as error:
        yield _finding(error)


def _wrong_payload(pack: PackStore, headers: Iterable[Header]) -> Iterator[Finding]:
    """Live segments and checkpoints, each once, however many headers name it; those that newer headers still name."""
    for path, entry in _payload(headers).items():
        found = list(wrong_live(pack, entry))
        if found and path in _payload(pack.headers()):
            yield from found


def _payload(headers: Iterable[Header]) -> dict[str, StoredFile]:
    return {entry.path: entry for header in headers for entry in header.payload}


def wrong_live(pack: PackStore, entry: StoredFile) -> Iterator[Finding]:
    """A live file, unless `clean` has removed it."""
    if not (pack.files.cleaned.exists() and not pack.files.path(entry).exists()):
        yield from _wrong_file(pack, entry)


def _in_two_files(pack: PackStore, header: Header, homes: Homes) -> Iterator[Finding]:
    for entry in header.published:
        for run_id in entry.runs:
            home = homes.setdefault((entry.table, run_id), pack.files.path(entry))
            if home != pack.files.path(entry):
                yield Finding(pack.files.path(entry), f"holds run {run_id}, which {home} holds too")


def wrong_published(pack: PackStore, header: Header, entry: StoredFile) -> Iterator[Finding]:
    """A published file, or the staged one that will be published when the pack goes on."""
    if pack.files.path(entry).exists() or not pack.files.staged(entry).exists():
        yield from _wrong_file(pack, entry, header)


def _wrong_file(pack: PackStore, entry: StoredFile, ended: Header | None = None) -> Iterator[Finding]:
    path = pack.files.path(entry)
    try:
        data = pack.files.check(entry)
    except DamagedError as error:
        yield _finding(error)
        return
    if entry.rows is not None:
        table = next((name for name in FURTHER_TABLES if name in (entry.table, path.name.split("-")[0])), "traces")
        rows = tables.decode(data)
        problems = list(_wrong_rows(rows, entry, table))
        if ended and table == "traces":
            problems = problems or list(_wrong_ends(rows, ended))
        yield from (Finding(path, problem) for problem in problems)


def _wrong_rows(rows: pa.Table, entry: StoredFile, table: str) -> Iterator[str]:
    if len(rows) != entry.rows:
        yield f"has {len(rows)} rows, {entry.rows} were committed"
    if not schema.is_ordered(rows, table):
        yield "has two rows for the same step of a run, or rows out of order"
    if entry.runs and not pc.all(pc.is_in(rows["run_id"], pa.array(entry.runs, pa.string()))).as_py():
        yield "has rows of runs that it was not committed for"


def _wrong_ends(rows: pa.Table, header: Header) -> Iterator[str]:
    """A whole trace reaches the step at which its run ended."""
    ends = {run.run_id: run for run in header.outcomes}
    if not len(rows):
        return
    run_ids = rows["run_id"].to_numpy()
    for row in np.flatnonzero(np.append(run_ids[1:] != run_ids[:-1], True)).tolist():
        run_id, step, budget = (rows[name][row].as_py() for name in ("run_id", "step", "steps"))
        run = ends.get(run_id)
        due = budget if run is None or run.stopped_at is None else run.stopped_at
        if run is None or step < due:
            yield f"has the trace of run {run_id} up to step {step}, which went on to {due}"


def published_files(store: SweepStore) -> list[Place]:
    """Files in the folders of published files. A link in the place of such a folder is one itself: what lies behind it
    may be anybody's, and `repair` moves those that no header names."""
    folders = [store.root / name for name in PUBLISHED]
    links = [folder for folder in folders if isinstance(folder, Path) and folder.is_symlink()]
    return [*links, *(it for folder in folders if folder not in links for it in below(folder))]


def wrong_tables(store: SweepStore) -> Iterator[Finding]:
    """The tables of the whole sweep, and what vouches for them."""
    try:
        sums = table_sums.read_sums(store.root)
    except DamagedError as error:
        yield _finding(error)
        return
    for name in table_sums.TABLES:
        if (store.root / name).exists():
            try:
                data = _whole_table(store.root, name, sums)
            except DamagedError as error:
                yield _finding(error)
                continue
            if name in ("runs.parquet", "labels.parquet"):
                run_ids = tables.decode(data)["run_id"]
                if len(run_ids.unique()) != len(run_ids):
                    yield Finding(store.root / name, "has more than one row for a run")


def _whole_table(root: Place, name: str, sums: Mapping[str, Sequence[str]]) -> bytes:
    """Raises DamagedError if it isn't what was written. One that is replaced between `sums` and itself is looked at
    again."""
    try:
        return table_sums.check_table(root, name, sums)
    except DamagedError:
        again = table_sums.read_sums(root)
        if again == sums:
            raise
        return _whole_table(root, name, again)


def _debris(store: SweepStore) -> Iterator[Finding]:
    left: list[Place] = []
    for pack in store.packs().values():
        with contextlib.suppress(DamagedError):  # found already; without its header nobody knows
            left += pack.debris()
    yield from (
        Finding(path, "left by a kill; the next launch removes it", "debris") for path in [*store.temporaries(), *left]
    )


def _finding(error: DamagedError) -> Finding:
    return Finding(error.path, error.problem)
