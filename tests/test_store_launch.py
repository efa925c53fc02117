import errno
import os
import signal
import subprocess
import sys

import pytest
from store_helpers import create_sweep, make_plan

from results import durable
from results.errors import ConflictError, LockedError, MissingError
from results.store import SweepStore

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
