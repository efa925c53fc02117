"""Put aside what is damaged, so that it is made again, and only that.

Nothing is deleted: damaged files move to `quarantine/0001/` (the next repair takes the next number), each under its
path in the sweep, with a note that says what was wrong. What follows depends on what is left:

- a published table whose live segments are whole is put together from them at once;
- a pack that was not done goes on from its newest commit that is whole, if there is one, at the next launch;
- otherwise that launch trains the pack again, from step 0: then all that it has published moves too;
- a live file of a finished pack is needed by nobody any more;
- tables of the whole sweep are written again by `launch`, or by the verb that made them.

The plan cannot be made again, because it says what machine it was made for. Whoever lost it needs a copy.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from results import durable
from results.durable import process_tag
from results.headers import Header, StoredFile, encode_header
from results.pack_store import PackStore
from results.places import Place, below, relative
from results.store import SweepStore
from results.verify import (
    COPIES,
    PUBLISHED,
    header_paths,
    published_files,
    require_whole_plan,
    wrong_failure,
    wrong_header,
    wrong_live,
    wrong_published,
    wrong_spec,
    wrong_tables,
)

RESUMED = "the next launch goes on from the newest commit that is whole"
FROM_SEGMENTS = "put together again from live segments"
TRAINED_AGAIN = "the next launch trains the pack again"
MADE_AGAIN = "if it belongs to the sweep, the next launch makes it again"
WRITTEN_AGAIN = {
    "sensitivity.parquet": "`grokctl label DIR --sensitivity` measures it again",
    "critical.parquet": "`grokctl critical DIR` finds it again",
}
LABELLED_AGAIN = "the next launch writes it again"
NOT_NEEDED = "nobody needs it: its rows are published"
NEVER_MIND = "it only said why the pack failed; the next launch tries it again"
RESTORED = "restored from a copy"


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A file that was damaged or missing, and what becomes of it."""

    path: Place
    problem: str
    remedy: str
    moved_to: Place | None
    """None for what is missing."""

    @property
    def needs_launch(self) -> bool:
        return self.remedy not in (FROM_SEGMENTS, NOT_NEEDED, RESTORED, *WRITTEN_AGAIN.values())

    def __str__(self) -> str:
        where = f"moved to {self.moved_to}" if self.moved_to else "there is nothing to move"
        return f"{self.path}: {self.problem}; {where}; {self.remedy}"


def repair(root: Place) -> list[Repair]:
    """Puts aside everything that `verify` calls damaged; afterwards it finds nothing damaged.

    Raises LockedError while a launch is at work, LostPlanError if it is the plan that is damaged.
    """
    store = SweepStore(root)
    require_whole_plan(store)
    with store.lock():
        aside = _Quarantine(store.root)
        for pack_id in store.pack_ids():
            _repair_pack(store, store.pack(pack_id), aside)
        vouched = _vouched(store)
        for path in published_files(store):
            if path not in vouched:
                aside.put(path, "no header vouches for this file", MADE_AGAIN)
        _repair_tables(store, aside)
        _repair_spec(store, aside)
    return aside.repairs


class _Quarantine:
    """Where damaged files go, and the list of them."""

    def __init__(self, root: Place) -> None:
        self.repairs: list[Repair] = []
        self._root = root
        self._folder: Place | None = None

    def put(self, path: Place, problem: str, remedy: str) -> None:
        """Moves a file aside, if it is there. The note is written first: a kill must not part them."""
        if any(path == repair.path for repair in self.repairs):
            if not path.exists():
                return
            self._folder = None  # restored meanwhile: it goes into a folder beside, not over its damaged self
        target = None
        if path.exists():
            name = relative(path, self._root)
            target = self._own_folder() / name
            durable.make_folder(target.parent)
            note = json.dumps({"path": name, "problem": problem, "remedy": remedy}, indent=1)
            durable.replace_file(target.with_name(f"{target.name}.note.json"), note.encode(), tag=process_tag())
            durable.move_file(path, target)
        self.repairs.append(Repair(path=path, problem=problem, remedy=remedy, moved_to=target))

    def _own_folder(self) -> Place:
        if self._folder is None:
            above = self._root / "quarantine"
            taken = [int(path.name) for path in below(above) if path.name.isdecimal()]
            self._folder = above / f"{max(taken, default=0) + 1:04d}"
        return self._folder


def _repair_pack(store: SweepStore, pack: PackStore, aside: _Quarantine) -> None:
    found = [finding for path in header_paths(pack) for finding in wrong_header(store, pack, path)]
    wrong = {finding.path: finding.problem for finding in found}
    for finding in wrong_failure(pack):
        aside.put(finding.path, finding.problem, NEVER_MIND)
    is_done, twin = pack.is_done(), _twin(pack, wrong)
    for path, problem in wrong.items():
        of_commit = RESTORED if twin else RESUMED
        aside.put(path, problem, NOT_NEEDED if is_done and path != pack.files.done else of_commit)
    if twin:
        durable.replace_file(pack.files.done, encode_header(twin), tag=process_tag())
    if pack.is_done():
        _repair_finished(pack, aside)
    else:
        _repair_unfinished(pack, aside)


def _twin(pack: PackStore, wrong: Mapping[Place, str]) -> Header | None:
    """What can stand in for a done.json that is wrong."""
    if pack.files.done not in wrong:
        return None
    live = [pack.files.header(path) for path in header_paths(pack) if path not in wrong]
    return next((header for header in live if header.checkpoint is None), None)


def _repair_finished(pack: PackStore, aside: _Quarantine) -> None:
    (header,) = pack.headers()
    lost = _lost(pack, header)
    live = {entry.path: problem for entry in header.payload if (problem := _problem_of(pack, entry))}
    is_kept = _can_restore(pack, header, lost)
    if not is_kept:  # before the pack is forgotten: what lies there is compared with what is trained again
        _put_live(pack, live, TRAINED_AGAIN, aside)
    _make_again(pack, header, lost, aside)
    if is_kept and live:
        durable.replace_file(pack.files.cleaned, b"{}", tag=process_tag())  # said first, as `clean` does
        _put_live(pack, live, NOT_NEEDED, aside)


def _repair_unfinished(pack: PackStore, aside: _Quarantine) -> None:
    for header in () if pack.files.cleaned.exists() else pack.headers():
        bad = {entry.path: problem for entry in header.payload if (problem := _problem_of(pack, entry))}
        _put_live(pack, bad, RESUMED, aside)
        if bad:
            aside.put(pack.files.header_path(header), "names a damaged file", RESUMED)
    newest = pack.newest_header()
    if newest is None:
        _forget(pack, aside)
        return
    _make_again(pack, newest, _lost(pack, newest), aside)


def _make_again(pack: PackStore, header: Header, lost: Mapping[StoredFile, str], aside: _Quarantine) -> None:
    """From live segments what they hold; if that is not all, nothing of the pack counts any more."""
    is_enough = _can_restore(pack, header, lost)
    for entry, problem in lost.items():
        aside.put(pack.files.path(entry), problem, FROM_SEGMENTS if is_enough else TRAINED_AGAIN)
        if is_enough:
            pack.restore(header, entry)
    if not is_enough:
        _forget(pack, aside)


def _can_restore(pack: PackStore, header: Header, lost: Mapping[StoredFile, str]) -> bool:
    return all(pack.can_restore(header, entry) for entry in lost)


def _put_live(pack: PackStore, bad: Mapping[str, str], remedy: str, aside: _Quarantine) -> None:
    for path, problem in bad.items():
        aside.put(pack.files.root / path, problem, remedy)


def _forget(pack: PackStore, aside: _Quarantine) -> None:
    """Nothing of the pack counts any more."""
    published = (path for folder in PUBLISHED for path in below(pack.files.root / folder, f"{pack.pack_id}-*"))
    for path in (*header_paths(pack), pack.files.cleaned, *published):
        if path.exists():
            aside.put(path, "of a pack that lost files which only training makes", TRAINED_AGAIN)


def _lost(pack: PackStore, header: Header) -> dict[StoredFile, str]:
    """Published files that are not what was committed, and what is wrong with them."""
    found = ((entry, next(wrong_published(pack, header, entry), None)) for entry in header.published)
    return {entry: finding.problem for entry, finding in found if finding}


def _problem_of(pack: PackStore, entry: StoredFile) -> str | None:
    finding = next(wrong_live(pack, entry), None)
    return finding.problem if finding else None


def _vouched(store: SweepStore) -> set[Place]:
    packs = [store.pack(pack_id) for pack_id in store.pack_ids()]
    newest = [(pack, header) for pack in packs if (header := pack.newest_header())]
    return {pack.files.path(entry) for pack, header in newest for entry in header.published}


def _repair_tables(store: SweepStore, aside: _Quarantine) -> None:
    """If it is their record that is damaged, nothing vouches for the tables."""
    while findings := [finding for finding in wrong_tables(store) if finding.path.exists()]:
        for finding in findings:
            remedy = WRITTEN_AGAIN.get(finding.path.name, LABELLED_AGAIN)
            aside.put(finding.path, finding.problem, remedy)


def _repair_spec(store: SweepStore, aside: _Quarantine) -> None:
    for finding in wrong_spec(store):
        aside.put(finding.path, finding.problem, RESTORED)
        text = store.read_plan()[COPIES[finding.path.name][0]]
        with contextlib.suppress(FileExistsError):  # of a repair that was killed, and arrived in its bucket just now
            durable.create_file(finding.path, text.encode(), tag=process_tag())
