import functools
import itertools
import random
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import store_helpers
from store_helpers import PUBLISH_RUNS, RUN_IDS, SCHEDULES, UnsyncedOs, create_sweep, extend, launch, train

from results import durable, pack_files, table_sums, tables
from results.errors import DamagedError, MissingError, StoreError
from results.headers import encode_header, read_header
from results.places import below
from results.plan_files import plan_identity
from results.store import SweepStore
from results.verify import verify


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(durable, "os", UnsyncedOs())


@pytest.fixture
def sweep(tmp_path):
    """One pack done, one in the middle."""
    store = create_sweep(tmp_path / "s")
    attempt, plan_id = store.begin_attempt(), store.read_plan()["plan_id"]
    train(store.pack("aaaa"), attempt, plan_id=plan_id)
    train(store.pack("bbbb"), attempt, segments=1, plan_id=plan_id)
    return store.root


def test_whole_sweep_has_no_findings(sweep):
    assert verify(sweep) == []
    launch(sweep)
    assert verify(sweep) == []


def test_one_flipped_bit_anywhere_is_found(sweep):
    rng = random.Random(0)
    payload = [*sweep.rglob("*.parquet"), *sweep.rglob("*.bin"), *sweep.rglob("*.safetensors"), *sweep.rglob("*.json")]
    assert len(payload) > 10
    for path in payload:
        data = path.read_bytes()
        for _ in range(5):
            flipped = bytearray(data)
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            assert path in [finding.path for finding in verify(sweep)]
        path.write_bytes(data)


@pytest.mark.parametrize("kind", ["traces/*", "weights/*", "packs/aaaa/segment*", "packs/bbbb/checkpoint*"])
def test_deleted_and_shortened_files_are_found(sweep, kind):
    path = next(sweep.glob(kind))
    data = path.read_bytes()
    for less in (None, b"", data[:-1]):
        path.unlink(missing_ok=True)
        if less is not None:
            path.write_bytes(less)
        assert [finding.path for finding in verify(sweep)] == [path]


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        ("traces/aaaa-00001*", "traces/aaaa-00002*"),
        ("weights/aaaa*", "weights/bbbb*"),
        ("packs/aaaa/segment*", "packs/bbbb/segment*"),
        ("packs/bbbb/checkpoint*", "packs/aaaa/segment*"),
        ("packs/bbbb/header*", "packs/aaaa/header*"),
        ("packs/aaaa/done.json", "packs/bbbb/header*"),
    ],
)
def test_files_of_another_pack_are_found(sweep, kind, other):
    """Each is whole, and in the wrong place."""
    path = next(sweep.glob(kind))
    shutil.copy(next(sweep.glob(other)), path)
    assert path in [finding.path for finding in verify(sweep)]


def test_same_numbers_in_other_letters_are_found(tmp_path):
    """One flipped bit turns 1e-05 into 1E-05: harmless, but not what was written."""
    store = create_sweep(tmp_path / "s")
    train(store.pack("bbbb"), store.begin_attempt(), segments=1)
    header = store.pack("bbbb").newest_header()
    path = store.pack("bbbb").files.header_path(header)
    path.write_bytes(encode_header(replace(header, fingerprints={"1": {"x": 1e-5}})))
    assert read_header(path).fingerprints == {"1": {"x": 1e-5}}
    path.write_bytes(path.read_bytes().replace(b"1e-05", b"1E-05"))
    with pytest.raises(DamagedError, match="header"):
        read_header(path)


def commit_other_rows(root, change):
    """What a bug of ours could have committed: bytes that fit their sha256, rows that don't belong."""
    path = root / "traces" / "aaaa-00001.parquet"
    data = tables.encode(change(tables.decode(path.read_bytes())))
    path.write_bytes(data)
    done = SweepStore(root).pack("aaaa").files.done
    header = read_header(done)
    first, *others = header.published
    entry = replace(first, sha256=durable.sha256_of(data))
    done.write_bytes(encode_header(replace(header, published=(entry, *others))))
    return [finding.problem for finding in verify(root)]


def test_wrong_rows_are_found_though_their_bytes_are_right(sweep):
    twice = commit_other_rows(sweep, lambda rows: pa.concat_tables([rows.slice(0, 1), rows.slice(0, 19)]))
    assert twice == ["has two rows for the same step of a run, or rows out of order"]
    assert commit_other_rows(sweep, lambda rows: rows.slice(1)) == ["has 19 rows, 20 were committed"]


def test_rows_of_other_runs_are_found(sweep):
    other = pq.read_table(sweep / "traces" / "bbbb-00000.parquet")
    problems = commit_other_rows(sweep, lambda rows: pa.concat_tables([rows.slice(0, 15), other]))
    assert problems == ["has rows of runs that it was not committed for"]


def test_run_in_two_files_is_found(sweep):
    done = SweepStore(sweep).pack("aaaa").files.done
    header = read_header(done)
    *others, traces, weights = header.published
    again = replace(traces, runs=(*traces.runs, "a0"))
    done.write_bytes(encode_header(replace(header, published=(*others, again, weights))))
    first = sweep / "traces" / "aaaa-00001.parquet"
    assert [finding.problem for finding in verify(sweep)] == [f"holds run a0, which {first} holds too"]


def test_files_that_nobody_vouches_for_are_found(sweep):
    stranger = sweep / "traces" / "cccc-00000.parquet"
    shutil.copy(sweep / "traces" / "aaaa-00001.parquet", stranger)
    assert [str(finding) for finding in verify(sweep)] == [f"{stranger}: no header vouches for this file"]


def test_header_from_another_sweep_is_found(sweep, tmp_path):
    plan = SweepStore(sweep).read_plan()
    other = SweepStore.create(tmp_path / "other", spec_text="", plan={**plan, "name": "other"})
    shutil.copytree(sweep / "packs", other.root / "packs")
    for folder in ("traces", "weights"):
        shutil.copytree(sweep / folder, other.root / folder)
    assert {finding.path.name for finding in verify(other.root)} == {
        "done.json",
        "header-00000.a1.json",
        "header-00002.a1.json",
    }
    findings = [finding for finding in verify(other.root) if finding.path.suffix == ".json"]
    assert all("another plan" in finding.problem for finding in findings)


def test_another_record_in_the_place_of_the_checksums_is_found(sweep):
    """Sealed as it should be, and about something else."""
    launch(sweep)
    shutil.copy(sweep / "packs" / "aaaa" / "done.json", sweep / "tables.json")
    assert [finding.path.name for finding in verify(sweep)] == ["tables.json"]


def test_table_with_a_run_twice_is_found(sweep):
    store = SweepStore(sweep)
    table = pq.read_table(sweep / "traces" / "aaaa-00001.parquet").select(["run_id", "width"])
    store.write_runs(table)
    assert [finding.problem for finding in verify(sweep)] == ["has more than one row for a run"]


def test_edited_plan_is_refused(sweep):
    path = sweep / "plan.json"
    path.write_text(path.read_text().replace('"tiny"', '"tidy"'))
    with pytest.raises(DamagedError, match="plan_id"):
        SweepStore(sweep).read_plan()


def test_plan_of_a_newer_version_is_refused(tmp_path):
    store = create_sweep(tmp_path / "s")
    plan = {**store.read_plan(), "schema_version": 2}
    newer = SweepStore.create(tmp_path / "newer", spec_text="", plan=plan)
    with pytest.raises(StoreError, match="newer version"):
        newer.read_plan()


def test_identity_of_a_plan_is_its_content():
    plan = {"b": [1, 2.5, None], "a": {"x": 1}, "created": "now"}
    same = {"plan_id": "x", "a": {"x": 1}, "b": (1, 2.5, None), "created": "then"}
    assert plan_identity(plan) == plan_identity(same)
    assert plan_identity(plan) != plan_identity({**plan, "b": [1, 2.5, 0]})


@pytest.mark.parametrize("segments", [1, 99])
def test_a_commit_before_any_file_is_read_is_no_damage(tmp_path, monkeypatch, segments):
    schedule = [[(0, 0, 4, False)], [(0, 5, 9, True)], [(1, 0, 9, True)], [(2, 0, 4, False)], [(2, 5, 9, True)]]
    monkeypatch.setitem(SCHEDULES, "aaaa", schedule)
    instants = itertools.count()
    while any(commits_meanwhile(tmp_path / f"s{(instant := next(instants))}", instant, segments, monkeypatch)):
        pass
    assert instant > 5


def commits_meanwhile(root, instant, segments, monkeypatch):
    """Of a pack that has two segments, before file number `instant` is read by `verify`."""
    store = create_sweep(root)
    attempt, plan_id = store.begin_attempt(), store.read_plan()["plan_id"]
    train(store.pack("aaaa"), attempt, segments=2, plan_id=plan_id)
    reads, trained = itertools.count(), []

    def before(read, *args):
        if next(reads) == instant:
            trained.append(train(store.pack("aaaa"), attempt, segments=segments, plan_id=plan_id))
        return read(*args)

    with monkeypatch.context() as patched:
        for name in ("read_header", "checked_bytes"):
            patched.setattr(pack_files, name, functools.partial(before, getattr(pack_files, name)))
        assert [finding for finding in verify(root) if finding.kind == "damage"] == []
    return trained


def test_a_plan_that_grows_meanwhile_is_no_damage(sweep, monkeypatch):
    for table, value in ((SCHEDULES, SCHEDULES["bbbb"]), (RUN_IDS, ["e1", "e0"]), (PUBLISH_RUNS, 1)):
        monkeypatch.setitem(table, "eeee", value)
    monkeypatch.setattr(store_helpers, "GROWN", ["eeee"])
    store = SweepStore(sweep)

    def grow(*args):
        if "eeee" not in store.pack_ids():
            extend(store)
            train(store.pack("eeee"), store.latest_attempt(), plan_id=store.read_plan()["plan_id"])
        return below(*args)

    monkeypatch.setattr("results.verify.below", grow)
    assert verify(sweep) == []
    assert "eeee" in store.pack_ids()


def test_a_table_that_is_replaced_meanwhile_is_no_damage(sweep, monkeypatch):
    launch(sweep)
    read, phases = table_sums.read_sums, ["progression", "confusion"]

    def read_then_label(root):
        sums = read(root)
        if phases:
            labels = pa.table({"run_id": ["a0"], "phase": [phases.pop()]})
            SweepStore(root).write_labels(labels)
        return sums

    monkeypatch.setattr(table_sums, "read_sums", read_then_label)
    assert verify(sweep) == []
    assert not phases
    monkeypatch.undo()
    (sweep / "labels.parquet").write_bytes(b"")
    assert [finding.path.name for finding in verify(sweep)] == ["labels.parquet"]


def test_no_sweep_is_not_a_whole_sweep(tmp_path):
    with pytest.raises(MissingError, match=r"no plan\.json"):
        verify(tmp_path)
