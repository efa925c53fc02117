"""kill -9 before every call that changes the disk, then launch again: what is wrong afterwards?

A program of its own, because it forks hundreds of times and a process with little in it forks fast:
`python tests/store_crash_harness.py FOLDER [SWEEP...] [START] [MUTANT] [NAME=NUMBER...]` prints the first thing that
it finds. A mutant is the store with one mistake built in, which must be found. Sweeps: `let_runs_wait` has runs that
are published in pairs, `measure_too` tables beside the traces, `run_out_of_memory` a pack that is replaced before it
commits, `gain_runs` runs that the plan made before lacks. Launches start from an empty folder, from a sweep that is
`finished` or `halfway`, or from such a one with damage in most kinds of its files (`damaged_finished`,
`damaged_halfway`), which `status --repair` is to mend before. With `bucket` all that happens in a bucket; with `lose`
or `refuse` in one whose server carries out every other change without an answer, or refuses it once. `every=K` takes
each K-th call from `first=F` on, `row=N` kills N times in a row. The last line tells how many cases there were, and how
many kills.
"""

import itertools
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from store_helpers import (
    AMENDED,
    SCHEDULES,
    UnsyncedOs,
    contents,
    copied,
    create_sweep,
    drop,
    gain_runs,
    launch,
    let_runs_wait,
    measure_too,
    overwrite,
    published,
    run_out_of_memory,
    train,
)

from results import durable, open_sweep
from results.errors import DamagedError
from results.headers import StoredFile
from results.pack_files import PackFiles
from results.pack_store import PackStore
from results.places import Place
from results.repair import repair
from results.store import SweepStore
from results.verify import verify

CHANGES = ("mkdir", "open", "write", "fsync", "rename", "link", "unlink")
"""fsync is counted and not done: it makes no difference to what a kill leaves. See test_store_power for power cuts."""
SWEEPS = {sweep.__name__: sweep for sweep in (let_runs_wait, measure_too, run_out_of_memory, gain_runs)}
HARMS = ("lose", "refuse")
RAISED = 111

Mutate = Callable[[], None]
Act = Callable[[Place], int]
Kill = Callable[[Act, Place, int, Mutate], int | None]
"""Does it in a place, dies before the n-th change (0: never) and gives None, or what it returned."""


def n_segments() -> int:
    return sum(len(schedule) for pack_id, schedule in SCHEDULES.items() if pack_id not in AMENDED)


class DeadlyOs(UnsyncedOs):
    """os, as durable sees it, whose n-th change is preceded by kill -9; a write is half done by then."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __getattr__(self, name):
        call = getattr(os, name)
        return self.counted(name, call) if name in CHANGES else call

    def fsync(self, descriptor):
        self.counted("fsync", super().fsync)(descriptor)

    def counted(self, name, call):
        def counted_call(*args):
            if name == "open" and not args[1] & os.O_CREAT:
                return call(*args)
            self.left -= 1
            if self.left == 0:
                if name == "write":
                    call(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args)

        return counted_call


def run_in_child(act: Act, root: Place, kill_at: int, mutate: Mutate) -> int | None:
    """How many segments a launch (after a repair, perhaps) in a process of its own trained; None if it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            mutate()
            durable.os = DeadlyOs(kill_at)
            os._exit(act(root))
        finally:
            os._exit(RAISED)
    _, status = os.waitpid(pid, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is launched, and killed how often."""

    start: Place | None = None
    """The sweep with which each launch begins; None: nothing."""
    is_damaged: bool = False
    kill: Kill = run_in_child
    """How a launch dies: a bucket has a way of its own, see bucket_harness."""
    mutate: Mutate = lambda: None
    first: int = 1
    every: int = 1
    row: int = 0
    """So many further kills follow each of them; 0: one, every third time."""

    def act(self, root: Place) -> int:
        return mend_and_launch(root) if self.is_damaged else launch(root)

    def begin(self, root: Place) -> Place:
        return copied(self.start, root) if self.start else root

    def run(self, root: Place, kill_at: int = 0) -> int | None:
        return self.kill(self.act, root, kill_at, self.mutate)

    def then(self, number: int, n: int) -> list[int]:
        """Before which call each further launch is killed: of a row of them early, so that none comes to its end."""
        if self.row:
            return [1 + (n * 7 + again * 11) % 13 for again in range(self.row)]
        return [1 + n * 7 % 41] if number % 3 == 0 else []


def mend_and_launch(root: Place) -> int:
    """`status --repair`, then a launch."""
    repair(root)
    return launch(root)


def violations(base: Place, case: Case) -> Iterator[str | int]:
    """Kills a launch before its n-th change, for every n, and launches that follow; then lets one through.

    Gives what is wrong, and after each case the number of kills."""
    expected, names, rows = undisturbed(base / "undisturbed")
    calm = case.begin(base / "calm")
    due = 0 if case.is_damaged else n_segments() - (n_committed(case.start) if case.start else 0)
    trained = case.run(calm)
    assert case.is_damaged or trained == due, "a mutant does its work while nobody kills it"
    assert published(calm) == expected
    assert case.is_damaged or file_names(calm) == names
    for number in itertools.count():
        n = case.first + case.every * number
        root = case.begin(base / str(n))
        if case.run(root, n) is not None:
            return
        yield from (f"{n}: {problem}" for problem in broken_reads(root, rows, case.is_damaged))
        kills = 1
        for kill_at in case.then(number, n):
            kills += case.run(root, kill_at) is None
            yield from (f"{n}, then {kill_at}: {it}" for it in broken_reads(root, rows, case.is_damaged))
        yield from (f"{n}: {problem}" for problem in broken_end(root, expected, file_names(calm), case))
        drop(root)
        yield kills


def broken_end(root: Place, expected: dict[str, bytes], names: set[str], case: Case) -> Iterator[str]:
    """What must not be after a launch that nobody disturbs."""
    committed = 0 if case.is_damaged else n_committed(root)
    trained = case.run(root)
    if trained != n_segments() - committed and not case.is_damaged:
        yield f"trained {trained} segments after {committed} were committed"
    if published(root) != expected:
        yield "published other bytes"
    if any(unequal_rows(root)):
        yield "trained segments again with other bytes"
    if file_names(root) != names:
        yield f"files differ: {file_names(root) ^ names}"
    yield from map(str, verify(root))
    if case.is_damaged:
        yield from (f"{name} is neither mended nor kept" for name in lost(root, case.start))


def lost(root: Place, start: Place) -> Iterator[str]:
    """Damaged files of which no copy is in the quarantine."""
    kept = [*contents(root / "quarantine").values()]
    return (name for name in damaged(start) if (start / name).read_bytes() not in kept)


def undisturbed(root: Place) -> tuple[dict[str, bytes], set[str], Counter]:
    assert launch(root) == n_segments()
    return published(root), file_names(root), Counter(read_rows(root))


def broken_reads(root: Place, rows: Counter, is_damaged: bool = False) -> Iterator[str]:
    """What a reader who comes after a kill must not see."""
    if SweepStore(root).exists():
        damage = [str(finding) for finding in verify(root) if finding.kind == "damage"]
        yield from () if is_damaged else damage
        try:
            found = Counter(read_rows(root))
        except DamagedError as error:
            yield from () if is_damaged else [str(error)]
        else:
            yield from ["reads rows twice, or other rows"] if found - rows else []


def n_committed(root: Place) -> int:
    store = SweepStore(root)
    headers = [store.pack(pack_id).newest_header() for pack_id in store.pack_ids()] if store.exists() else []
    return sum(len(header.segments) for header in headers if header)


def unequal_rows(root: Place) -> Iterator[str]:
    """See results.repeats."""
    store = SweepStore(root)
    headers = [store.pack(pack_id).newest_header() for pack_id in store.pack_ids()]
    return (part for header in headers if header for part in header.unequal)


def read_rows(root: Place) -> list[tuple]:
    sweep = open_sweep(root)
    measures = sweep.measures(["run_id", "step", "index", "value"])
    snapshots = sweep.further_dataset("snapshots").to_table(["run_id", "step", "values"]).to_pylist()
    return [
        *sweep.traces(["run_id", "step", "train_loss"]).itertuples(index=False, name=None),
        *measures.itertuples(index=False, name=None),
        *((row["run_id"], row["step"], tuple(row["values"])) for row in snapshots),
    ]


def file_names(root: Place) -> set[str]:
    """Every file; numbers of attempts differ, each launch leaves one in attempts/, each repair a folder."""
    own = (name for name in contents(root) if not name.startswith(("attempts/", "quarantine/")))
    return {re.sub(r"\.a\d+\.|attempt-\d+", ".", name) for name in own}


def finished(root: Place) -> None:
    launch(root)


def halfway(root: Place) -> None:
    """One pack is done, one in the middle, nothing is labelled."""
    store = create_sweep(root)
    attempt, plan_id = store.begin_attempt(), store.read_plan()["plan_id"]
    train(store.pack("bbbb"), attempt, plan_id=plan_id)
    train(store.pack("aaaa"), attempt, segments=2, plan_id=plan_id)


def damaged_finished(root: Place) -> None:
    finished(root)
    damage(root)


def damaged_halfway(root: Place) -> None:
    halfway(root)
    damage(root)


def damaged(root: Place) -> list[str]:
    """Files that `damage` changes: of packs that are to be trained again, and one to go on from further back."""
    done = [
        "traces/aaaa-00001.parquet",
        "packs/aaaa/done.json",
        "labels.parquet",
        "packs/aaaa/segment-00000.a1.parquet",
    ]
    begun = ["packs/aaaa/checkpoint-00001.a1.bin"]
    return [*(done if (root / "labels.parquet").exists() else begun), "weights/bbbb-00001.safetensors", "spec.yaml"]


def damage(root: Place) -> None:
    for name in damaged(root):
        flip(root / name)


def flip(path: Place) -> None:
    """One bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    overwrite(path, bytes(data))


STARTS = {start.__name__: start for start in (finished, halfway, damaged_finished, damaged_halfway)}


def header_before_payload():
    def store_later(self, path, data, rows=None):
        if path.name.startswith("segment"):
            return store(self, path, data, rows)
        self.__dict__.setdefault("later", []).append((path, data))
        return StoredFile(path=self.files.relative(path), sha256=durable.sha256_of(data), rows=rows)

    def write_and_catch_up(self, path, data):
        write(self, path, data)
        if path.name.startswith("header"):
            for later in self.__dict__.pop("later"):
                write(self, *later)

    store, write = PackStore._store, PackStore._write
    PackStore._store, PackStore._write = store_later, write_and_catch_up


def publish_before_header():
    def stage_and_publish(self, *args, **kwargs):
        entry = stage(self, *args, **kwargs)
        self._publish_file(entry)
        return entry

    stage = PackStore._stage
    PackStore._stage = stage_and_publish


def publish_in_place():
    def copy(source, target):
        if target.parent.name not in ("traces", "measures", "snapshots", "weights"):
            link(source, target)
        elif not target.exists():
            durable._write(target, source.read_bytes(), durable=True)

    link = durable.link_file
    durable.link_file = copy


def write_in_place():
    def write(path, data, *, tag, durable=True):
        remove_file(path)
        write_file(path, data, durable=durable)

    write_file, remove_file = durable._write, durable.remove_file
    durable.replace_file = write


def drop_the_old_checkpoint_first():
    def drop_then_write(self, header, *args):
        if self._header and self._header.checkpoint:
            durable.remove_file(self.files.path(self._header.checkpoint))
        return write_payload(self, header, *args)

    write_payload = PackStore._write_payload
    PackStore._write_payload = drop_then_write


def leave_temporaries():
    def whole_files_only(self, attempt, named):
        return (path for path in debris(self, attempt, named) if not path.name.startswith("."))

    debris = PackFiles.debris
    PackFiles.debris = whole_files_only


def forget_to_roll_forward():
    def publish_new_only(self, header):
        if header.attempt == self._attempt:
            publish(self, header)

    publish = PackStore._publish
    PackStore._publish = publish_new_only


def delete_what_is_damaged():
    def delete(source, target):
        durable.remove_file(source)

    durable.move_file = delete


def extend_in_place():
    def write(path, data, *, tag):
        durable._write(path, data, durable=True)

    durable.create_file = write


def nothing():
    pass


MUTANTS = {
    mutant.__name__: mutant
    for mutant in (
        header_before_payload,
        publish_before_header,
        publish_in_place,
        write_in_place,
        drop_the_old_checkpoint_first,
        leave_temporaries,
        forget_to_roll_forward,
        delete_what_is_damaged,
        extend_in_place,
    )
}
NEEDED = {"delete_what_is_damaged": ["damaged_halfway"], "extend_in_place": ["gain_runs", "finished"]}
"""What a mutant must be launched with to do harm."""
FIRST_COMMIT = 12
"""Changes until there is a plan, and a pack is taken."""


@contextmanager
def home(folder: str, options: Sequence[str]) -> Iterator[tuple[Place, Kill]]:
    """Where sweeps lie, and how launches die there."""
    if not {"bucket", *HARMS} & {*options}:
        yield Path(folder), run_in_child
        return
    from bucket_kills import die_in_bucket, misbehaving_bucket  # a process that forks has little in it

    with misbehaving_bucket(next((harm for harm in HARMS if harm in options), None)) as above:
        yield above, die_in_bucket


def main(folder: str, *options: str) -> None:
    numbers = dict(option.split("=") for option in options if "=" in option)
    mutant = next((MUTANTS[option] for option in options if option in MUTANTS), None)
    start = next((option for option in options if option in STARTS), "")
    for option in options:
        if option != "gain_runs":
            SWEEPS.get(option, nothing)()
    kills = []
    with home(folder, options) as (base, kill):
        if start:
            STARTS[start](base / "start")
        if "gain_runs" in options:
            gain_runs()
        case = Case(
            start=base / "start" if start else None,
            is_damaged=start.startswith("damaged"),
            kill=kill,
            mutate=mutant or nothing,
            first=int(numbers.get("first", FIRST_COMMIT if mutant and not start else 1)),
            every=int(numbers.get("every", 1)),
            row=int(numbers.get("row", 0)),
        )
        for found in violations(base, case):
            if isinstance(found, str):
                print(found)
                break
            kills.append(found)
    print(f"{len(kills)} cases, {sum(kills)} kills, up to {max(kills, default=0)} in a row")


if __name__ == "__main__":
    main(*sys.argv[1:])
