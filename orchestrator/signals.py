"""Signals of a launch: the first asks for a drain to the next commit, the second stops at once.

SIGTERM and SIGHUP count like Ctrl-C, so that a drain also follows where a cluster manager or a closed terminal ends the
command; only the exit code tells them apart.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopNow(BaseException):
    """The second signal. Not an Exception: nothing that records failures may take it for one."""


class StopRequest:
    """Whether a stop was asked for, and by which signal."""

    def __init__(self, on_first: Callable[[signal.Signals], None]) -> None:
        self._on_first = on_first
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int | None:
        """128 + the first signal's number, as a shell would report it."""
        return None if self.signal is None else 128 + self.signal

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise StopNow
        self.signal = signal.Signals(number)
        self._on_first(self.signal)


@contextmanager
def drain_on_signals(on_first: Callable[[signal.Signals], None]) -> Iterator[StopRequest]:
    """Within the block, HANDLED signals go to the StopRequest. Off the main thread, where Python takes none, it stays
    unasked."""
    request = StopRequest(on_first)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in HANDLED}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
