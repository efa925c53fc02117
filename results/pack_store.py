"""How a pack's progress is committed, and how a pack goes on after whatever was killed.

The order of a commit decides everything. Segment, rows of further tables, whole traces of the runs that ended, the same
of the further tables, their weights, checkpoint: each is written aside, synced and given its name, and none of them
counts yet. Then a header names them with their sha256. The header's rename is the commit point: before it the segment
never happened, after it the segment will be complete. Only then are whole traces published, by giving the staged file a
second name in `traces/`, which can't replace anything; a resume rolls that forward. Runs that ended wait in the live
segments until there are `publish_runs` of them or the pack is done: a large sweep would else be cut into more files
than readers bear. The header after the last segment has no checkpoint, and is written once more as `done.json`.

A pack has attempts of its own: each resume takes the next number, and whoever sees a higher number than its own, or a
newer launch, publishes nothing any more. The number is in the names of live files, so no two attempts write the same
file, and the newest header is that of the latest attempt. No clock decides anything.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from results import durable
from results.errors import DamagedError, FencedError
from results.headers import Header, RunOutcome, StoredFile, encode_header
from results.pack_files import PackFiles, read_json
from results.places import Place
from results.repeats import earlier_rows, unequal
from results.versions import require_fields, require_kind

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Weights = Mapping[str, Mapping[str, np.ndarray]]

FURTHER_TABLES = ("measures", "snapshots")
"""Beside the traces; a sweep may have none of them."""
FOREVER = 2**62
"""Later than every attempt."""


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """From where a pack goes on."""

    segment: int
    """The next segment to train; 0 when nothing is committed."""
    checkpoint: bytes | None
    """State before that segment; None at the start, and when the pack is done."""
    run_steps: int
    done: bool
    skipped: tuple[str, ...] = ()
    """What was found damaged and passed over: for the user to know."""
    fingerprint: Mapping[str, Any] | None = None
    """Of the attempt that committed last: going on with another one can change bits."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a pack failed."""

    attempt: int
    """The launch in which it did."""
    text: str
    is_pause: bool = False
    """The disk refused: nothing is wrong with the pack, which goes on where there is room again."""


class PackStore:
    """What one pack has committed. From SweepStore.pack.

    Reading changes nothing. A writer calls `resume` once, then `commit` for each segment.
    """

    def __init__(self, root: Place, pack_id: str, latest_launch: Callable[[], int]) -> None:
        self.pack_id = pack_id
        self.files = PackFiles(root, pack_id)
        self._latest_launch = latest_launch
        self._attempt = 0
        self._header: Header | None = None
        self._earlier: dict[str, str] = {}
        self._in_place: set[str] = set()

    def is_done(self) -> bool:
        return self.files.done.exists()

    def headers(self) -> list[Header]:
        """Those that can be read, newest last; of a pack that is done only the last one."""
        return self.files.headers()[0]

    def newest_header(self) -> Header | None:
        """What is committed, by its header alone.

        Raises DamagedError if the pack is done and its last header cannot be read: then nobody may take it for one that
        has committed nothing, and its files for debris.
        """
        headers, damaged = self.files.headers()
        if damaged and self.is_done():
            raise damaged[0]
        return headers[-1] if headers else None

    def outcomes(self) -> list[RunOutcome]:
        """Of the runs that ended."""
        header = self.newest_header()
        return list(header.outcomes) if header else []

    def failure(self) -> Failure | None:
        """Why the pack failed last time; None once it was resumed."""
        entry = read_json(self.files.failure)
        if entry is None:
            return None
        require_kind(("text",), entry, self.files.failure, "why the pack failed")
        require_fields(Failure, entry, self.files.failure)
        return Failure(**entry)

    def read_progress(self) -> dict[str, Any] | None:
        """None too if a power cut took it."""
        with contextlib.suppress(DamagedError):
            return read_json(self.files.progress)
        return None

    def resume(self, *, attempt: int, environment: Mapping[str, Any] | None = None) -> ResumePoint:
        """Takes the pack for the launch numbered `attempt`, and says where to go on.

        That is the newest header whose files all have their sha256, else the one before, else the start. Publishes what
        was committed but not published, or is gone; removes what older attempts left. Of a pack that is done, writes
        nothing. `environment` is what rows depend on besides the plan; see results.repeats. Raises FencedError if a
        newer launch is at work, DamagedError if a published file isn't what was committed.
        """
        if self.is_done():
            self.tidy()
            return self._resume_point(self.files.header(self.files.done))
        self._refuse_older_launch(attempt)
        environment = dict(environment or {})
        self._attempt = self._take_attempt(environment)
        self._in_place = set()
        self._header, skipped = self._newest_whole_header()
        self._earlier = earlier_rows(self.files, self._header, environment)
        if self._header:
            self._publish(self._header)
        self._remove_debris(self._attempt)
        durable.remove_file(self.files.failure)
        if self._header and self._header.checkpoint is None:
            self._finish(self._header)
        return self._resume_point(self._header, skipped)

    def commit(
        self,
        *,
        segment: int,
        rows: "pa.Table",
        ended: Sequence[RunOutcome],
        checkpoint: bytes | None,
        weights: "Weights | None" = None,
        further: "Mapping[str, pa.Table] | None" = None,
        run_steps: int,
        lane_steps: int,
        attempt: int,
        plan_id: str,
        fingerprint: Mapping[str, Any],
        publish_runs: int = 1,
        wall_s: float = 0.0,
    ) -> tuple[str, ...]:
        """Commits one segment: afterwards its rows are safe, and the runs that ended are published if there are enough.

        `rows` come from schema.trace_table, in any order; `further` holds the segment's rows of each other table that
        the sweep has, perhaps none (schema.further_table); `weights` are those of `ended` runs, by run_id and name;
        `checkpoint` is the state after the segment, None after the pack's last one; `run_steps` counts all steps so
        far, `lane_steps` those of idle lanes, too; `attempt` is the launch that was given to `resume`; `publish_runs`
        comes from the plan: so many runs that have ended are the least to be published in one file; `wall_s` is what
        the segment took. Returns what was written before and has other bytes now; see Header.unequal.
        Raises FencedError if a newer attempt has taken over, OSError if the disk refuses: the last commit is intact.
        """
        assert self._attempt, "resume comes before the first commit"
        before = self._header or _nothing(plan_id, self.pack_id)
        assert segment == before.segment + 1, "segments are committed in their order"
        self._refuse_older_attempt(attempt)
        header = replace(
            before,
            plan_id=plan_id,
            segment=segment,
            attempt=self._attempt,
            launch=attempt,
            run_steps=run_steps,
            lane_steps=lane_steps,
            outcomes=(*before.outcomes, *ended),
            wall_s=before.wall_s + wall_s,
            fingerprints={**before.fingerprints, str(self._attempt): dict(fingerprint)},
        )
        header = self._add_further(self._add_segment(header, rows), further or {})
        other_bytes = unequal(self._earlier, [header.segments[-1], *header.further[len(before.further) :]])
        header = replace(header, unequal=(*before.unequal, *other_bytes))
        header = _let_wait(header, [run.run_id for run in ended])
        header = self._write_payload(header, tuple(further or ()), weights or {}, checkpoint, publish_runs)
        self._refuse_older_attempt(attempt)
        self._write(self.files.live("header", segment, self._attempt, "json"), encode_header(header))
        self._header = header
        self._refuse_older_attempt(attempt)
        self._publish(header)
        if checkpoint is None:
            self._finish(header)
        else:
            self._drop_older_checkpoints(header, before)
        return other_bytes

    def whole_traces(self, header: Header, run_ids: Sequence[str]) -> "pa.Table":
        """All rows that the live segments have of these runs, by (run_id, step)."""
        import pyarrow as pa

        from results.schema import sort_rows

        first = _first_segment(header, run_ids)
        return sort_rows(pa.concat_tables(self._rows_of(run_ids, header.segments[first:])))

    def whole_further(self, header: Header, table: str, run_ids: Sequence[str]) -> "pa.Table":
        """The same of a table beside the traces; perhaps no rows."""
        import pyarrow as pa

        from results.schema import further_schema, sort_rows

        entries = self.files.further(header, table, _first_segment(header, run_ids))
        parts = [further_schema(table).empty_table(), *self._rows_of(run_ids, entries)]
        return sort_rows(pa.concat_tables(parts), table)

    def made_again(self, header: Header, entry: StoredFile) -> "pa.Table":
        """The rows of a published table from the live segments: the same, so they have the same bytes.

        Raises DamagedError for weights, and if a segment isn't what was committed.
        """
        if entry.rows is None:
            raise DamagedError(self.files.path(entry), "a published file is missing")
        if entry.table == "traces":
            return self.whole_traces(header, entry.runs)
        return self.whole_further(header, entry.table, entry.runs)

    def _bytes_again(self, header: Header, entry: StoredFile) -> bytes:
        from results import tables

        data = tables.encode(self.made_again(header, entry))
        if durable.sha256_of(data) != entry.sha256:
            raise DamagedError(self.files.path(entry), "a published file is missing, and made again it differs")
        return data

    def _rows_of(self, run_ids: Sequence[str], entries: Iterable[StoredFile]) -> "list[pa.Table]":
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(run_ids, pa.string())
        return [rows.filter(pc.is_in(rows["run_id"], wanted)) for rows in map(self.files.rows, entries)]

    def refuse_to_replace(self, attempt: int) -> None:
        """FencedError unless launch `attempt` holds the pack. What has committed is never replaced: our bug."""
        self._refuse_older_launch(attempt)
        assert self.newest_header() is None, "an amendment touches packs without a commit only"

    def write_progress(self, progress: Mapping[str, Any]) -> None:
        """A sign of life for `status`: whole at any instant, but may not outlast a power cut."""
        data = json.dumps(dict(progress)).encode()
        durable.replace_file(self.files.progress, data, tag=f"a{self._attempt}", durable=False)

    def write_failure(self, text: str, attempt: int, *, is_pause: bool = False) -> None:
        """Keeps why the pack failed until it is resumed. Needs no `resume` before: the worker may be dead."""
        durable.make_folder(self.files.folder)
        data = json.dumps({"attempt": attempt, "text": text, "is_pause": is_pause}).encode()
        durable.replace_file(self.files.failure, data, tag=durable.process_tag())

    def can_restore(self, header: Header, entry: StoredFile) -> bool:
        """Whether live segments hold all of a published file."""
        with contextlib.suppress(DamagedError):
            return self._bytes_again(header, entry) is not None
        return False

    def restore(self, header: Header, entry: StoredFile) -> None:
        """Publishes a file that is gone once more, from live segments. Raises DamagedError if they don't hold it."""
        self._write(self.files.staged(entry), self._bytes_again(header, entry))
        self._publish_file(entry)
        durable.remove_file(self.files.staged(entry))

    def tidy(self) -> list[Place]:
        """Removes what a pack that is done needs no more (and a kill right after its end left); returns it."""
        return self._remove_debris(FOREVER) if self.is_done() else []

    def clean(self) -> list[Place]:
        """As `tidy`, and the live segments of a pack that is done go too: their rows are published.

        Raises DamagedError before it removes one of them, if a published file isn't what was committed.
        """
        removed = self.tidy()
        if not self.is_done():
            return removed
        done = self.files.header(self.files.done)
        segments = [path for path in map(self.files.path, (*done.segments, *done.further)) if path.exists()]
        if segments:
            for entry in done.published:
                self.files.check(entry)
            # Said first: a segment that is missing without this note is damage.
            durable.replace_file(self.files.cleaned, b"{}", tag=durable.process_tag())
        for path in segments:
            durable.remove_file(path)
        return [*removed, *segments]

    # The parts of a commit, in their order

    def _write_payload(
        self,
        header: Header,
        tables: Sequence[str],
        weights: "Weights",
        checkpoint: bytes | None,
        publish_runs: int,
    ) -> Header:
        is_full = len(header.waiting) >= publish_runs or checkpoint is None
        if header.waiting and is_full:
            header = self._stage_waiting(header, tables, weights)
        elif weights:
            header = self._add_weights(header, weights)
        assert checkpoint is not None or not header.running, "the last segment leaves runs that have not ended"
        return replace(header, checkpoint=None if checkpoint is None else self._add_checkpoint(header, checkpoint))

    def _add_segment(self, header: Header, rows: "pa.Table") -> Header:
        from results import schema, tables

        seen = dict.fromkeys(rows["run_id"].unique().to_pylist(), header.segment)
        over = {*header.waiting, *(run_id for entry in header.published for run_id in entry.runs)}
        assert not seen.keys() & over, "rows after the end"
        data = tables.encode(schema.sort_rows(rows))
        entry = self._store(self.files.live("segment", header.segment, self._attempt, "parquet"), data, len(rows))
        return replace(header, segments=(*header.segments, entry), running={**seen, **header.running})

    def _add_further(self, header: Header, further: "Mapping[str, pa.Table]") -> Header:
        """Most segments have no rows of tables whose schedule is sparse, and then no file."""
        from results import schema, tables

        entries = []
        for table, rows in further.items():
            if len(rows):
                data = tables.encode(schema.sort_rows(rows, table))
                path = self.files.live(table, header.segment, self._attempt, "parquet")
                entries.append(self._store(path, data, len(rows)))
        return replace(header, further=(*header.further, *entries))

    def _stage_waiting(self, header: Header, further: Sequence[str], weights: "Weights") -> Header:
        """Stages the whole traces of all runs that wait, their rows of `further` tables, and their weights; `weights`
        are those of the latest."""
        from results import tables
        from results.weights import decode_weights

        waiting = tuple(header.waiting)
        whole = {"traces": self.whole_traces(header, waiting)}
        whole |= {table: self.whole_further(header, table, waiting) for table in further}
        published = list(header.published)
        for table, rows in whole.items():
            entry = self._stage(table, header.segment, "parquet", tables.encode(rows), len(rows))
            published.append(replace(entry, runs=waiting))
        parts = [(entry.runs, self.files.check(entry)) for entry in header.weights]
        earlier = {run_id: decode_weights(data, run_id) for runs, data in parts for run_id in runs}
        if earlier or weights:
            published.append(self._stage_weights(header, {**earlier, **weights}))
        return replace(header, published=tuple(published), waiting={}, weights=())

    def _stage_weights(self, header: Header, weights: "Weights") -> StoredFile:
        from results.weights import encode_weights

        entry = self._stage("weights", header.segment, "safetensors", encode_weights(weights))
        return replace(entry, runs=tuple(weights))

    def _add_weights(self, header: Header, weights: "Weights") -> Header:
        from results.weights import encode_weights

        path = self.files.live("weights", header.segment, self._attempt, "safetensors")
        entry = replace(self._store(path, encode_weights(weights)), runs=tuple(weights))
        return replace(header, weights=(*header.weights, entry))

    def _add_checkpoint(self, header: Header, checkpoint: bytes) -> StoredFile:
        return self._store(self.files.live("checkpoint", header.segment, self._attempt, "bin"), checkpoint)

    def _publish(self, header: Header) -> None:
        """Brings every published file to its place; one that is there already stays, and must be the same.

        Those that this writer has seen there are looked for again at the pack's end only: a pack may publish hundreds,
        and in a bucket each look is a request.
        """
        is_last = header.checkpoint is None
        for entry in header.published:
            if entry.path in self._in_place and not is_last:
                continue
            staged, target = self.files.staged(entry), self.files.path(entry)
            if staged.exists():
                self._publish_file(entry)
                durable.remove_file(staged)
            elif not target.exists():
                self.restore(header, entry)
            self._in_place.add(entry.path)

    def _publish_file(self, entry: StoredFile) -> None:
        staged, target = self.files.staged(entry), self.files.path(entry)
        durable.make_folder(target.parent)
        self.files.check(replace(entry, path=self.files.relative(staged)))
        with contextlib.suppress(FileExistsError):
            durable.link_file(staged, target)
        self.files.check(entry)
        durable.sync_folder(target.parent)

    def _finish(self, header: Header) -> None:
        """Says that the pack is done, then lets go of what only a resume would have needed. All is read back first."""
        for entry in (*header.segments, *header.further, *header.published):
            self.files.check(entry)
        self._write(self.files.done, encode_header(header))
        self.tidy()

    def _drop_older_checkpoints(self, header: Header, before: Header) -> None:
        """Keeps this header and the one it went on from. The new checkpoint is read back before an older one goes."""
        assert header.checkpoint is not None
        self.files.check(header.checkpoint)
        kept = {header.order(), before.order()}
        for kind in ("header", "checkpoint"):
            for path, order in self.files.lives(kind):
                if order not in kept and order < header.order():
                    durable.remove_file(path)

    def _store(self, path: Place, data: bytes, rows: int | None = None) -> StoredFile:
        self._write(path, data)
        return StoredFile(path=self.files.relative(path), sha256=durable.sha256_of(data), rows=rows)

    def _stage(self, table: str, segment: int, suffix: str, data: bytes, rows: int | None = None) -> StoredFile:
        kind = f"publish_{table}" if table in FURTHER_TABLES else "publish"
        staged = self._store(self.files.live(kind, segment, self._attempt, suffix), data, rows)
        return replace(staged, path=f"{table}/{self.pack_id}-{segment:05d}.{suffix}", staged=staged.path)

    def _write(self, path: Place, data: bytes) -> None:
        durable.write_once(path, data, tag=f"a{self._attempt}")

    # Going on

    def _take_attempt(self, environment: dict[str, Any]) -> int:
        durable.make_folder(self.files.folder)
        while True:
            attempt = self.files.newest_attempt() + 1
            with contextlib.suppress(FileExistsError):
                durable.create_marker(self.files.attempt_marker(attempt), json.dumps(environment).encode())
                return attempt

    def _refuse_older_launch(self, attempt: int) -> None:
        latest = self._latest_launch()
        if attempt < latest:
            raise FencedError(f"pack {self.pack_id} is no longer launch {attempt}'s: launch {latest} has taken over")

    def _refuse_older_attempt(self, attempt: int) -> None:
        self._refuse_older_launch(attempt)
        if self.files.newest_attempt() > self._attempt:
            raise FencedError(f"pack {self.pack_id} was taken over by a newer attempt")

    def _newest_whole_header(self) -> tuple[Header | None, tuple[str, ...]]:
        headers, damaged = self.files.headers()
        skipped = [str(error) for error in damaged]
        for header in reversed(headers):
            try:
                for entry in header.payload:
                    self.files.check(entry)
                return header, tuple(skipped)
            except DamagedError as error:
                skipped.append(str(error))
        return None, tuple(skipped)

    def debris(self, attempt: int = FOREVER) -> list[Place]:
        """What attempts before this one left and no header names. Raises DamagedError as `newest_header` does."""
        self.newest_header()
        headers = self.headers()
        payload = (entry for header in headers for entry in header.payload)
        named = {entry.path for entry in payload} | {self.files.relative(self.files.header_path(it)) for it in headers}
        staged = {str(entry.staged): entry for header in headers for entry in header.published}
        left = {path: staged.get(self.files.relative(path)) for path in self.files.debris(attempt, named)}
        return [path for path, entry in left.items() if entry is None or self.files.path(entry).exists()]

    def _remove_debris(self, attempt: int) -> list[Place]:
        removed = self.debris(attempt)
        for path in removed:
            durable.remove_file(path)
        return removed

    def _resume_point(self, header: Header | None, skipped: tuple[str, ...] = ()) -> ResumePoint:
        if header is None:
            return ResumePoint(segment=0, checkpoint=None, run_steps=0, done=False, skipped=skipped)
        return ResumePoint(
            segment=header.segment + 1,
            checkpoint=None if header.checkpoint is None else self.files.check(header.checkpoint),
            run_steps=header.run_steps,
            done=header.checkpoint is None,
            skipped=skipped,
            fingerprint=header.fingerprints[str(header.attempt)],
        )


def _first_segment(header: Header, run_ids: Sequence[str]) -> int:
    """From which on there may be rows of these runs; of runs that are published it is forgotten."""
    since = {**header.running, **header.waiting}
    return min((since.get(run_id, 0) for run_id in run_ids), default=header.segment)


def _let_wait(header: Header, ended: Sequence[str]) -> Header:
    """Runs that ended are no longer running."""
    running = {run_id: first for run_id, first in header.running.items() if run_id not in set(ended)}
    waiting = {run_id: header.running[run_id] for run_id in ended}
    return replace(header, running=running, waiting={**header.waiting, **waiting})


def _nothing(plan_id: str, pack_id: str) -> Header:
    """The state before the first segment."""
    return Header(
        plan_id=plan_id,
        pack_id=pack_id,
        segment=-1,
        attempt=0,
        launch=0,
        run_steps=0,
        lane_steps=0,
        segments=(),
        published=(),
        checkpoint=None,
        outcomes=(),
    )
