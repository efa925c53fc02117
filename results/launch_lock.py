"""The lock of a sweep's folder: a flock, of which the kernel lets go when its holder dies, however it dies.

The file names the holder: host, pid and attempt. Where flock is missing or may reach one machine only (network file
systems, buckets), that name is all that a launch knows of another, and one that was killed leaves its name there. Going
on then takes `take_over`, and so does going on beside a holder that lives but hangs. What keeps two launches apart in
all these cases is the number of the attempt; see results.pack_store.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from results.errors import LockedError, StorageError, UnavailableError
from results.mounts import is_network_path
from results.objects import ObjectPath

HELD_HERE: set[ObjectPath] = set()
"""Sweeps in buckets that this process has locked."""
TRIES = 3
NO_FLOCK = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)
UNSURE = "it may be dead, which cannot be told from here; if it is, `launch --take-over`"
TAKEN_OVER = "taken over from a launch that may be alive: from now on it can commit nothing"
NOT_LOCKED = "this file system has no flock: a second launch is kept out by the name in launch.lock alone"


class LaunchLock:
    """`launch.lock` in the folder `root`, to be taken or looked at."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "launch.lock"
        self._descriptor: int | None = None

    @contextlib.contextmanager
    def held(self, *, take_over: bool) -> Iterator[str | None]:
        """Within the block the lock is ours; gives what the user should know of it.

        Raises LockedError, which names the holder.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            note = self._take(descriptor, take_over)
            self._descriptor = descriptor
            self.name_holder(0)
            yield note
        finally:
            if self._descriptor is not None and _is_us(self._named()):
                os.ftruncate(descriptor, 0)
            self._descriptor = None
            os.close(descriptor)

    def name_holder(self, attempt: int) -> None:
        """Writes our name into the file, if we hold it.

        Whoever looks meanwhile reads one name or the other. Without any, and without flock, it would take the lock.
        """
        if self._descriptor is not None:
            name = whoami(attempt)
            os.pwrite(self._descriptor, name.ljust(os.fstat(self._descriptor).st_size), 0)
            os.ftruncate(self._descriptor, len(name))

    def holder(self) -> dict[str, Any] | None:
        """Host, pid and attempt of the launch at work; None if there is none."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            has_flock = _try_flock(descriptor, fcntl.LOCK_SH)
        except BlockingIOError:
            return self._named()
        finally:
            os.close(descriptor)
        return self._named() if self._may_live(has_flock) else None

    def _take(self, descriptor: int, take_over: bool) -> str | None:
        try:
            has_flock = _try_flock_thrice(descriptor)
        except BlockingIOError:
            if not take_over:
                raise LockedError(self._root, self._named()) from None
            return TAKEN_OVER
        if not self._may_live(has_flock):
            return None if has_flock else NOT_LOCKED
        if not take_over:
            raise LockedError(self._root, self._named(), UNSURE)
        return TAKEN_OVER

    def _may_live(self, has_flock: bool) -> bool:
        """Of a launch that is named and does not show by a flock that it lives."""
        named = self._named()
        if has_flock and not (is_network_path(self._root) and named.get("host") != socket.gethostname()):
            return False
        return _may_live(named)

    def _named(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return _holder_in(self._path.read_bytes())
        return {}


class ObjectLock:
    """The same in a bucket, where the name in `launch.lock` is all there is: whoever makes the object holds the lock,
    and removes it at the end. Of those who come upon the name of a dead launch at the same instant, one replaces it."""

    def __init__(self, root: ObjectPath) -> None:
        self._root = root
        self._path = root / "launch.lock"

    @contextlib.contextmanager
    def held(self, *, take_over: bool) -> Iterator[str | None]:
        """As LaunchLock.held. Raises UnavailableError, too, if the endpoint passes over If-None-Match."""
        note = self._take(take_over)
        HELD_HERE.add(self._root)
        try:
            self._require_conditions()
            yield note
        finally:
            HELD_HERE.discard(self._root)
            with contextlib.suppress(StorageError):  # our name stays, and what went wrong before is what counts
                if _is_us(self._named()[0]):
                    self._path.remove()

    def name_holder(self, attempt: int) -> None:
        """Writes our name, if it is ours that stands there."""
        holder, version = self._named()
        if version and self._root in HELD_HERE and _is_us(holder):
            self._path.put_over(version, whoami(attempt))

    def holder(self) -> dict[str, Any] | None:
        """Host, pid and attempt of the launch that may be at work; None if there is none."""
        named, _ = self._named()
        return named if self._may_live(named) else None

    def _take(self, take_over: bool) -> str | None:
        with contextlib.suppress(FileExistsError):
            self._path.create(whoami(0))
            return None
        named, version = self._named()
        may_live = self._may_live(named)
        if may_live and not take_over:
            raise LockedError(self._root, named, UNSURE)
        if version is None or not self._path.put_over(version, whoami(0)):
            raise LockedError(self._root, self._named()[0], "it was first")
        return TAKEN_OVER if may_live else None

    def _require_conditions(self) -> None:
        """Where they are passed over, two launches could undo each other's commits."""
        with contextlib.suppress(FileExistsError):
            self._path.create(b"{}")
            raise UnavailableError(f"{self._root}: this object store does not heed If-None-Match; see the README")

    def _may_live(self, named: dict[str, Any]) -> bool:
        """A dead launch that had our pid is not this one."""
        return self._root in HELD_HERE if _is_us(named) else _may_live(named)

    def _named(self) -> tuple[dict[str, Any], tuple[str, int] | None]:
        """Who stands there, and in which version of the object."""
        version = self._path.version()
        try:
            return _holder_in(self._path.read_bytes()), version
        except FileNotFoundError:
            return {}, version


def _holder_in(data: bytes) -> dict[str, Any]:
    """Empty for what is no name."""
    with contextlib.suppress(ValueError):
        holder = json.loads(data)
        if isinstance(holder, dict):
            return holder
    return {}


def _may_live(named: dict[str, Any]) -> bool:
    """Of a launch of which nothing but its name is known."""
    if not named or named.get("host") != socket.gethostname():
        return bool(named)
    return is_another_process(int(named.get("pid", 0)))


def whoami(attempt: int) -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "attempt": attempt}).encode()


def is_another_process(pid: int) -> bool:
    """Whether a process with this pid lives that is not this one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _is_us(holder: dict[str, Any]) -> bool:
    return (holder.get("host"), holder.get("pid")) == (socket.gethostname(), os.getpid())


def _try_flock_thrice(descriptor: int) -> bool:
    """It may have been `holder` that had it, which is through in no time."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            return _try_flock(descriptor, fcntl.LOCK_EX)
        time.sleep(0.02)
    return _try_flock(descriptor, fcntl.LOCK_EX)


def _try_flock(descriptor: int, kind: int) -> bool:
    """False where the file system has no flock. Raises BlockingIOError if somebody else holds the lock."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        return False
    return True
