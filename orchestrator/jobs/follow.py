"""A job's log to the terminal until the job ends, whatever becomes of the connection.

The log comes over a connection that Ray may close at any time, so it only makes lines appear promptly. Whether the job
has ended is asked every few seconds, and what a lost connection kept back is read in the end. Ctrl-C lets go of the
job, which goes on.
"""

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from orchestrator.errors import EXIT_UNAVAILABLE, UserError
from orchestrator.jobs.client import Client
from orchestrator.jobs.records import ENDED, Job
from orchestrator.signals import HANDLED, stop_begins

POLL_S = 2.0
ANSWER_S = 30.0
"""For which the dashboard is given to answer a question."""
PATIENCE_S = 120.0
"""For which it may not answer before we let go: a head that is busy starting workers takes its time."""
LAST_WORDS_S = 5.0
"""For which the log may go on after the job has ended."""
RAYS_OWN = re.compile(r"^(Running entrypoint for job .*|\S+ \S+\tINFO job_manager\.py:.*)$")
"""Lines that Ray puts into the log."""


class LetGo(Exception):
    """The user, or a signal, ended the following, not the job."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


class Printer:
    """Whole lines of a log, each once, however often the log begins anew."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, 0

    def show(self, log: str, *, is_over: bool = False) -> None:
        """Print what is new in a log that is known from its beginning; the last line only if it is whole, or the log
        is."""
        end = len(log) if is_over else log.rfind("\n") + 1
        for line in log[self._said : end].splitlines():
            if not RAYS_OWN.match(line) and not ENDED.match(line):
                self._say(line)
        self._said = max(self._said, end)


def follow(client: Client, job_id: str, say: Callable[[str], None]) -> tuple[Job, str]:
    """Show a job's log until the job ends. Returns how it ended, and the whole log.

    Raises:
        LetGo: after SIGINT, SIGTERM or SIGHUP.
        UserError: the cluster has not answered for two minutes (69).
    """
    return asyncio.run(_follow(client, job_id, Printer(say)))


async def _follow(client: Client, job_id: str, printer: Printer) -> tuple[Job, str]:
    tail = asyncio.create_task(_tail(client, job_id, printer))
    ended = asyncio.create_task(_until_ended(client, job_id))
    let_go = _on_signal()
    either: set[asyncio.Future[Any]] = {ended, let_go}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if let_go.done():
        raise LetGo(let_go.result())
    job = await ended
    await asyncio.wait([tail], timeout=LAST_WORDS_S)
    tail.cancel()
    log = await asyncio.to_thread(client.log, job_id)
    printer.show(log, is_over=True)
    return job, log


def _on_signal() -> "asyncio.Future[signal.Signals]":
    """Done when the first signal comes; the next ones change nothing."""
    loop = asyncio.get_running_loop()
    came = loop.create_future()

    def take(number: signal.Signals) -> None:
        if not came.done():
            stop_begins()
            came.set_result(number)

    for number in HANDLED:
        loop.add_signal_handler(number, take, signal.Signals(number))
    return came


async def _until_ended(client: Client, job_id: str) -> Job:
    heard = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(ANSWER_S):
                job = await asyncio.to_thread(client.job, job_id)
        except (UserError, TimeoutError) as error:
            if time.monotonic() - heard > PATIENCE_S:
                raise _out_of_touch(client, job_id) from error
        else:
            heard = time.monotonic()
            if not job.is_live:
                return job
        await asyncio.sleep(POLL_S)


async def _tail(client: Client, job_id: str, printer: Printer) -> None:
    """Whatever ends the connection, ask for another one; it begins the log anew."""
    while True:
        log = ""
        # Ray's client raises errors of three libraries here. None of them ends the job, and none is the last word.
        with contextlib.suppress(Exception):
            async for text in client.tail(job_id):
                log += text
                printer.show(log)
        await asyncio.sleep(POLL_S)


def _out_of_touch(client: Client, job_id: str) -> UserError:
    return UserError(
        f"{client.url} has not answered for {PATIENCE_S:g} s; job {job_id} may go on",
        exit_code=EXIT_UNAVAILABLE,
        hint="The same command finds it again, or goes on with the next attempt if the cluster lost it.",
    )
