"""Whether a Ray cluster is still there, as seen by a launch that uses it.

Ray waits for a head that is gone for a minute, and then ends the process without a word of ours. Here a thread knocks
at the head's port, and asks it for the node that this process is connected to, without which nothing can be started
either; the launch looks at what it found. Ray itself is not known here.
"""

import socket
import threading
import time
from collections.abc import Callable

from orchestrator.errors import EXIT_UNAVAILABLE, ClusterLostError
from orchestrator.ray_auth import ANSWER_S

LOOK_EVERY_S = 3.0
GO_ON = "What was committed is safe: launch again, on this cluster or another one, to go on."


def knock(address: str) -> None:
    """Raises OSError if nobody listens at HOST:PORT. Ray itself would try for minutes, and complain all the while."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()


class Head:
    """The head of a cluster. Looked after from `start` to `stop`."""

    def __init__(self, address: str, patience_s: float, is_own_node_alive: Callable[[], bool]) -> None:
        self._address, self._patience_s, self._is_own_node_alive = address, patience_s, is_own_node_alive
        self._answered = time.monotonic()
        self._has_node = True
        self._over = threading.Event()

    def start(self) -> None:
        """Look from now on, in a thread of its own: asking a head that has just died may take for ever."""
        threading.Thread(target=self._look_on, name="head", daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def require_alive(self) -> None:
        """Raises ClusterLostError if the head has not answered for too long, or our own node is dead."""
        if time.monotonic() - self._answered > self._patience_s:
            what = f"its head at {self._address} has not answered for {self._patience_s:g} s"
            raise ClusterLostError(f"the Ray cluster is lost: {what}", exit_code=EXIT_UNAVAILABLE, hint=GO_ON)
        if not self._has_node:
            what = "the Ray node that this launch runs on is dead"
            raise ClusterLostError(f"the Ray cluster is lost: {what}", exit_code=EXIT_UNAVAILABLE, hint=GO_ON)

    def look(self) -> None:
        """Once."""
        try:
            knock(self._address)
            self._has_node = self._is_own_node_alive()
        except OSError:
            return
        except Exception:
            # Once we have gone the answer is an error, and of no interest.
            if self._over.is_set():
                return
            raise
        self._answered = time.monotonic()

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self.look()
