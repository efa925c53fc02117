import json
import os
from pathlib import Path

import numpy as np
import pytest
from backends import home
from store_helpers import (
    COLUMNS,
    RUN_IDS,
    UnsyncedOs,
    contents,
    create_sweep,
    delete,
    fake_segments,
    identities,
    launch,
    overwrite,
    published,
    train,
)

from results import durable, open_sweep, tables
from results.errors import DamagedError, FencedError, MissingError
from results.headers import read_header
from results.store import SweepStore
from results.verify import verify

__all__ = ["home"]

COMMIT = {"plan_id": "plan", "fingerprint": {}}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(durable, "os", UnsyncedOs())


@pytest.fixture
def store(home):
    return create_sweep(home / "s")


@pytest.fixture
def store_on_disk(tmp_path):
    return create_sweep(tmp_path / "s")


def files(pack, pattern):
    return sorted(path.name for path in pack.files.folder.glob(pattern))


def test_published_files_hold_whole_sorted_traces_of_ended_runs(store):
    launch(store.root)
    assert sorted(name for name in published(store.root) if "/" in name) == [
        f"{folder}/{name}.{suffix}"
        for folder, suffix in [("traces", "parquet"), ("weights", "safetensors")]
        for name in ("aaaa-00001", "aaaa-00002", "bbbb-00000", "bbbb-00001")
    ]
    table = tables.read(store.root / "traces" / "aaaa-00001.parquet")
    assert list(zip(table["run_id"].to_pylist(), table["step"].to_pylist(), strict=True)) == [
        (run_id, step) for run_id in ("a0", "a2") for step in range(10)
    ]


def test_two_checkpoints_are_kept_and_none_of_a_pack_that_is_done(store):
    pack, kept = store.pack("aaaa"), []
    attempt = store.begin_attempt()
    pack.resume(attempt=attempt)
    blocks = list(fake_segments("aaaa", 0, 0.0))
    for block in blocks:
        pack.commit(**block, attempt=attempt, **COMMIT)
        kept.append((files(pack, "checkpoint-*"), files(pack, "header-*")))
    one, two = "checkpoint-00000.a1.bin", "checkpoint-00001.a1.bin"
    assert kept == [
        ([one], ["header-00000.a1.json"]),
        ([one, two], ["header-00000.a1.json", "header-00001.a1.json"]),
        ([], ["header-00002.a1.json"]),
    ]
    segments = [f"segment-0000{k}.a1.parquet" for k in range(3)]
    assert files(pack, "*") == ["attempt-1", "done.json", "header-00002.a1.json", *segments]
    assert (pack.files.folder / "header-00002.a1.json").read_bytes() == pack.files.done.read_bytes()


def test_an_older_checkpoint_stays_if_the_newer_cannot_be_read_back(store, monkeypatch):
    attempt, pack = store.begin_attempt(), store.pack("aaaa")
    pack.resume(attempt=attempt)
    first, second, _ = fake_segments("aaaa", 0, 0.0)
    pack.commit(**first, attempt=attempt, **COMMIT)
    monkeypatch.setattr(pack, "_publish", lambda header: spoil(pack.files.path(header.checkpoint), "flip"))
    with pytest.raises(DamagedError, match="checkpoint-00001"):
        pack.commit(**second, attempt=attempt, **COMMIT)
    assert files(pack, "checkpoint-*") == ["checkpoint-00000.a1.bin", "checkpoint-00001.a1.bin"]


def test_done_lists_every_segment_and_outcome(store):
    launch(store.root)
    pack = SweepStore(store.root).pack("aaaa")
    done = read_header(pack.files.done)
    assert [Path(entry.path).name for entry in done.segments] == [f"segment-0000{k}.a1.parquet" for k in range(3)]
    assert sorted(run.run_id for run in pack.outcomes()) == sorted(RUN_IDS["aaaa"])
    assert done.checkpoint is None
    assert not done.running
    assert done.fingerprints == {"1": {"device": "fake"}}


def test_resume_goes_on_from_the_last_commit_under_the_next_number(store):
    first, second = store.begin_attempt(), store.begin_attempt()
    train(store.pack("aaaa"), second, segments=1)
    point = store.pack("aaaa").resume(attempt=second)
    assert (point.segment, json.loads(point.checkpoint), point.run_steps, point.done) == (1, 1.0, 10, False)
    train(store.pack("aaaa"), second)
    assert files(store.pack("aaaa"), "segment-*") == [
        f"segment-0000{k}.parquet".replace(".", ext, 1) for k, ext in [(0, ".a1."), (1, ".a3."), (2, ".a3.")]
    ]
    assert first < second


def test_resume_of_a_finished_pack_writes_nothing(store):
    launch(store.root)
    before = identities(store.root)
    assert store.pack("aaaa").resume(attempt=1).done
    assert launch(store.root) == 0
    assert {**identities(store.root), "launch.lock": 0} == {**before, "launch.lock": 0}


def test_an_older_launch_publishes_nothing(store):
    old, pack = store.begin_attempt(), store.pack("aaaa")
    pack.resume(attempt=old)
    first, second, _ = fake_segments("aaaa", 0, 0.0)
    pack.commit(**first, attempt=old, **COMMIT)
    store.begin_attempt()
    before = files(pack, "*")
    with pytest.raises(FencedError, match="launch 2 has taken over"):
        pack.commit(**second, attempt=old, **COMMIT)
    with pytest.raises(FencedError):
        store.pack("aaaa").resume(attempt=old)
    assert files(pack, "*") == before
    assert not published(store.root)


def test_an_older_attempt_of_the_same_launch_publishes_nothing(store):
    """A worker that was given up for dead, and wakes up when another has its pack."""
    launch_number = store.begin_attempt()
    asleep = store.pack("bbbb")
    asleep.resume(attempt=launch_number)
    train(store.pack("bbbb"), launch_number)
    before = contents(store.root)
    with pytest.raises(FencedError, match="newer attempt"):
        asleep.commit(**next(fake_segments("bbbb", 0, 0.0)), attempt=launch_number, **COMMIT)
    assert before == contents(store.root)


def test_an_attempt_that_is_overtaken_while_it_writes_commits_nothing(store, monkeypatch):
    launch_number = store.begin_attempt()
    slow = store.pack("bbbb")
    slow.resume(attempt=launch_number)

    def overtake(*args):
        monkeypatch.undo()
        store.pack("bbbb").resume(attempt=launch_number)
        return add_checkpoint(*args)

    add_checkpoint = slow._add_checkpoint
    monkeypatch.setattr(slow, "_add_checkpoint", overtake)
    with pytest.raises(FencedError):
        slow.commit(**next(fake_segments("bbbb", 0, 0.0)), attempt=launch_number, **COMMIT)
    assert not published(store.root)
    assert store.pack("bbbb").newest_header() is None


def test_a_published_file_is_never_replaced(store):
    taken = store.root / "traces" / "bbbb-00000.parquet"
    overwrite(taken, b"somebody's")
    with pytest.raises(DamagedError, match=r"bbbb-00000\.parquet"):
        train(store.pack("bbbb"), store.begin_attempt())
    assert taken.read_bytes() == b"somebody's"
    with pytest.raises(DamagedError, match=r"bbbb-00000\.parquet"):
        train(store.pack("bbbb"), store.begin_attempt())
    assert taken.read_bytes() == b"somebody's"
    delete(taken)
    train(store.pack("bbbb"), store.begin_attempt(), plan_id=store.read_plan()["plan_id"])
    assert store.pack("bbbb").is_done()


def test_a_published_file_that_is_the_same_is_fine(store, tmp_path):
    launch(tmp_path / "other")
    name = "traces/bbbb-00000.parquet"
    overwrite(store.root / name, (tmp_path / "other" / name).read_bytes())
    before = identities(store.root)[name]
    launch(store.root)
    assert identities(store.root)[name] == before
    assert published(store.root) == published(tmp_path / "other")


def test_what_a_commit_could_not_publish_the_next_one_does(store, tmp_path, monkeypatch):
    pack = store.pack("aaaa")
    pack.resume(attempt=0)
    first, second, last = fake_segments("aaaa", 0, 0.0)
    pack.commit(**first, attempt=0, **COMMIT)
    with monkeypatch.context() as patch:
        patch.setattr(pack, "_publish_file", lambda entry: durable.sync_folder(tmp_path / "none"))
        with pytest.raises(FileNotFoundError):
            pack.commit(**second, attempt=0, **COMMIT)
    assert published(store.root) == {}
    pack.commit(**last | {"checkpoint": b"1"}, attempt=0, **COMMIT)
    assert {name for name in published(store.root) if name.startswith("traces")} == {
        "traces/aaaa-00001.parquet",
        "traces/aaaa-00002.parquet",
    }


def test_a_published_file_that_went_away_is_back_when_the_pack_is_done(store):
    pack = store.pack("aaaa")
    pack.resume(attempt=0)
    *early, last = fake_segments("aaaa", 0, 0.0)
    for block in early:
        pack.commit(**block, attempt=0, **COMMIT)
    traces = store.root / "traces" / "aaaa-00001.parquet"
    before = traces.read_bytes()
    delete(traces)
    pack.commit(**last, attempt=0, **COMMIT)
    assert pack.is_done()
    assert traces.read_bytes() == before


@pytest.mark.parametrize("kind", ["checkpoint-00001*", "segment-00001*", "header-00001*"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete"])
def test_resume_passes_over_a_damaged_commit(store, tmp_path, kind, harm):
    launch(tmp_path / "undisturbed")
    train(store.pack("aaaa"), store.begin_attempt(), segments=2)
    spoil(next(store.pack("aaaa").files.folder.glob(kind)), harm)
    point = store.pack("aaaa").resume(attempt=1)
    assert point.segment == 1
    assert len(point.skipped) == (0 if "header" in kind and harm == "delete" else 1)
    launch(store.root)
    assert published(store.root) == published(tmp_path / "undisturbed")


def test_resume_starts_anew_when_nothing_is_whole(store, tmp_path):
    launch(tmp_path / "undisturbed")
    train(store.pack("aaaa"), store.begin_attempt(), segments=2)
    spoil(next(store.pack("aaaa").files.folder.glob("segment-00000*")), "flip")
    point = store.pack("aaaa").resume(attempt=1)
    assert (point.segment, point.checkpoint, len(point.skipped)) == (0, None, 2)
    launch(store.root)
    assert published(store.root) == published(tmp_path / "undisturbed")


def spoil(path, harm):
    data = bytearray(path.read_bytes())
    if harm == "delete":
        delete(path)
    elif harm == "flip":
        data[len(data) // 2] ^= 1
        overwrite(path, bytes(data))
    else:
        overwrite(path, bytes(data[: len(data) // 2]) if harm == "truncate" else b"")


@pytest.mark.parametrize("call", ["write", "fsync", "close"])
def test_a_disk_that_refuses_leaves_the_last_commit_and_no_temporary(store_on_disk, tmp_path, monkeypatch, call):
    store = store_on_disk
    launch(tmp_path / "undisturbed")
    attempt, pack = store.begin_attempt(), store.pack("aaaa")
    pack.resume(attempt=attempt)
    first, second, _ = fake_segments("aaaa", 0, 0.0)
    pack.commit(**first, attempt=attempt, **COMMIT)
    calls = []

    class FullDisk:
        def __getattr__(self, name):
            return refuse if name == call else getattr(os, name)

    def refuse(*args):
        calls.append(args)
        if call == "close":
            os.close(*args)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", FullDisk())
        with pytest.raises(OSError, match="No space"):
            pack.commit(**second, attempt=attempt, **COMMIT)
    assert len(calls) == 1, "not tried again"
    assert not list(store.root.rglob("*.tmp"))
    assert pack.newest_header().segment == 0
    launch(store.root)
    assert published(store.root) == published(tmp_path / "undisturbed")


def test_weights_come_back_by_run(store):
    launch(store.root)
    weights = store.read_weights("b1")
    np.testing.assert_array_equal(weights["w"], np.full(3, 2.5, np.float32))
    with pytest.raises(MissingError, match="no run nobody"):
        store.read_weights("nobody")


def test_weights_of_a_run_that_goes_on_are_missing(store):
    train(store.pack("bbbb"), store.begin_attempt(), segments=1)
    assert set(store.read_weights("b0")) == {"w"}
    with pytest.raises(MissingError, match="it has not ended"):
        store.read_weights("b1")


def test_clean_removes_live_files_of_finished_packs_only(store):
    attempt = store.begin_attempt()
    plan_id = store.read_plan()["plan_id"]
    train(store.pack("aaaa"), attempt, plan_id=plan_id)
    train(store.pack("bbbb"), attempt, segments=1, plan_id=plan_id)
    before = open_sweep(store.root).traces()
    overwrite(store.pack("aaaa").files.folder / "notes.txt", b"the user's")
    removed = store.clean()
    assert sorted(path.name for path in removed) == [f"segment-0000{k}.a1.parquet" for k in range(3)]
    assert files(store.pack("aaaa"), "*") == [
        "attempt-1",
        "cleaned.json",
        "done.json",
        "header-00002.a1.json",
        "notes.txt",
    ]
    assert store.clean() == []
    assert verify(store.root) == []
    assert open_sweep(store.root).traces().equals(before)
    train(store.pack("bbbb"), attempt, plan_id=plan_id)
    assert verify(store.root) == []


def test_clean_keeps_segments_while_a_published_file_is_damaged(store):
    launch(store.root)
    spoil(store.root / "traces" / "aaaa-00001.parquet", "flip")
    with pytest.raises(DamagedError):
        store.clean()
    assert len(files(store.pack("aaaa"), "segment-*")) == 3


def test_failure_stays_until_the_pack_is_resumed(store):
    pack = store.pack("aaaa")
    assert pack.failure() is None
    pack.write_failure("Traceback", 1)
    assert (pack.failure().text, pack.failure().attempt) == ("Traceback", 1)
    pack.resume(attempt=store.begin_attempt())
    assert pack.failure() is None


def test_progress_is_replaced_whole(store):
    pack = store.pack("aaaa")
    assert pack.read_progress() is None
    pack.resume(attempt=store.begin_attempt())
    for steps in (1, 2):
        pack.write_progress({"run_steps": steps})
    assert pack.read_progress() == {"run_steps": 2}
    overwrite(pack.files.progress, b"")
    assert pack.read_progress() is None
    assert files(pack, ".*") == []


def test_the_folder_can_be_moved_in_mid_sweep(store_on_disk, tmp_path):
    store = store_on_disk
    launch(tmp_path / "undisturbed")
    train(store.pack("aaaa"), store.begin_attempt(), segments=2)
    moved = store.root.rename(tmp_path / "else where")
    launch(moved)
    assert published(moved) == published(tmp_path / "undisturbed")
    assert open_sweep(moved).plan["columns"] == COLUMNS


def test_runs_wait_for_each_other_and_are_seen_all_the_same(store):
    pack, attempt = store.pack("aaaa"), store.begin_attempt()
    pack.resume(attempt=attempt)
    *early, last = fake_segments("aaaa", 0, 0.0)
    for block in early:
        pack.commit(**block, attempt=attempt, **COMMIT, publish_runs=3)
    assert published(store.root) == {}
    sweep, ended = open_sweep(store.root), sorted(RUN_IDS["aaaa"][:2])
    assert sorted(sweep.traces(include_running=False)["run_id"].unique()) == ended
    assert sorted(run.run_id for run in pack.outcomes()) == ended
    waiting = {run_id: store.read_weights(run_id)["w"].tolist() for run_id in ended}
    again = store.pack("aaaa")
    again.resume(attempt=attempt)
    again.commit(**last, attempt=attempt, **COMMIT, publish_runs=3)
    assert sorted(published(store.root)) == ["traces/aaaa-00002.parquet", "weights/aaaa-00002.safetensors"]
    assert {run_id: store.read_weights(run_id)["w"].tolist() for run_id in ended} == waiting
    rows = open_sweep(store.root).traces()
    assert rows.groupby("run_id").size().to_dict() == dict.fromkeys(RUN_IDS["aaaa"], 10)
    assert not files(again, "weights-*")
