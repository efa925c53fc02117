"""Submit, look at and stop jobs, in the words of the command line."""

import datetime
import posixpath
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.code_file import bytes_of
from orchestrator.errors import EXIT_USAGE, UserError
from orchestrator.jobs.client import Client
from orchestrator.jobs.follow import LetGo, follow
from orchestrator.jobs.records import ENDED, Job, exit_code, find, live_job, lost, metadata, next_id
from orchestrator.jobs.upload import make_upload
from orchestrator.manifests import require_absolute_data, resource_name
from orchestrator.resolved import resolved_spec, spec_digest
from orchestrator.spec import LoadedSpec
from orchestrator.version import release
from results.objects import SCHEME
from results.places import place_of

Say = Callable[[str], None]
RACES = 3
"""Times that a name is chosen anew because another submission took it."""

CODE = "code.py"
"""What the Python file of a spec is called in the job's working directory."""


def shared_folder(out: str | None) -> str:
    """`--out`, as all nodes see it. Raises UserError (2) unless it is an absolute path, or in a bucket."""
    if out is not None and out.startswith(SCHEME):
        return str(place_of(out))
    if out is None or not posixpath.isabs(out):
        given = "there is none" if out is None else f"{out} means another folder on each"
        raise UserError(
            "--out takes the absolute path under which all nodes of the cluster see the sweep's folder, or "
            f"s3://BUCKET/PREFIX; {given}",
            exit_code=EXIT_USAGE,
            hint="For example: --out /shared/NAME",
        )
    return posixpath.normpath(out)


def prepare(loaded: LoadedSpec, out: str, settings: Mapping[str, str], options: Sequence[str]) -> bytes:
    """What is sent. Raises UserError for data that the nodes could not find, or for too much of it (65)."""
    require_absolute_data(loaded, code_is_sent=True)
    name = f"{loaded.spec.name}.yaml"
    arguments = ["launch", name, "--address", "auto", "--out", out, *options]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    beside: dict[str, bytes] = {}
    if loaded.spec.code is not None:
        beside = {CODE: bytes_of(loaded.spec.code)}
        arguments += ["--set", f"code={CODE}"]
    return make_upload(name, loaded.text, arguments, beside)


def submit(
    client: Client, loaded: LoadedSpec, out: str, upload: bytes, say: Say, *, options: Sequence[str] = ()
) -> Job:
    """The job that works on a sweep: the one that is at it already, or a new one with these options of its launch."""
    stem = resource_name(loaded)
    about = metadata(
        sweep=loaded.spec.name,
        out=out,
        spec_sha256=spec_digest(resolved_spec(loaded.spec)),
        release=release(),
        options=options,
    )
    for _ in range(RACES):
        jobs = client.jobs()
        live = live_job(jobs, stem, out)
        if live is not None:
            say(f"{live.id} is at work on {out} already ({live.state} since {_since(live)})")
            if ignored := [option for option in options if option not in live.options]:
                say(f"note: it was submitted without {shlex.join(ignored)}, and goes on without")
            return live
        job_id = next_id(jobs, stem)
        if client.submit(job_id, upload, about):
            say(f"{job_id}: submitted to {client.url} ({len(upload) / 1e3:,.0f} kB); results go to {out}")
            return client.job(job_id)
    raise UserError(f"others submit {stem} to {client.url} at the same time", hint="Try again.")


def follow_to_the_end(client: Client, job: Job, again: Sequence[str], say: Say) -> int:
    """Show a job's log; its exit code. `again` is the command that finds the job again."""
    try:
        ended, log = follow(client, job.id, say)
    except LetGo as let_go:
        say(f"{job.id} goes on without you")
        say_what_next(client, job, again, say)
        return let_go.exit_code
    code = exit_code(ended, log)
    why = lost(ended)
    say(f"{job.id}: exit code {code}" + (f"; {why}; the same command goes on from the last commits" if why else ""))
    return code


def say_what_next(client: Client, job: Job, again: Sequence[str], say: Say) -> None:
    """How to follow, look at and stop a job."""
    at = ("--address", client.url)
    for what, command in (
        ("follow it", again),
        ("look", ("grokctl", "status", job.id, *at)),
        ("stop it", ("grokctl", "stop", job.id, *at)),
    ):
        say(f"  {what + ':':<11}{shlex.join(command)}")


def stop(client: Client, name: str, say: Say) -> None:
    """Ask a job's launch to drain to its commits."""
    job = find(client.jobs(), name, client.url)
    if not job.is_live:
        say(f"nothing to stop: {job.id} has ended ({job.state}, exit code {_code(client, job)})")
        return
    client.stop(job.id)
    say(f"asked {job.id} to end at its next commits; submitting again goes on from there")
    say(f"  look:      {shlex.join(['grokctl', 'status', job.id, '--address', client.url])}")


def status(client: Client, name: str | None) -> list[dict[str, Any]]:
    """Jobs of grokctl on a cluster, newest first, with exit codes; one of them with the last line of its log."""
    if name is None:
        jobs = sorted(client.jobs(), key=lambda job: job.started_ms or 0, reverse=True)
        return [_record(client, job) for job in jobs]
    job = find(client.jobs(), name, client.url)
    lines = [line for line in client.log(job.id).splitlines() if line.strip() and not ENDED.match(line)]
    return [{**_record(client, job), "last_line": lines[-1] if lines else ""}]


def _record(client: Client, job: Job) -> dict[str, Any]:
    return {**asdict(job), "exit_code": None if job.is_live else _code(client, job), "lost": lost(job)}


def _code(client: Client, job: Job) -> int:
    return exit_code(job, client.log(job.id) if job.driver_exit_code is None else "")


def status_text(records: Sequence[Mapping[str, Any]], url: str) -> str:
    """A table of jobs."""
    if not records:
        return f"no jobs of grokctl on {url}"
    rows = [("job", "state", "since", "exit code", "sweep's folder")]
    for record in records:
        moment = record["ended_ms"] or record["started_ms"]
        code = "" if record["exit_code"] is None else str(record["exit_code"])
        rows.append((record["id"], record["state"], _time(moment), code, record["out"]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [text for record in records for text in (record["lost"], record.get("last_line", "")) if text]
    return "\n".join([*lines, *notes])


def _since(job: Job) -> str:
    return _time(job.started_ms)


def _time(unix_ms: int | None) -> str:
    """In this machine's time zone."""
    return "" if unix_ms is None else datetime.datetime.fromtimestamp(unix_ms / 1e3).strftime("%Y-%m-%d %H:%M:%S")
