"""The folder of a sweep: every path in it, and every way to change it.

    spec.yaml  plan.json        written once; plan.json last, so a folder with a plan is whole
    code.py                     the user's Python file, of sweeps that run one
    plan.0001.json              amendments; see results.plan_files
    launch.lock                 held by the launch at work
    attempts/0001               one a launch, numbered by taking the name
    packs/<pack_id>/            see results.pack_files
    traces/  measures/  snapshots/  weights/    published by packs
    runs.parquet  labels.parquet  sensitivity.parquet  critical.parquet  figures/
    tables.json                 their sha256; see results.table_sums
    quarantine/                 what was damaged; see results.repair

The lock is that of results.launch_lock.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from results import durable, plan_files
from results.durable import process_tag
from results.errors import ConflictError, FencedError, MissingError, StoreError
from results.launch_lock import LaunchLock, ObjectLock, is_another_process, whoami
from results.objects import ObjectPath
from results.pack_store import PackStore
from results.places import Place, below, place_of
from results.plan_files import NAME, plan_identity
from results.table_sums import TABLES, write_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

OWN = {"spec.yaml", "code.py", "plan.json", "launch.lock", "attempts", "stop"}
"""What a launch that was killed before it wrote the plan can have left."""


class SweepStore:
    """A sweep's folder, which need not exist yet. Only `create`, `lock` and the write methods change anything."""

    def __init__(self, root: str | Place) -> None:
        self.root = place_of(root)
        self._lock = ObjectLock(self.root) if isinstance(self.root, ObjectPath) else LaunchLock(self.root)
        self._newest_seen: int | None = None
        self._known: tuple[dict[str, Any], dict[str, dict[str, Any]]] = ({}, {})

    @classmethod
    def create(
        cls, root: Place, *, spec_text: str, plan: Mapping[str, Any], code_text: str | None = None
    ) -> "SweepStore":
        """Writes spec, code and plan, and gives the plan its `plan_id`; a folder that has this very plan is left as it
        is.

        Raises ConflictError if the folder holds another plan, or files that no launch of ours has left.
        """
        plan = {**plan, "spec_text": spec_text, **({} if code_text is None else {"code_text": code_text})}
        plan = {**plan, "plan_id": plan_identity(plan)}
        store = cls(root)
        store._refuse_foreign_folder()
        if store.exists():
            store._refuse_other_plan(plan)
            return store
        durable.make_folder(store.root)
        store._create_file("spec.yaml", spec_text.encode())
        if code_text is not None:
            store._create_file("code.py", code_text.encode())
        store._create_file("plan.json", json.dumps(plan, allow_nan=False).encode())
        return cls(root)

    def require_text_path(self) -> None:
        """Raises StoreError for a path that is no text: Arrow cannot read tables there."""
        try:
            str(self.root).encode()
        except UnicodeEncodeError:
            what = f"{self.root}: this path is not UTF-8 text, and Arrow cannot read there"
            raise StoreError(f"{what}; rename the folder, or go through a link with another name") from None

    @property
    def code_path(self) -> Place:
        """The user's Python file, in sweeps that run one."""
        return self.root / "code.py"

    @property
    def traces(self) -> Place:
        """The folder of whole traces."""
        return self.root / "traces"

    def table_path(self, name: str) -> Place:
        """Of a table of the whole sweep: runs, labels, sensitivity or critical."""
        assert f"{name}.parquet" in TABLES, name
        return self.root / f"{name}.parquet"

    def figures(self) -> list[Place]:
        """Those that there are."""
        return below(self.root / "figures")

    def exists(self) -> bool:
        return (self.root / "plan.json").exists()

    def read_plan(self) -> dict[str, Any]:
        """As amended so far; see results.plan_files. Not to be changed: it is remembered while its files stay the same.

        Raises MissingError without a plan, DamagedError if it isn't the one that was written.
        """
        return plan_files.read_plan(self.root)

    def current_pack(self, pack_id: str) -> str:
        """The pack that stands in the place of this one, if an amendment replaced it."""
        return plan_files.successor(self.read_plan(), pack_id)

    def amend(self, *, replaced: str, pack: Mapping[str, Any], reason: str, attempt: int) -> str:
        """Puts `pack` in the place of a pack without a commit, which launch `attempt` was training.

        Raises FencedError if a newer launch or attempt has taken over. Returns the id of what stands there now.
        """
        self.pack(replaced).refuse_to_replace(attempt)
        return plan_files.amend(self.root, replaced=replaced, pack=pack, reason=reason, tag=process_tag())

    def extend(
        self,
        *,
        packs: Sequence[Mapping[str, Any]],
        changed: Mapping[str, Any],
        moved: Mapping[str, Mapping[str, Any]] = {},
        reason: str,
    ) -> None:
        """Adds packs to the plan, and replaces entries of it (`spec`, `axes`, ...) that tell of all runs. `moved` says
        where data lie now, by their sha256.

        Raises ConflictError for a pack that is there already.
        """
        there = set(self.pack_ids()) & {pack["pack_id"] for pack in packs}
        if there:
            raise ConflictError(f"{self.root} has a pack {min(there)} already")
        plan_files.extend(self.root, packs=packs, changed=changed, moved=moved, reason=reason, tag=process_tag())

    def recut(
        self,
        *,
        removed: Sequence[str],
        packs: Sequence[Mapping[str, Any]],
        changed: Mapping[str, Any],
        reason: str,
        attempt: int,
    ) -> None:
        """Puts `packs` in the place of those `removed`, none of which has a commit, for launch `attempt`.

        Raises FencedError if a newer launch has taken over, ConflictError if the plan was amended meanwhile.
        """
        for pack_id in removed:
            self.pack(pack_id).refuse_to_replace(attempt)
        plan_files.recut(self.root, removed=removed, packs=packs, changed=changed, reason=reason, tag=process_tag())

    def pack_ids(self) -> list[str]:
        """In the order of the plan."""
        return list(self._packs)

    def pack(self, pack_id: str) -> PackStore:
        if pack_id not in self._known[1] and pack_id not in self._packs:
            raise MissingError(f"{self.root} has no pack {pack_id}")
        return PackStore(self.root, pack_id, self.latest_attempt)

    def packs(self) -> dict[str, PackStore]:
        """All of them by id, in the order of the plan."""
        return {pack_id: PackStore(self.root, pack_id, self.latest_attempt) for pack_id in self._packs}

    def pack_plan(self, pack_id: str) -> dict[str, Any]:
        """The pack's entry in the plan."""
        entry: dict[str, Any] = self._packs[pack_id]
        return entry

    # Launches

    @contextlib.contextmanager
    def lock(self, *, take_over: bool = False) -> Iterator[str | None]:
        """Keeps other launches out, as long as the context lasts or the process lives; gives what to tell the user.

        Creates the folder. `take_over` goes on beside a holder that may live; see results.launch_lock. Raises
        LockedError, which names the holder, or ConflictError if the folder is not ours.
        """
        self._refuse_foreign_folder()
        durable.make_folder(self.root)
        with self._lock.held(take_over=take_over) as note:
            self._newest_seen = self.latest_attempt()
            self._remove_temporaries()
            yield note

    def holder(self) -> dict[str, Any] | None:
        """Host, pid and attempt of the launch at work; None if there is none."""
        return self._lock.holder()

    def begin_attempt(self) -> int:
        """Numbers a launch: 1, 2, ... From here on commits of older launches are refused."""
        durable.make_folder(self.root / "attempts")
        while True:
            attempt = self.latest_attempt() + 1
            with contextlib.suppress(FileExistsError):
                durable.create_marker(self.root / "attempts" / f"{attempt:04d}", whoami(attempt))
                self._lock.name_holder(attempt)
                self._newest_seen = attempt
                return attempt

    def latest_attempt(self) -> int:
        """0 before the first."""
        with contextlib.suppress(FileNotFoundError):
            names = (path.name for path in (self.root / "attempts").iterdir())
            return max((int(name) for name in names if name.isdecimal()), default=0)
        return 0

    def request_stop(self) -> None:
        """Asks the launch at work to end at its next commits."""
        with contextlib.suppress(FileExistsError):
            durable.create_marker(self.root / "stop")

    def stop_requested(self) -> bool:
        return (self.root / "stop").exists()

    def clear_stop(self) -> None:
        durable.remove_file(self.root / "stop")

    # Tables and files of the whole sweep

    def write_runs(self, table: "pa.Table | pd.DataFrame") -> None:
        """Columns of schema.runs_schema; those that are missing become null."""
        from results import schema, tables

        runs = schema.conform(table, schema.runs_schema(self.read_plan()["columns"]))
        self._write_table("runs", tables.encode(runs))

    def write_labels(self, table: "pa.Table | pd.DataFrame") -> None:
        """Columns of schema.labels_schema; those that are missing become null."""
        from results import schema, tables

        labels = schema.conform(table, schema.labels_schema(self.read_plan()["columns"]))
        self._write_table("labels", tables.encode(labels))

    def write_sensitivity(self, frame: "pd.DataFrame") -> None:
        """What `results.classify.sensitivity` measured of the labels."""
        import pyarrow as pa

        from results import schema, tables

        table = pa.Table.from_pandas(frame, preserve_index=False)
        self._write_table("sensitivity", tables.encode(table.replace_schema_metadata(schema.METADATA)))

    def write_critical(self, table: "pa.Table | pd.DataFrame") -> Place:
        """Columns of schema.critical_schema; those that are missing become null. What was written."""
        from results import schema, tables

        self._write_table("critical", tables.encode(schema.conform(table, schema.critical_schema())))
        return self.table_path("critical")

    def figure_path(self, name: str) -> Place:
        """Where a figure belongs; creates the folder."""
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot name a figure: letters, digits, '.', '_' and '-' only")
        durable.make_folder(self.root / "figures")
        return self.root / "figures" / name

    def read_weights(self, run_id: str) -> "dict[str, np.ndarray]":
        """Final weights of a run by their name in its state dict. Raises MissingError if they were not kept."""
        from results.weights import decode_weights

        pack = self.pack(self.pack_of(run_id))
        header = pack.newest_header()
        for entry in (*header.published, *header.weights) if header else ():
            if entry.rows is None and run_id in entry.runs:
                return decode_weights(pack.files.check(entry), run_id)
        raise MissingError(f"{self.root} holds no weights of run {run_id}: {self._why_no_weights()}")

    def pack_of(self, run_id: str) -> str:
        """Raises MissingError for a run that isn't in the plan."""
        for pack_id, entry in self._packs.items():
            if run_id in entry["runs"]["run_id"]:
                return pack_id
        raise MissingError(f"{self.root} has no run {run_id}")

    def clean(self) -> list[Place]:
        """Removes checkpoints and live segments of packs that are done; returns what it removed."""
        return [path for pack_id in self._packs for path in self.pack(pack_id).clean()]

    # What lies beneath

    @property
    def _packs(self) -> dict[str, dict[str, Any]]:
        """By id; made anew when the plan was amended."""
        plan = self.read_plan()
        if plan is not self._known[0]:
            packs = {entry["pack_id"]: entry for entry in plan["packs"]}
            self._known = plan, packs
        return self._known[1]

    def _why_no_weights(self) -> str:
        if self.read_plan().get("spec", {}).get("keep", {}).get("weights") == "none":
            return "the sweep keeps none; with `keep: {weights: final}` in its spec it would"
        return "it has not ended, or ended without them"

    def _refuse_foreign_folder(self) -> None:
        if self.exists():
            return
        if not self.root.is_dir():
            if isinstance(self.root, ObjectPath) or not self.root.exists():
                return
            raise ConflictError(f"{self.root} is a file, not the folder of a sweep")
        foreign = sorted(path.name for path in self.root.iterdir() if path.name not in OWN and not _is_temporary(path))
        if foreign:
            raise ConflictError(f"{self.root} is not empty and not the folder of a sweep (it holds {foreign[0]!r})")

    def _refuse_other_plan(self, plan: Mapping[str, Any]) -> None:
        first = self.read_plan()["plan_ids"][0]
        if first != plan["plan_id"]:
            raise ConflictError(f"{self.root} belongs to another plan ({first})")

    def _create_file(self, name: str, data: bytes) -> None:
        """The same content is fine: a launch that was killed had come as far as this."""
        path = self.root / name
        with contextlib.suppress(FileExistsError):
            durable.create_file(path, data, tag=process_tag())
        if path.read_bytes() != data:
            raise ConflictError(f"{path} exists and is another one")

    def _write_table(self, name: str, data: bytes) -> None:
        if self._newest_seen is not None and self.latest_attempt() > self._newest_seen:
            raise FencedError(f"a newer launch has taken over {self.root}")
        write_table(self.root, self.table_path(name).name, data, tag=process_tag())

    def temporaries(self) -> list[Place]:
        """Files in the making whose writers are gone; one whose writer's pid lives again is not among them."""
        paths = filter(_is_temporary, self.root.iterdir())
        return [path for path in paths if not is_another_process(_writer(path))]

    def _remove_temporaries(self) -> None:
        for path in self.temporaries():
            durable.remove_file(path)


def _is_temporary(path: Place) -> bool:
    return durable.TEMPORARY.fullmatch(path.name) is not None


def _writer(path: Place) -> int:
    match = durable.TEMPORARY.fullmatch(path.name)
    assert match
    return int(match["tag"][1:])
