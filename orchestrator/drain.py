"""How a launch asks itself for a drain to the next commits: after a signal, or when its time is over.

Workers elsewhere hear of it by the mark that `grokctl stop` leaves, too. A full disk takes no mark, nor does a bucket
that is away. The launch itself knows without it, and each time it looks it tries again to leave it.
"""

from rich.console import Console
from rich.text import Text

from results.errors import StorageError
from results.store import SweepStore


class Drain:
    """Whether a launch is to end at its next commits."""

    def __init__(self, store: SweepStore, console: Console) -> None:
        self._store = store
        self._console = console
        self._is_own = False
        self._was_refused = False

    def ask(self, why: str) -> None:
        """From the handler of a signal, or another thread: no mark that is refused becomes an error there."""
        self._is_own = True
        self._console.print(why, style="bold")
        self._leave_mark()

    def is_asked_for(self) -> bool:
        """By the launch itself, or by `grokctl stop`."""
        if not self._is_own:
            return self._store.stop_requested()
        self._leave_mark()
        return True

    def _leave_mark(self) -> None:
        try:
            if not self._store.stop_requested():
                self._store.request_stop()
        except (OSError, StorageError) as error:
            if not self._was_refused:
                self._was_refused = True
                text = f"workers cannot be told to stop yet, which is tried again and again: {error}"
                self._console.print(Text(text), style="yellow", soft_wrap=True)
