"""Signals of a launch: the first asks for a drain to the next commit, the second stops at once.

SIGTERM and SIGHUP count like Ctrl-C, so that a drain also follows where a cluster manager or a closed terminal ends the
command; only the exit code tells them apart. From the third on signals change nothing: the launch is on its way out,
and an impatient finger must not turn that into a traceback. (`kill -9` is always safe.)
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_stopping = threading.Event()
"""A launch of this process was asked to stop."""


class StopNow(BaseException):
    """The second signal. Not an Exception: nothing that records failures may take it for one."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        """That of the first signal."""


class StopRequest:
    """Whether a stop was asked for, and by which signal."""

    def __init__(self, on_first: Callable[[signal.Signals], None]) -> None:
        self._on_first = on_first
        self._is_over = False
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int | None:
        """128 + the first signal's number, as a shell would report it."""
        return None if self.signal is None else 128 + self.signal

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            return
        if self.signal is None:
            self.signal = signal.Signals(number)
            _stopping.set()
            self._on_first(self.signal)
        else:
            self._is_over = True
            raise StopNow(128 + self.signal)

    def end(self) -> None:
        """From here on signals change nothing."""
        self._is_over = True


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
        request.end()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Around a library that takes signals for itself: afterwards they are handled as before.

    ray.init takes SIGTERM, upon which it ends the process with code 15, from its first moment on; one that comes
    meanwhile is a stop before anything was begun.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    except SystemExit as end:
        if end.code != signal.SIGTERM:
            raise
        raise StopNow(128 + signal.SIGTERM) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_begins() -> None:
    """Says to calm_exit that a signal has come, for who takes signals otherwise."""
    _stopping.set()


@contextmanager
def calm_exit() -> Iterator[None]:
    """For a command around its launch, or around following a job: after a signal, more of them are ignored to the end
    of the process.

    Python gives signals with handlers back to the system while it takes itself apart, and one more Ctrl-C would then
    end the process with another exit code than promised. Without a stop signals do what they always do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if _stopping.is_set():
            return
        signal.signal(number, signal.SIG_DFL)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)

    _stopping.clear()
    before = {number: signal.signal(number, handle) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _stopping.is_set() else handler)
