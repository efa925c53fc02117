"""The command line: parse, call, print. What a verb does lies elsewhere, and can be called from Python.

Nothing heavy is imported at the top: each verb imports what it needs, so that `--help` answers at once, `check` and
`plan` know neither torch nor Ray, and `label`, `diagram` and `query` work where torch is not installed.
"""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.errors import EXIT_BAD_DATA, EXIT_CONFLICT, EXIT_ENVIRONMENT, EXIT_USAGE, UserError
from orchestrator.exits import complain, exits, say

app = typer.Typer(
    help="Train a sweep of small networks from one YAML file, label what each run learnt, and draw the phase diagram.",
    epilog="SPEC is the path of a spec or the name of a shipped one (`grokctl specs`). DIR is the folder of a sweep.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="Path of a spec, or name of a shipped one.", show_default=False)
]
Dir = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sweep.", show_default=False)]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Override a hyperparameter or `steps`, or a knob with `classifier.NAME=VALUE`.",
    ),
]
Knobs = Annotated[
    list[str] | None, typer.Option("--set", metavar="classifier.NAME=VALUE", help="Override a knob of the classifier.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def verb(function: Callable[..., None]) -> Callable[..., None]:
    """A command of the function's name, whose errors become messages and exit codes."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        with exits():
            function(*args, **kwargs)

    app.command(function.__name__)(run)
    return function


def main() -> None:
    """Entry point of `grokctl`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app()


def print_version(asked: bool) -> None:
    if asked:
        from orchestrator.version import describe

        say(f"grokctl {describe()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print release and commit.")
    ] = False,
) -> None:
    """Options of grokctl itself; the callback has done what there is to do."""


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
    from orchestrator.plan import make_plan, plan_json, plan_text
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
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The sweep's folder; by default sweeps/NAME.", show_default=False),
    ] = None,
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
) -> None:
    """Train, label and draw a sweep. Launching again resumes it, and tries failed packs again."""
    from orchestrator.launcher import launch as start

    result = start(
        spec, out=out, address=address, local=local, overrides=pairs(settings), only=only, max_hours=max_hours
    )
    raise typer.Exit(result.exit_code)


@verb
def status(
    folder: Dir,
    as_json: Json = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check every sha256, row count and duplicate.")] = False,
) -> None:
    """Tell how far a sweep is, from its files alone."""
    from orchestrator.status import read_status, status_text

    damage = None
    if verify:
        from results.verify import verify as verify_files

        damage = [str(finding) for finding in verify_files(folder)]
    found = read_status(folder)
    if as_json:
        say(json.dumps({**found.to_json(), "damage": damage}, indent=1))
    else:
        say(status_text(found))
        for line in ["files  as they were committed"] if damage == [] else damage or ():
            say(line)
    if damage:
        raise typer.Exit(EXIT_BAD_DATA)


@verb
def stop(folder: Dir) -> None:
    """Ask a running sweep to end at its next commits. Launching again goes on from there."""
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


@verb
def label(
    what: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR | TRACES...",
            help="Folder of a sweep; or tables (.csv, .parquet) that another tool logged, or a folder of them.",
            show_default=False,
        ),
    ],
    knobs: Knobs = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME=COLUMN,...", help="Which column of TRACES holds what: step=epoch,train_accuracy=acc."
        ),
    ] = None,
    classes: Annotated[
        float | None, typer.Option("--classes", metavar="K", help="Classes to guess from, if no column of TRACES says.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="STEPS", help="Steps of a run, if no column of TRACES says.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", metavar="FILE", help="Write there (.parquet, .csv), not into the sweep.", show_default=False
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Show which runs change and why; write nothing without -o.")
    ] = False,
    sensitive: Annotated[
        bool,
        typer.Option(
            "--sensitivity", help="Show which share of the labels flips when a knob moves by 25 %; with -o, write that."
        ),
    ] = False,
) -> None:
    """Label a sweep again, with other thresholds, or traces that another tool logged. Needs no torch."""
    from orchestrator.relabel import write_table

    if len(what) == 1 and not is_foreign(what[0]):
        if columns or classes or budget:
            raise UserError("--map, --classes and --budget describe TRACES of another tool, not a sweep")
        written, lines = label_sweep(what[0], pairs(knobs), compare, sensitive, store=out is None)
    else:
        written, lines = label_traces(what, pairs(knobs), mapping(columns), classes, budget, compare, sensitive)
    say("\n".join(lines))
    if out is not None:
        write_table(written, out)
        say(f"wrote {out}")


def is_foreign(path: Path) -> bool:
    """Whether traces of another tool lie there, not a sweep."""
    from results.foreign.files import holds_tables
    from results.store import SweepStore

    return holds_tables(path) and not SweepStore(path).exists()


def label_sweep(
    folder: Path, knobs: dict[str, str], compare: bool, sensitive: bool, *, store: bool
) -> tuple[Any, list[str]]:
    """The table to write, and what to say."""
    from orchestrator import relabel
    from results import open_sweep

    sweep = open_sweep(folder)
    settings = relabel.settings_for(sweep, knobs)
    labels = relabel.relabel(sweep, settings)
    counts = f"{len(labels):,} runs: {relabel.phases_text(labels)}"
    lines = [relabel.changes_text(sweep.labels(), labels) if compare else counts]
    measured = relabel.measure_sensitivity(sweep, settings) if sensitive else None
    if measured is not None:
        lines.append(relabel.sensitivity_text(measured))
    if store and not compare:
        lines += [f"wrote {path}" for path in relabel.store_labels(sweep, labels, measured)]
    return (labels if measured is None else measured), lines


def label_traces(
    paths: list[Path],
    knobs: dict[str, str],
    given: dict[str, str],
    classes: float | None,
    budget: float | None,
    compare: bool,
    sensitive: bool,
) -> tuple[Any, list[str]]:
    """The table to write, and what to say."""
    from orchestrator import foreign_traces, relabel

    settings = foreign_traces.settings_of(knobs)
    foreign = foreign_traces.read(paths, given, classes, budget)
    labels = foreign.label(settings)
    lines = [foreign_traces.compare_text(foreign, labels) if compare else foreign_traces.summary(foreign, labels)]
    measured = foreign_traces.measure(foreign, settings) if sensitive else None
    if measured is not None:
        lines.append(relabel.sensitivity_text(measured))
    return (labels if measured is None else measured), lines


@verb
def critical(
    folder: Dir,
    others: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="DIR",
            help="A sweep of random labels (for D_mem), or more runs of the same question.",
            show_default=False,
        ),
    ] = None,
    axis: Annotated[str, typer.Option("--axis", metavar="NAME", help="What the sizes are read over.")] = "width",
    facet: Annotated[
        str | None, typer.Option("--facet", metavar="NAME", help="A table for each value.", show_default=False)
    ] = None,
    outcome: Annotated[
        str, typer.Option("--outcome", metavar="NAME", help="What seeds do: generalized, fitted, or a phase.")
    ] = "generalized",
) -> None:
    """Find critical train sizes, memory, zones and descents over an axis. Needs no torch."""
    from orchestrator.critical import critical as read_off
    from results.critical.findings import Question
    from results.critical.report import report

    result = read_off(folder, others or [], Question(axis=axis, facet=facet, outcome=outcome))
    for found in result.found:
        say(report(found) + "\n")
    for warning in result.warnings:
        say(f"warning: {warning}")
    for path in result.written:
        say(f"wrote {path}")


@verb
def diagram(
    folder: Dir,
    x: Annotated[str | None, typer.Option("--x", metavar="NAME", help="Axis across.", show_default=False)] = None,
    y: Annotated[str | None, typer.Option("--y", metavar="NAME", help="Axis up.", show_default=False)] = None,
    facet: Annotated[
        str | None, typer.Option("--facet", metavar="NAME", help="A panel for each value.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="Picture to write (.png, .svg, .pdf).", show_default=False)
    ] = None,
) -> None:
    """Draw the phase diagram of a sweep over any of its hyperparameters."""
    from orchestrator import relabel
    from results import open_sweep

    sweep = open_sweep(folder)
    axes = relabel.axes_of(sweep, x=x, y=y, facet=facet)
    name = "_".join(["phase_diagram", *filter(None, axes.values() if x or y or facet else ())])
    target = out or sweep.store.figure_path(f"{name}.png")
    relabel.draw(sweep, target, **axes)
    say(f"wrote {target}")


@verb
def explain(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[PHASE | DIR]", help="A phase, or the folder of a sweep. Absent: all phases."),
    ] = None,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN_ID]", help="A run of that sweep; the beginning of its id will do.")
    ] = None,
    knobs: Knobs = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", metavar="FILE", help="Draw the run there (.png, .svg, .pdf).", show_default=False),
    ] = None,
) -> None:
    """Say what a phase means, or why a run has its label and what would change it."""
    if run_id is None:
        explain_phases(what)
        return
    from orchestrator.run_explainer import explain_run
    from results import open_sweep

    explained = explain_run(open_sweep(Path(what or ".")), run_id, pairs(knobs))
    say(explained.page())
    if out is not None:
        explained.draw(out)
        say(f"wrote {out}")


def explain_phases(name: str | None) -> None:
    """Prints one phase, or all."""
    from results.classify.explain import PHASES, explain_phase

    if name is not None and Path(name).is_dir():
        raise UserError(f"explain {name} takes the id of a run too", hint="Its beginning will do.")
    if name is not None and name not in PHASES:
        hint = f"The phases are {', '.join(PHASES)}. For a run: grokctl explain DIR RUN_ID."
        raise UserError(f"no phase is called {name!r}", hint=hint)
    say("\n\n".join(explain_phase(phase) for phase in ([name] if name else PHASES)))


@verb
def query(
    folders_and_sql: Annotated[
        list[str],
        typer.Argument(metavar='DIR... "SQL"', help="Folders of sweeps, then the question.", show_default=False),
    ],
) -> None:
    """Ask the tables runs, traces, labels and critical in SQL (DuckDB). Reads only."""
    from results.query import query as ask

    *folders, sql = folders_and_sql
    if not folders:
        raise UserError(
            "query takes folders of sweeps, then the SQL", hint='For example: grokctl query DIR "FROM labels"'
        )
    try:
        answer = ask(folders, sql)
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_USAGE) from error
    say(answer.to_string(index=False))


@verb
def weights(
    folder: Dir,
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", help="File to write; by default RUN_ID.pt.", show_default=False)
    ] = None,
) -> None:
    """Write the final weights of a run as a plain PyTorch state dict."""
    from results.store import SweepStore

    tensors = SweepStore(folder).read_weights(run_id)
    target = out or Path(f"{run_id}.pt")

    import torch

    if target.exists():
        raise UserError(
            f"{target} exists already and is left as it is", exit_code=EXIT_CONFLICT, hint="Give another -o."
        )
    with target.open("xb") as file:
        torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()}, file)
    say(f"{target}: {len(tensors)} tensors; read them with torch.load({str(target)!r}, weights_only=True)")


@verb
def specs(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy it into this folder, to be edited.")] = False,
) -> None:
    """List the shipped specs, print one, or copy one."""
    from orchestrator import shipped

    if name is None:
        if copy:
            raise UserError("--copy takes the name of a spec", hint="`grokctl specs` lists them.")
        width = max((len(known) for known in shipped.names()), default=0)
        for known in shipped.names():
            say(f"{known:<{width}}  {shipped.question(known)}")
    elif copy:
        say(str(shipped.copy(name, Path())))
    else:
        say(shipped.read(name).rstrip("\n"))


@verb
def schema() -> None:
    """Print the JSON Schema of specs, for editors."""
    from orchestrator.spec import json_schema

    say(json.dumps(json_schema(), indent=2))


@verb
def doctor(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure anew how fast this machine trains, compiled too.")
    ] = False,
) -> None:
    """Tell what this machine can do, and what to do about what it can't. Measures its speed if nobody has."""
    from orchestrator.doctor import examine, is_fit, report

    findings = examine(Path(), calibrate=calibrate)
    say(report(findings))
    if not is_fit(findings):
        raise typer.Exit(EXIT_ENVIRONMENT)


@verb
def clean(folder: Dir) -> None:
    """Remove checkpoints and live segments of finished packs. Results stay."""
    from results.store import SweepStore

    store = SweepStore(folder)
    store.read_plan()
    with store.lock():
        removed = store.clean()
    say(f"removed {len(removed)} files of finished packs" if removed else "nothing to remove")


def mapping(columns: list[str] | None) -> dict[str, str]:
    """`["step=epoch,val_accuracy=acc"]` as a dictionary. Raises UserError for what is not NAME=COLUMN."""
    given: dict[str, str] = {}
    for part in (part for option in columns or () for part in option.split(",")):
        name, equals, column = part.partition("=")
        if not (name and equals and column):
            raise UserError(f"--map takes NAME=COLUMN,..., not {part!r}", hint="For example: --map step=epoch")
        given[name.strip()] = column.strip()
    return given


def pairs(settings: list[str] | None) -> dict[str, str]:
    """`["steps=100"]` as `{"steps": "100"}`. Raises UserError for what is not NAME=VALUE."""
    split = [setting.partition("=") for setting in settings or ()]
    for name, equals, _ in split:
        if not (name and equals):
            raise UserError(f"--set takes NAME=VALUE, not {name!r}", exit_code=EXIT_USAGE)
    return {name.strip(): value for name, _, value in split}
