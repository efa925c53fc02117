"""Looking at a sweep: critical, diagram, query, weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.base import Dir, verb
from orchestrator.errors import EXIT_USAGE, UserError
from orchestrator.exits import say

if TYPE_CHECKING:
    from results.places import Place


@verb
def critical(
    folder: Dir,
    others: Annotated[
        list[str] | None,
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
    from results.places import place_of

    result = read_off(
        place_of(folder), [place_of(other) for other in others or ()], Question(axis=axis, facet=facet, outcome=outcome)
    )
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
    target: Place = out or sweep.store.figure_path(f"{name}.png")
    relabel.draw(sweep, target, **axes)
    say(f"wrote {target}")


@verb
def query(
    folders_and_sql: Annotated[
        list[str],
        typer.Argument(metavar='DIR... "SQL"', help="Folders of sweeps, then the question.", show_default=False),
    ],
) -> None:
    """Ask the tables runs, traces, measures, snapshots, labels and critical in SQL (DuckDB). Reads only."""
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
    run_id: Annotated[
        str,
        typer.Argument(metavar="RUN_ID", help="A run of it; the beginning of its id will do.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("-o", help="File to write; by default RUN_ID.pt.", show_default=False)
    ] = None,
) -> None:
    """Write the final weights of a run as a plain PyTorch state dict."""
    from orchestrator.final_weights import write_weights

    target, n_tensors = write_weights(folder, run_id, out)
    say(f"{target}: {n_tensors} tensors; read them with torch.load({str(target)!r}, weights_only=True)")
