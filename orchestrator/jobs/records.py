"""What Ray knows of a job, and which job comes next. Pure: lists of jobs go in, a decision comes out.

A job is named by its sweep's spec and an attempt: Ray refuses every name that it has seen, finished jobs included.
"""

import re
import shlex
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import (
    EXIT_ENVIRONMENT,
    EXIT_LOCKED,
    EXIT_MISSING_INPUT,
    EXIT_SIGTERM,
    EXIT_UNAVAILABLE,
    UserError,
)
from orchestrator.signals import HANDLED

State = Literal["waiting", "running", "done", "failed", "stopped"]
STATES: Mapping[str, State] = {
    "PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "done", "FAILED": "failed", "STOPPED": "stopped",
}  # fmt: skip
NAME = re.compile(r"(grokctl-.+)-(\d+)")
ENDED = re.compile(r"^\[grokctl job: exit code (\d+)\]$", re.MULTILINE)
NOT_STARTED = (126, 127)
"""Exit codes of a shell that finds no Python. grokctl has none of them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of ours on a cluster."""

    id: str
    state: State
    sweep: str
    out: str
    """The sweep's folder, as the nodes see it."""
    options: tuple[str, ...] = ()
    """Of its launch, beyond spec and folder."""
    started_ms: int | None = None
    """Unix time."""
    ended_ms: int | None = None
    driver_exit_code: int | None = None
    """What Ray saw; negative if a signal killed the driver; None of a job that was stopped, or never began."""
    message: str = ""
    """What Ray says of a job that failed."""

    @property
    def is_live(self) -> bool:
        return self.state in ("waiting", "running")

    @property
    def stem(self) -> str:
        return _split(self.id)[0]

    @property
    def attempt(self) -> int:
        return _split(self.id)[1]

    @classmethod
    def from_ray(cls, details: Any) -> "Job | None":
        """None for a job that `grokctl submit` did not start."""
        metadata = details.metadata or {}
        if not NAME.fullmatch(details.submission_id or "") or "grokctl_out" not in metadata:
            return None
        return cls(
            id=details.submission_id,
            state=STATES[str(getattr(details.status, "value", details.status))],
            sweep=metadata.get("grokctl_sweep", ""),
            out=metadata["grokctl_out"],
            options=tuple(shlex.split(metadata.get("grokctl_options", ""))),
            started_ms=details.start_time,
            ended_ms=details.end_time,
            driver_exit_code=details.driver_exit_code,
            message=details.message or "",
        )


def _split(job_id: str) -> tuple[str, int]:
    match = NAME.fullmatch(job_id)
    assert match, job_id
    return match[1], int(match[2])


def metadata(*, sweep: str, out: str, spec_sha256: str, release: str, options: Sequence[str]) -> dict[str, str]:
    """What a job is filed under on the cluster."""
    return {
        "grokctl": release,
        "grokctl_sweep": sweep,
        "grokctl_out": out,
        "grokctl_spec_sha256": spec_sha256,
        "grokctl_options": shlex.join(options),
    }


def live_job(jobs: Iterable[Job], stem: str, out: str) -> Job | None:
    """The job at work on this sweep in this folder, if there is one.

    Raises:
        UserError: another spec's job is at work on the folder (75).
    """
    at_work = [job for job in jobs if job.is_live and job.out == out]
    others = [job for job in at_work if job.stem != stem]
    if others:
        raise UserError(
            f"job {others[0].id}, of another spec, is at work on {out}",
            exit_code=EXIT_LOCKED,
            hint=f"Wait for it, end it with `grokctl stop {others[0].id} --address ...`, or give another --out.",
        )
    return at_work[0] if at_work else None


def next_id(jobs: Iterable[Job], stem: str) -> str:
    """The name of the next attempt."""
    return f"{stem}-{max((job.attempt for job in jobs if job.stem == stem), default=0) + 1}"


def find(jobs: Iterable[Job], name: str, url: str) -> Job:
    """A job by its id, or the newest one by its id without the attempt, or by the sweep's name.

    Raises:
        UserError: there is none, or several sweeps have the name (66).
    """
    known = list(jobs)
    exact = [job for job in known if job.id == name]
    named = exact or [job for job in known if name in (job.stem, job.sweep)]
    if not named:
        raise UserError(
            f"no job {name} on {url}",
            exit_code=EXIT_MISSING_INPUT,
            hint=f"`grokctl status --address {url}` lists the jobs of grokctl.",
        )
    if len({job.stem for job in named}) > 1:
        listed = ", ".join(sorted(job.id for job in named))
        raise UserError(f"several jobs are of {name}: {listed}", exit_code=EXIT_MISSING_INPUT, hint="Give one's id.")
    return max(named, key=lambda job: job.attempt)


def exit_code(job: Job, log: str = "") -> int:
    """Of a job that has ended: the launch's own, wherever it can be known.

    Ray keeps it unless the job was stopped; the log's last line has it then, too. A driver that was killed, or a job
    that never began, has none: the cluster lost it (69).
    """
    code = job.driver_exit_code
    if code in NOT_STARTED:
        return EXIT_ENVIRONMENT
    if code is not None:
        return code if code >= 0 else 128 - code if -code in HANDLED else EXIT_UNAVAILABLE
    if job.state != "stopped":
        return EXIT_UNAVAILABLE
    said = ENDED.findall(log)
    return int(said[-1]) if said else EXIT_SIGTERM


def lost(job: Job) -> str:
    """Why a job has no exit code of its own; empty if it has one."""
    code = job.driver_exit_code
    if code is not None and code < 0 and -code not in HANDLED:
        return f"its driver was killed ({signal.Signals(-code).name})"
    if job.state == "failed" and code is None:
        lines = [line.strip() for line in job.message.splitlines() if line.strip()]
        return lines[-1] if lines else "Ray does not say why"
    return ""
