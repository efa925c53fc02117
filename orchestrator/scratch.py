"""A folder for what nobody needs after a launch: Ray's sockets and logs, Tune's own state.

It is held by a flock, which the kernel lets go of when its process dies, however it dies; the next launch then removes
what is left. No pid decides that: containers that share /tmp do not share their pids.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARENT = Path("/tmp")
"""Not TMPDIR: Unix sockets lie below, and their paths end at 107 characters."""
PREFIX = "grokctl-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder that only this user can read; gone when the block ends."""
    _remove_orphans()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT))
    lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "new", folder / "lock")  # under this name it was never free
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_orphans() -> None:
    """Folders of ours whose process is gone."""
    for folder in PARENT.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid == os.getuid():
                _remove_unless_held(folder)


def _remove_unless_held(folder: Path) -> None:
    lock = os.open(folder / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
