import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from store_helpers import create_sweep, launch, make_plan, published, train, write_tables

from results import durable
from results.errors import ConflictError, LockedError, MissingError
from results.mounts import file_system_of, is_network_path
from results.store import SweepStore
from results.verify import verify

HOLD = """
import sys
from pathlib import Path
from results.store import SweepStore
store = SweepStore(Path(sys.argv[1]))
with store.lock():
    store.begin_attempt()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path / "s"."""
    create_sweep(tmp_path / "s")
    command = [sys.executable, "-c", HOLD, str(tmp_path / "s")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_launch_is_refused_and_told_who_holds(tmp_path, holder):
    store = SweepStore(tmp_path / "s")
    with pytest.raises(LockedError, match=f"pid {holder.pid}, attempt 1") as caught, store.lock():
        pass
    assert caught.value.holder["pid"] == holder.pid
    assert store.holder() == caught.value.holder


def test_lock_goes_with_its_holder_however_it_dies(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    store = SweepStore(tmp_path / "s")
    assert store.holder() is None
    with store.lock():
        assert store.holder()["pid"] == os.getpid()
    assert store.holder() is None


def test_whoever_looks_while_the_holder_writes_its_name_reads_a_name(tmp_path, monkeypatch):
    """A killed launch of a machine with a longer name was there before."""
    create_sweep(tmp_path / "s")
    store, seen = SweepStore(tmp_path / "s"), []
    (tmp_path / "s" / "launch.lock").write_text(json.dumps({"host": "h" * 300, "pid": 1, "attempt": 7}))

    def watch(call):
        def watched(*args):
            result = call(*args)
            seen.append(store.holder())
            return result

        return watched

    with monkeypatch.context() as patch:
        for name in ("ftruncate", "pwrite"):
            patch.setattr(os, name, watch(getattr(os, name)))
        with store.lock():
            store.begin_attempt()
            patch.undo()
    assert [each.get("pid") for each in seen] == [os.getpid()] * len(seen)
    assert seen[-1]["attempt"] == 1


RACE = """
import sys
from pathlib import Path
from results.errors import LockedError
from results.store import SweepStore
print("ready", flush=True)
sys.stdin.readline()
try:
    with SweepStore(Path(sys.argv[1])).lock():
        print("held", flush=True)
        sys.stdin.read()
except LockedError:
    print("refused", flush=True)
"""


def test_of_launches_at_the_same_instant_exactly_one_wins(tmp_path):
    create_sweep(tmp_path / "s")
    command = [sys.executable, "-c", RACE, str(tmp_path / "s")]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    try:
        assert {racer.stdout.readline() for racer in racers} == {"ready\n"}
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert sorted(racer.stdout.readline() for racer in racers) == ["held\n"] + ["refused\n"] * 5
    finally:
        for racer in racers:
            racer.communicate()


ASLEEP = """
import os, signal, sys
from pathlib import Path
from results.errors import FencedError
from results.pack_store import PackStore
from results.store import SweepStore
from store_helpers import train, write_tables

def sleep(self, header, checkpoint):
    os.kill(os.getpid(), signal.SIGSTOP)
    return add_checkpoint(self, header, checkpoint)

add_checkpoint, PackStore._add_checkpoint = PackStore._add_checkpoint, sleep
store = SweepStore(Path(sys.argv[1]))
with store.lock():
    attempt = store.begin_attempt()
    print("begun", flush=True)
    try:
        train(store.pack("bbbb"), attempt, plan_id=store.read_plan()["plan_id"])
    except FencedError:
        pass
    try:
        write_tables(store)
    except FencedError:
        sys.exit(75)
"""


def test_a_launch_that_was_taken_over_publishes_nothing_when_it_wakes_up(tmp_path):
    """A node that was partitioned, or a machine that was suspended: it sleeps in the middle of a commit."""
    launch(tmp_path / "undisturbed")
    root = tmp_path / "s"
    create_sweep(root)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", ASLEEP, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as sleeper:
        try:
            assert sleeper.stdout.readline() == "begun\n"
            assert os.WIFSTOPPED(os.waitpid(sleeper.pid, os.WUNTRACED)[1])
            with pytest.raises(LockedError, match=f"pid {sleeper.pid}"), SweepStore(root).lock():
                pass
            with SweepStore(root).lock(take_over=True) as note:
                assert "can commit nothing" in note
                store = SweepStore(root)
                attempt = store.begin_attempt()
                for pack_id in store.pack_ids():
                    train(store.pack(pack_id), attempt, plan_id=store.read_plan()["plan_id"])
                write_tables(store)
            before = published(root)
            sleeper.send_signal(signal.SIGCONT)
            assert sleeper.wait(60) == 75
        finally:
            sleeper.kill()
    assert published(root) == before == published(tmp_path / "undisturbed")
    assert {finding.kind for finding in verify(root)} == {"debris"}
    launch(root)
    assert verify(root) == []


def name_other_host(root):
    (root / "launch.lock").write_text('{"host": "elsewhere", "pid": 1, "attempt": 3}')


def without_flock(monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("results.launch_lock.fcntl.flock", refuse)


@pytest.mark.parametrize("kind", ["no flock", "a network"])
def test_where_a_dead_launch_cannot_be_told_from_a_live_one_the_user_says(tmp_path, monkeypatch, kind):
    store = create_sweep(tmp_path / "s")
    if kind == "no flock":
        without_flock(monkeypatch)
    else:
        monkeypatch.setattr("results.launch_lock.is_network_path", lambda path: True)
    name_other_host(store.root)
    assert store.holder()["host"] == "elsewhere"
    with pytest.raises(LockedError, match=r"host elsewhere.*--take-over"), store.lock():
        pass
    with store.lock(take_over=True) as note:
        assert "can commit nothing" in note
        assert store.holder()["pid"] == os.getpid() if kind == "a network" else True
    with store.lock() as note:
        assert note is None if kind == "a network" else "no flock" in note


def test_a_name_without_a_lock_is_that_of_a_dead_launch_on_a_local_disk(tmp_path):
    store = create_sweep(tmp_path / "s")
    name_other_host(store.root)
    assert store.holder() is None
    with store.lock() as note:
        assert note is None


def test_the_file_system_of_a_path_is_that_of_the_innermost_mount(tmp_path, monkeypatch):
    mounts = tmp_path / "mountinfo"
    shared = tmp_path / "shared space"
    point = str(shared).replace(" ", "\\040")
    mounts.write_text(
        "1 0 8:1 / / rw - ext4 /dev/a rw\n"
        f"2 1 8:2 / {point} rw,relatime shared:1 - ext4 /dev/b rw\n"
        f"3 1 0:3 / {point} rw - nfs4 server:/x rw\n"
    )
    monkeypatch.setattr("results.mounts.MOUNTS", mounts)
    assert file_system_of(shared / "sweep") == "nfs4"
    assert file_system_of(tmp_path) == "ext4"
    assert is_network_path(shared)
    assert not is_network_path(tmp_path)
    monkeypatch.setattr("results.mounts.MOUNTS", tmp_path / "none")
    assert not is_network_path(shared)


def test_attempts_count_up_and_are_seen_by_all(tmp_path):
    one, other = create_sweep(tmp_path / "s"), SweepStore(tmp_path / "s")
    assert one.latest_attempt() == 0
    assert [one.begin_attempt(), other.begin_attempt(), one.begin_attempt()] == [1, 2, 3]
    assert one.latest_attempt() == other.latest_attempt() == 3


def test_create_twice_is_the_same_and_another_plan_is_refused(tmp_path):
    create_sweep(tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    create_sweep(tmp_path / "s")
    with pytest.raises(ConflictError, match="another plan"):
        create_sweep(tmp_path / "s", "other")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "traces"])
def test_folder_of_somebody_else_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConflictError, match=name):
        create_sweep(tmp_path)
    with pytest.raises(ConflictError, match=name), SweepStore(tmp_path).lock():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_spec_of_the_user_in_the_folder_is_not_overwritten(tmp_path):
    (tmp_path / "spec.yaml").write_text("# mine\n")
    with pytest.raises(ConflictError, match=r"spec\.yaml"):
        create_sweep(tmp_path)
    assert (tmp_path / "spec.yaml").read_text() == "# mine\n"
    assert not (tmp_path / "plan.json").exists()


def test_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "s").write_text("")
    with pytest.raises(ConflictError, match="is a file"):
        create_sweep(tmp_path / "s")


def test_lock_removes_what_dead_writers_left(tmp_path):
    store = create_sweep(tmp_path / "s")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".runs.parquet.p{dead.pid}.tmp", f".labels.parquet.p{os.getppid()}.tmp"):
        (store.root / name).touch()
    with store.lock():
        assert [path.name for path in store.root.glob(".*")] == [f".labels.parquet.p{os.getppid()}.tmp"]


def test_stop_is_asked_for_and_taken_back(tmp_path):
    store = create_sweep(tmp_path / "s")
    assert not store.stop_requested()
    store.request_stop()
    store.request_stop()
    assert SweepStore(store.root).stop_requested()
    store.clear_stop()
    store.clear_stop()
    assert not store.stop_requested()


def test_packs_and_figures_have_safe_names(tmp_path):
    store = create_sweep(tmp_path / "s")
    assert store.pack_ids() == [pack["pack_id"] for pack in make_plan()["packs"]]
    with pytest.raises(MissingError, match="no pack"):
        store.pack("../../etc")
    assert store.figure_path("phases.png").parent.is_dir()
    with pytest.raises(ValueError, match="figure"):
        store.figure_path("../phases.png")


def test_file_system_without_hard_links_is_named_before_anything_is_trained(tmp_path, monkeypatch):
    class Fat:
        def __getattr__(self, name):
            return getattr(os, name)

        def link(self, source, target):
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(durable, "os", Fat())
    with pytest.raises(OSError, match="needs a file system with hard links"):
        create_sweep(tmp_path / "s")
    assert list((tmp_path / "s").iterdir()) == []
