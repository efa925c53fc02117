"""What a pack went through, line by line: `log.jsonl` in its folder, one JSON object a line.

For people and their tools. Nothing is decided by it: a line that a full disk or a power cut took costs nothing but the
line, so it is neither synced nor ever a reason to fail. It is the one file of a pack that holds times of day.
"""

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from results.errors import StoreError
from results.objects import ObjectPath
from results.places import Place

NAME = "log.jsonl"
TAIL_BYTES = 1 << 20
"""A line names the runs that ended in one segment, at most as many as there are lanes."""


class PackLog:
    """The log in a pack's folder. `about` (pack, launch, attempt, host, pid) stands in every line."""

    def __init__(self, folder: Place, **about: Any) -> None:
        self._path = folder / NAME
        self._about = about

    def write(self, event: str, **facts: Any) -> None:
        """Add a line, in one write, so that lines of two processes never mix."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"at": at, "event": event, **self._about, **facts}, default=str) + "\n"
        with contextlib.suppress(OSError, StoreError):
            _append(self._path, line.encode())


def _append(path: Place, line: bytes) -> None:
    if isinstance(path, ObjectPath):
        # Nothing can be appended to an object, so it is put anew, without its oldest lines.
        path.put(_content(path)[-TAIL_BYTES:] + line)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _content(path: Place) -> bytes:
    """Empty if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def read_log(folder: Place) -> Iterator[dict[str, Any]]:
    """The lines, oldest first; what a kill cut short is left out."""
    with contextlib.suppress(OSError), _opened(folder / NAME) as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                entry = json.loads(line.decode(errors="replace"))
                if isinstance(entry, dict):
                    yield entry


def _opened(path: Place) -> BinaryIO:
    return io.BytesIO(path.read_bytes()) if isinstance(path, ObjectPath) else path.open("rb")


def last_event(folder: Place) -> str:
    """The event of the last whole line; empty if there is none."""
    with contextlib.suppress(OSError), _opened(folder / NAME) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        for line in reversed(file.read().splitlines()):
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return str(json.loads(line)["event"])
    return ""
