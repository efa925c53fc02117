"""How a process dies, and how a server misbehaves, as far as a bucket can tell.

A kill is an exception after which no request reaches the bucket any more: nothing is half written there, and what holds
locks is gone. What a power cut is to a disk, unknown outcomes are here: a change that was carried out though nobody
was told, one that was refused for the moment, and one that arrives when its sender is long dead.
"""

import itertools
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from backends import bucket, s3_server
from loopback_s3 import Server

from results import objects
from results.objects import ObjectPath
from results.places import Place

Request = Callable[[], object]
RAISED = 111
"""No number of segments."""
MUTATED: list[Callable[[], None]] = []
"""Mutants of the store that are in force; one wraps another."""


class Killed(BaseException):
    """kill -9. Not an Exception, which somebody could take for an error of the server."""


def is_change(request: Request) -> bool:
    """Of those that results.objects sends."""
    return request.__qualname__.split(".")[-1] in ("put", "delete", "<lambda>")


def kill_at(n: int, patch: pytest.MonkeyPatch, *, is_after: bool = False, keep: Callable[[Request], None] = id) -> None:
    """From the n-th change on nothing reaches the bucket any more; `is_after`: nothing after it. `keep` is given the
    change that did not."""
    left = [n]

    def deadly(path: ObjectPath, request: Request) -> object:
        if is_change(request) and left[0] > 0:
            left[0] -= 1
            if left[0] == 0 and is_after:
                tried(path, request)
            elif left[0] == 0:
                keep(request)
        if left[0] == 0:
            raise Killed
        return tried(path, request)

    tried = objects._tried
    patch.setattr(objects, "_tried", deadly)


def arrive_before(m: int, patch: pytest.MonkeyPatch, late: Request) -> None:
    """A change that was sent long ago is carried out before the m-th one from now on; nobody hears of it."""
    left = [m]

    def deliver(path: ObjectPath, request: Request) -> object:
        if is_change(request):
            left[0] -= 1
            if left[0] == 0:
                with suppress(Exception):
                    late()
        return tried(path, request)

    tried = objects._tried
    patch.setattr(objects, "_tried", deliver)


def die_in_bucket(act: Callable[[Place], int], root: Place, n: int, mutate: Callable[[], None]) -> int | None:
    """For store_crash_harness.Case: the n-th change does not happen any more. `mutate` is for this whole process."""
    if mutate not in MUTATED:
        MUTATED.append(mutate)
        mutate()
    with pytest.MonkeyPatch.context() as patch:
        if n:
            kill_at(n, patch)
        try:
            return act(root)
        except Killed:
            return None
        except Exception:
            traceback.print_exc()
            return RAISED


@contextmanager
def every_other_change(server: Server, harm: str) -> Iterator[None]:
    """Within the block every other change is carried out without an answer (`lose`), or answered by 503 (`refuse`)."""
    numbers = itertools.count()
    fault = server.lose(times=10**9) if harm == "lose" else server.fail_with(503, "SlowDown", times=10**9)
    fault.hits = lambda method, key: method in ("PUT", "DELETE") and next(numbers) % 2 == 0
    yield
    fault.times = 0
    assert fault.met > 30, "the server misbehaved"


@contextmanager
def misbehaving_bucket(harm: str | None) -> Iterator[ObjectPath]:
    """A prefix under which nothing lies, at a server that does such harm all the time; None: none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "FIRST_PAUSE_S", 0.0)
        if harm is None:
            with bucket() as above:
                yield above
        else:
            with s3_server() as server, every_other_change(server, harm):
                yield ObjectPath("bucket", "home")
