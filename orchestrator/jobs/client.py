"""Ray's Job API, and nothing else: over HTTP, to a cluster's dashboard. What goes wrong there becomes a UserError.

Ray's own client is led by RAY_ADDRESS wherever it is told to go, and speaks at length; here it is told in silence.
"""

import logging
import os
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from orchestrator import ray_auth
from orchestrator.errors import EXIT_UNAVAILABLE, EXIT_USAGE, UserError
from orchestrator.jobs.records import Job
from orchestrator.jobs.upload import ENTRYPOINT
from orchestrator.ray_session import JOB, QUIET

PAUSES_S = (1.0, 2.0, 4.0)
"""Before a question is asked again over which the connection broke, as heads that are busy let it."""
NOT_YET = "try again later"
"""In what a head says that has started and is not yet ready for jobs, each time after 10 s."""
STOP_WAIT_S = 600
"""From SIGTERM, upon which a launch drains to its commits (a minute, as a rule), to Ray's SIGKILL."""
DASHBOARD = re.compile(
    r"(?P<scheme>https?://)?(?:[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[A-Za-z0-9._~/-]*)?"
)
"""HOST, HOST:PORT or a URL of them; a path for a dashboard behind a proxy. No user, no query."""
MOST_PORT = 65_535
LEADS_ASTRAY = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
SPEAKERS = ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk")
REFUSED = "Request failed with status code"
"""What Ray's client says of an answer that is none."""
SAYS_MORE = "The same command tries again. The logs of its dashboard say more."
NO_AGENT = "No available agent"
"""What a head says without whose agent no job starts."""
NO_AGENT_HINT = (
    "If it has not just started, its agent found its port taken, as by another Ray on that machine: "
    "`ray start --head --dashboard-agent-listen-port=0` takes a free one."
)
TAKEN = ("already", "exists", "been used")


class Client(Protocol):
    """A cluster's jobs."""

    url: str

    def jobs(self) -> list[Job]:
        """Those that grokctl submitted."""

    def job(self, job_id: str) -> Job:
        """One of them."""

    def submit(self, job_id: str, upload: bytes, metadata: Mapping[str, str]) -> bool:
        """Start a job; whether its name was free."""

    def log(self, job_id: str) -> str:
        """All that the job has said."""

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """What it has said, from the beginning, and what it says until it ends or the connection does."""

    def stop(self, job_id: str) -> None:
        """Send SIGTERM to its driver."""


def dashboard_url(address: str) -> str:
    """`http://HOST:8265` from what was given. Raises UserError (2) for what is no dashboard's address."""
    found = DASHBOARD.fullmatch(address)
    if found is None or address == "auto" or int(found["port"] or 0) > MOST_PORT:
        raise UserError(
            f"--address takes a dashboard's address here, as http://HOST:8265, not {address}", exit_code=EXIT_USAGE
        )
    return (address if found["scheme"] else f"http://{address}").rstrip("/")


def connect(address: str) -> "RayJobs":
    """A client for the cluster whose dashboard is at `address`.

    Raises:
        UserError: nothing answers there, or no dashboard (69); the token is missing or wrong, or nothing guards the
            cluster (77).
    """
    url = dashboard_url(address)
    with _calls(url), _led_by_nobody():
        ray_auth.meet(url, ray_auth.dashboard_asks(url))
        from ray.job_submission import JobSubmissionClient

        for name in SPEAKERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        return RayJobs(url, _patiently(JobSubmissionClient, url))


def _patiently(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call again where a connection broke. Nothing that is asked of a cluster here does harm when it is asked twice."""
    for pause_s in PAUSES_S:
        try:
            return call(*arguments, **options)
        except (OSError, RuntimeError) as error:  # what requests raises is an OSError
            if isinstance(error, RuntimeError) and NOT_YET not in str(error):
                raise
            time.sleep(pause_s)
    return call(*arguments, **options)


@contextmanager
def _led_by_nobody() -> Iterator[None]:
    """Without the variables that overrule an address; afterwards the environment is what it was."""
    before = dict(os.environ)
    for name in LEADS_ASTRAY:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        ray_auth.reread()


@contextmanager
def _calls(url: str) -> Iterator[None]:
    """Around what is asked of a cluster."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ray_auth.wrong_token(url) from error
    except (OSError, RuntimeError, ValueError) as error:
        # A header that cannot be sent is quoted in what requests says of it, token and all.
        if "header" in str(error).lower():
            raise ray_auth.wrong_token(url) from None
        if REFUSED in str(error):
            raise UserError(
                f"the Ray cluster at {url} refuses: {_reason(error)}",
                exit_code=EXIT_UNAVAILABLE,
                hint=NO_AGENT_HINT if NO_AGENT in str(error) else SAYS_MORE,
            ) from error
        raise UserError(
            f"no Ray dashboard answers at {url}: {_reason(error)}",
            exit_code=EXIT_UNAVAILABLE,
            hint="Is the cluster up, and that its dashboard's port? `ssh -L 8265:localhost:8265 HEAD` brings it here.",
        ) from error


def _reason(error: BaseException) -> str:
    """The first line; of an error that wraps another one, that one's."""
    inner = getattr(error, "reason", None)
    text = str(inner if isinstance(inner, BaseException) else error).strip()
    return text.splitlines()[0] if text else type(error).__name__


class RayJobs:
    """Client over Ray's."""

    def __init__(self, url: str, client: Any) -> None:
        self.url, self._client = url, client

    def jobs(self) -> list[Job]:
        with _calls(self.url):
            found = (Job.from_ray(details) for details in _patiently(self._client.list_jobs))
            return [job for job in found if job is not None]

    def job(self, job_id: str) -> Job:
        with _calls(self.url):
            job = Job.from_ray(_patiently(self._client.get_job_info, job_id))
        assert job is not None, job_id
        return job

    def submit(self, job_id: str, upload: bytes, metadata: Mapping[str, str]) -> bool:
        environment = {**QUIET, JOB: job_id, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}
        with _calls(self.url), tempfile.TemporaryDirectory(prefix="grokctl-upload-") as folder:
            package = Path(folder) / "upload.zip"
            package.write_bytes(upload)
            try:
                _patiently(
                    self._client.submit_job,
                    entrypoint=ENTRYPOINT,
                    submission_id=job_id,
                    runtime_env={"working_dir": str(package), "env_vars": environment},
                    metadata=dict(metadata),
                )
            except RuntimeError as error:
                if job_id in str(error) and any(word in str(error) for word in TAKEN):
                    return False
                raise
        return True

    def log(self, job_id: str) -> str:
        with _calls(self.url):
            return str(_patiently(self._client.get_job_logs, job_id))

    def tail(self, job_id: str) -> AsyncIterator[str]:
        lines: AsyncIterator[str] = self._client.tail_job_logs(job_id)
        return lines

    def stop(self, job_id: str) -> None:
        with _calls(self.url):
            _patiently(self._client.stop_job, job_id)
