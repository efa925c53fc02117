"""From a question to finished runs: check, plan, launch, submit, status, stop."""

import json
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli.base import Json, Out, Settings, Spec, pairs, verb
from orchestrator.errors import EXIT_BAD_DATA, EXIT_USAGE, UserError
from orchestrator.exits import complain, say

STAY = ("--allow-code", "--only=", "--max-hours=")
"""Options of a job that its next attempt wants, too."""


def positive(hours: float | None) -> float | None:
    if hours is not None and not 0 < hours < 1e6:
        raise typer.BadParameter(f"{hours:g} is no number of hours to train for")
    return hours


@verb
def check(spec: Spec, settings: Settings = None) -> None:
    """Find every problem of a spec, with line and column."""
    from orchestrator.expand import expand
    from orchestrator.spec import load_spec

    loaded = load_spec(spec, pairs(settings))
    say(f"{loaded.path}: {expand(loaded.spec).n_runs:,} runs, no problems")


@verb
def plan(spec: Spec, settings: Settings = None, as_json: Json = False) -> None:
    """Show the runs, the packs, the time and the files of a sweep. Writes nothing."""
    from orchestrator.calibration import read_calibration, stored_cost
    from orchestrator.machine import find_slots
    from orchestrator.plan import make_plan
    from orchestrator.plan_summary import plan_json, plan_text
    from orchestrator.spec import load_spec

    loaded = load_spec(spec, pairs(settings))
    slots = find_slots(loaded.spec.resources)
    made = make_plan(loaded, slots, stored_cost(slots))
    note = read_calibration(slots)[1]
    if note:
        complain(f"note: {note}")
    say(json.dumps(plan_json(made), indent=1) if as_json else plan_text(made))


@verb
def launch(
    spec: Spec,
    out: Out = None,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Ray cluster to join; by default a local Ray is started.", show_default=False),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Train in this process, without Ray.")] = False,
    settings: Settings = None,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="EXPR", help="Train packs with a run for which this holds.", show_default=False),
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(
            "--max-hours", metavar="H", callback=positive, help="Stop at a commit after this time.", show_default=False
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-environment", help="Go on although versions or the device differ; recorded with the results."
        ),
    ] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the Python file that the spec names; it may do anything you may.")
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Go on although another launch may hold DIR: that one commits no more.")
    ] = False,
    replan: Annotated[
        bool, typer.Option("--replan", help="Cut packs that have not started anew, for the devices that there are now.")
    ] = False,
) -> None:
    """Train, label and draw a sweep. Launching again resumes it, and tries failed packs again."""
    from orchestrator.launcher import launch as start
    from orchestrator.signals import calm_exit

    if address == "":  # of a variable that is not set, say: a local Ray is not what was meant
        raise UserError("--address is empty", exit_code=EXIT_USAGE, hint="Name a cluster, or leave --address out.")
    with calm_exit():
        result = start(
            spec,
            out=out,
            address=address,
            local=local,
            overrides=pairs(settings),
            only=only,
            max_hours=max_hours,
            accept_environment=accept,
            allow_code=allow_code,
            take_over=take_over,
            replan=replan,
        )
    raise typer.Exit(result.exit_code)


class Scheduler(StrEnum):
    """What starts Ray for a sweep."""

    kuberay = "kuberay"
    ray = "ray"
    slurm = "slurm"


Dashboard = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="Dashboard of a Ray cluster, as http://HOST:8265: about its jobs.",
        show_default=False,
    ),
]
DirOrJob = Annotated[
    str | None,
    typer.Argument(
        metavar="[DIR | JOB]",
        help="Folder of a sweep, or s3://BUCKET/PREFIX; with --address a job, or its sweep's name.",
        show_default=False,
    ),
]


@verb
def submit(
    spec: Spec,
    scheduler: Annotated[
        Scheduler | None,
        typer.Option("--manifest", help="Only print a KubeRay RayJob, a file for `ray up`, or a script for sbatch."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="URL",
            help="Dashboard of the Ray cluster to launch the sweep on, as http://HOST:8265.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The sweep's folder as all nodes see it; a manifest has /sweeps/NAME, or with slurm sweeps/NAME from "
            "here.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    detach: Annotated[bool, typer.Option("--detach", help="Don't follow the job's log.")] = False,
    only: Annotated[
        str | None, typer.Option("--only", metavar="EXPR", help="As with launch.", show_default=False)
    ] = None,
    max_hours: Annotated[
        float | None,
        typer.Option(
            "--max-hours",
            metavar="H",
            callback=positive,
            help="As with launch; a manifest asks for that much time.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[bool, typer.Option("--accept-environment", help="As with launch.")] = False,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="As with launch.")] = False,
    take_over: Annotated[bool, typer.Option("--take-over", help="As with launch.")] = False,
    replan: Annotated[bool, typer.Option("--replan", help="As with launch.")] = False,
) -> None:
    """Launch a sweep as a job of a Ray cluster; again: follow the job at work, or go on. Or print a manifest."""
    if (scheduler is None) == (address is None):
        raise UserError(
            "submit takes either --address, to send a job to a Ray cluster, or --manifest, to print what starts one",
            exit_code=EXIT_USAGE,
            hint="For example: grokctl submit SPEC --address http://HOST:8265 --out /shared/NAME",
        )
    flags = {"--accept-environment": accept, "--take-over": take_over, "--replan": replan}
    given = [name for name, is_given in flags.items() if is_given]
    if address is None:
        for_a_job = ["--detach"] * detach + ["--only"] * (only is not None) + given
        if for_a_job:
            raise UserError(
                f"{' and '.join(for_a_job)} cannot go with --manifest",
                exit_code=EXIT_USAGE,
                hint="A manifest starts the sweep, and goes on with it. What `grokctl launch` takes once is written "
                "into its command.",
            )
        assert scheduler is not None
        _print_manifest(spec, scheduler, out, settings, allow_code=allow_code, max_hours=max_hours)
    else:
        given += ["--allow-code"] * allow_code
        if only is not None:
            from orchestrator.filters import parse_only

            parse_only(only)
            given.append(f"--only={only}")
        given += [f"--max-hours={max_hours}"] * (max_hours is not None)
        _submit_job(spec, address, out, settings, given, detach=detach)


def _print_manifest(
    spec: str,
    scheduler: Scheduler,
    out: str | None,
    settings: list[str] | None,
    *,
    allow_code: bool,
    max_hours: float | None,
) -> None:
    from orchestrator.calibration import stored_cost
    from orchestrator.machine import find_slots
    from orchestrator.manifests import manifest
    from orchestrator.spec import load_spec

    given = pairs(settings)
    loaded = load_spec(spec, given)
    here = find_slots(loaded.spec.resources)
    cost = stored_cost(here)
    text = manifest(
        scheduler.value, loaded, here, cost, out=out, settings=given, allow_code=allow_code, max_hours=max_hours
    )
    say(text)


def _submit_job(
    spec: str, address: str, out: str | None, settings: list[str] | None, options: list[str], *, detach: bool
) -> None:
    from orchestrator import ray_auth
    from orchestrator.code_file import require_allowed
    from orchestrator.jobs import client, verbs
    from orchestrator.signals import calm_exit
    from orchestrator.spec import load_spec

    given = pairs(settings)
    url, folder = client.dashboard_url(address), verbs.shared_folder(out)
    loaded = load_spec(spec, given)
    sets = [part for setting in settings or () for part in ("--set", setting)]
    again = ["grokctl", "submit", spec, "--address", url, "--out", folder, *sets]
    require_allowed(loaded.spec.code, allowed="--allow-code" in options, command=shlex.join(again))
    again += [option for option in options if option.startswith(STAY)]
    upload = verbs.prepare(loaded, folder, given, options)
    exposed = ray_auth.exposed_token()
    if exposed:
        complain(f"note: {exposed}")
    jobs = client.connect(url)
    job = verbs.submit(jobs, loaded, folder, upload, say, options=options)
    if detach:
        verbs.say_what_next(jobs, job, again, say)
        return
    with calm_exit():
        code = verbs.follow_to_the_end(jobs, job, again, say)
    raise typer.Exit(code)


@verb
def status(
    folder: DirOrJob = None,
    address: Dashboard = None,
    as_json: Json = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check every sha256, row count and duplicate.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Move damaged files to DIR/quarantine; the next launch makes them again.")
    ] = False,
) -> None:
    """Tell how far a sweep is, from its files alone; with --address: which jobs a Ray cluster has."""
    if address is not None:
        if verify or repair:
            raise UserError("--verify and --repair take DIR, and no --address", exit_code=EXIT_USAGE)
        _show_jobs(address, folder, as_json=as_json)
        return
    folder = _require_folder(folder, "status")
    from orchestrator.status import read_status, status_text
    from orchestrator.verified import check_files
    from results.errors import DamagedError
    from results.places import place_of

    place = place_of(folder)
    files = check_files(place, repair=repair) if verify or repair else None
    try:
        found = read_status(place)
    except DamagedError:
        if files is None or as_json:
            raise
        say("\n".join(files.lines()))  # all that is damaged, and not only what is in the way of telling more
        raise typer.Exit(EXIT_BAD_DATA) from None
    if as_json:
        say(json.dumps({**found.to_json(), **(files.to_json() if files else {"damage": None})}, indent=1))
    else:
        say("\n".join([status_text(found), *(files.lines() if files else ())]))
    if files and files.damage:
        raise typer.Exit(EXIT_BAD_DATA)


def _require_folder(folder: str | None, verb: str) -> str:
    if folder is None:
        raise UserError(
            f"{verb} takes DIR, the folder of a sweep; or a job, with --address http://HOST:8265", exit_code=EXIT_USAGE
        )
    return folder


def _show_jobs(address: str, name: str | None, *, as_json: bool) -> None:
    from orchestrator.jobs import client, verbs

    jobs = client.connect(address)
    found = verbs.status(jobs, name)
    say(json.dumps(found, indent=1) if as_json else verbs.status_text(found, jobs.url))


@verb
def stop(folder: DirOrJob = None, address: Dashboard = None) -> None:
    """Ask a running sweep, or a job, to end at its next commits. Launching or submitting again goes on from there."""
    if address is not None and folder is not None:
        from orchestrator.jobs import client, verbs

        verbs.stop(client.connect(address), folder, say)
        return
    folder = _require_folder(folder, "stop")
    from results.store import SweepStore

    store = SweepStore(folder)
    store.read_plan()
    holder = store.holder()
    if holder is None:
        say(f"nothing to stop: no launch is at work on {folder}")
        return
    store.request_stop()
    who = ", ".join(f"{key} {value}" for key, value in holder.items())
    say(f"asked the launch at work on {folder} ({who}) to end at its next commits")
