"""A disk that is full, broken or read-only: the pack is paused at its last commit, and goes on when there is room."""

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cli_processes import run
from launch_helpers import assert_same_traces, commits, freeze, launch_here, listening, no_debris

from orchestrator.drain import Drain
from orchestrator.status import read_status, status_text
from results import durable
from results.store import SweepStore
from results.verify import verify

FAILURES = {"write": errno.ENOSPC, "fsync": errno.EIO, "close": errno.EDQUOT, "open": errno.EROFS, "rename": errno.EIO}


class Refusing:
    """os, for results.durable: from the `after`-th file of a kind on, a call fails for every file but a failure's."""

    def __init__(self, call: str, kind: str, after: int) -> None:
        self.call, self.kind, self.left = call, kind, after
        self.calls: list[Any] = []
        self.refused = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT and self.kind in str(path):
            self.left -= 1
        self.at = str(path) if flags & os.O_CREAT else ""
        if self.call == "open" and self.is_over:
            self.refuse()
        return os.open(path, flags, *mode)

    @property
    def is_over(self) -> bool:
        return self.left < 0 and "failure" not in self.at and self.at.endswith(".tmp")

    def refuse(self) -> None:
        self.calls.append(self.at)
        raise OSError(FAILURES[self.call], os.strerror(FAILURES[self.call]), self.at)

    def write(self, descriptor: int, data: Any) -> int:
        if self.call == "write" and self.is_over:
            os.write(descriptor, data[: len(data) // 2])
            self.refuse()
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        if self.call == "fsync" and self.is_over:
            self.refuse()

    def close(self, descriptor: int) -> None:
        os.close(descriptor)
        if self.call == "close" and self.is_over:
            self.refuse()

    def rename(self, source: Any, target: Any) -> None:
        if self.call == "rename" and self.is_over and "failure" not in str(target):
            self.refuse()
        os.rename(source, target)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disk") / "undisturbed"
    assert launch_here(freeze(folder), folder).exit_code == 0
    return folder


@pytest.mark.parametrize(
    ("call", "kind"),
    [("write", "segment"), ("fsync", "segment"), ("close", "checkpoint"), ("open", "checkpoint"), ("write", "header"),
     ("rename", "header")],
)  # fmt: skip
def test_the_pack_is_paused_and_goes_on(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, call: str, kind: str
) -> None:
    folder = tmp_path / "full"
    spec = freeze(folder)
    disk = Refusing(call, f".{kind}", 2)
    with monkeypatch.context() as patch:
        patch.setattr(durable, "os", disk)
        with pytest.raises(OSError, match=os.strerror(FAILURES[call])):  # the tables find no room either
            launch_here(spec, folder)
    assert commits(folder) == 2
    first = next(at for at in disk.calls if kind in at)
    assert disk.calls.count(first) == 1, "not tried again"
    status = read_status(folder)
    assert (status.state, status.packs["paused"], status.packs["failed"]) == ("unfinished", 1, 0)
    assert os.strerror(FAILURES[call]) in status_text(status)
    assert not list(folder.rglob("*.tmp"))
    assert [finding for finding in verify(folder) if finding.kind == "damage"] == []
    assert launch_here(spec, folder).exit_code == 0
    assert_same_traces(folder, undisturbed)
    assert no_debris(folder)
    assert verify(folder) == []


def test_room_for_the_tables_alone_ends_with_74(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only live files find no room: packs are paused, what has ended is labelled."""
    folder = tmp_path / "full"
    spec = freeze(folder)
    disk = Refusing("write", ".segment", 2)
    disk_is_over = Refusing.is_over.fget
    monkeypatch.setattr(Refusing, "is_over", property(lambda self: disk_is_over(self) and "packs" in self.at))
    monkeypatch.setattr(durable, "os", disk)
    result = launch_here(spec, folder)
    assert result.exit_code == 74
    assert [error for error in result.failed_packs.values() if "No space left" in error]
    assert len(disk.calls) == 1, "the next pack is not begun"


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=140k tmpfs "$DISK" && cp -r "$SWEEP/." "$DISK" || exit 99
"$@"; echo "full: $?"
mount -o remount,size=100m "$DISK" && mount -o remount,ro "$DISK" || exit 99
"$@"; echo "read-only: $?"
mount -o remount,rw "$DISK" || exit 99
"$@"; echo "room: $?"
cp -r "$DISK/." "$COPY"
"""


def can_mount() -> bool:
    return (
        bool(shutil.which("unshare")) and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    )


@pytest.mark.skipif(not can_mount(), reason="no mount namespaces here")
def test_a_time_limit_holds_though_the_stop_mark_is_refused(
    tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (console, said) = tmp_path / "sweep", listening()
    spec = freeze(folder)
    monkeypatch.setattr(SweepStore, "request_stop", no_room)
    result = launch_here(spec, folder, max_hours=0.0, console=console)
    assert result.exit_code == 0
    assert commits(folder) < commits(undisturbed)
    assert [line for line in said if "No space" in line] == [
        "workers cannot be told to stop yet, which is tried again and again: [Errno 28] No space left on device"
    ]


def test_a_stop_mark_that_was_refused_is_left_as_soon_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (console, said), store = listening(), SweepStore(tmp_path)
    drain = Drain(store, console)
    assert not drain.is_asked_for()
    with monkeypatch.context() as full:
        full.setattr(SweepStore, "request_stop", no_room)
        drain.ask("time is over")
        assert drain.is_asked_for()
        assert len(said) == 2
        assert not store.stop_requested()
    assert drain.is_asked_for()
    assert store.stop_requested()


def no_room(store: SweepStore) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_real_disk_that_is_full_then_read_only_then_has_room(tmp_path: Path, undisturbed: Path) -> None:
    """By the kernel itself: a tmpfs of 140 kB, in a namespace of its own."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    spec = freeze(tmp_path / "sweep")
    places = {"DISK": str(disk), "SWEEP": str(tmp_path / "sweep"), "COPY": str(copy)}
    wrapper = ("unshare", "-rm", "sh", "-c", ON_A_SMALL_DISK, "sh")
    done = run("launch", spec, "--local", "--out", disk, wrapper=wrapper, env=places)
    ends = [line for line in done.stdout.splitlines() if line.startswith(("full:", "read-only:", "room:"))]
    assert ends == ["full: 74", "read-only: 74", "room: 0"], done.stdout + done.stderr
    assert "No space left on device" in done.stdout + done.stderr
    assert "Read-only file system" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert_same_traces(copy, undisturbed)
    assert no_debris(copy)
    assert verify(copy) == []
