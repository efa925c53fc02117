"""What runs show: label, explain."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.base import Knobs, pairs, verb
from orchestrator.errors import EXIT_MISSING_INPUT, UserError
from orchestrator.exits import say

if TYPE_CHECKING:
    from results.classify import ClassifierSettings
    from results.foreign import Foreign


@verb
def label(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR | TRACES...",
            help="Folder of a sweep, or s3://BUCKET/PREFIX; or tables (.csv, .parquet) of another tool, or a folder.",
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
    from orchestrator.foreign_traces import read
    from orchestrator.relabel import check_target, settings_under, write_table

    if out is not None:
        check_target(out)
    if len(what) == 1 and not is_foreign(what[0]):
        require_there(what[0])
        if columns or classes or budget:
            raise UserError("--map, --classes and --budget describe TRACES of another tool, not a sweep")
        written, lines = label_sweep(what[0], pairs(knobs), compare, sensitive, store=out is None)
    else:
        settings = settings_under({}, pairs(knobs))
        foreign = read([Path(path) for path in what], mapping(columns), classes, budget, settings)
        written, lines = label_traces(foreign, settings, compare, sensitive)
    say("\n".join(lines))
    if out is not None:
        write_table(written, out)
        say(f"wrote {out}")


def require_there(path: str) -> None:
    """Raises UserError if nothing lies there; a bucket is asked later."""
    from results.places import place_of

    place = place_of(path)
    if isinstance(place, Path) and not place.exists():
        raise UserError(f"there is no file or folder {path}", exit_code=EXIT_MISSING_INPUT)


def is_foreign(path: str) -> bool:
    """Whether traces of another tool lie there, not a sweep."""
    from results.foreign.files import holds_tables
    from results.places import place_of
    from results.store import SweepStore

    place = place_of(path)
    return isinstance(place, Path) and holds_tables(place) and not SweepStore(place).exists()


def label_sweep(
    folder: str, knobs: dict[str, str], compare: bool, sensitive: bool, *, store: bool
) -> tuple[Any, list[str]]:
    """The table to write, and what to say."""
    from orchestrator import relabel
    from results import open_sweep
    from results.classify.sensitivity import sensitivity_text

    sweep = open_sweep(folder)
    settings = relabel.settings_under(sweep.plan["classifier"], knobs)
    labels = relabel.relabel(sweep, settings)
    counts = f"{len(labels):,} runs: {relabel.phases_text(labels)}"
    lines = [relabel.changes_text(sweep.labels(), labels) if compare else counts]
    measured = relabel.measure_sensitivity(sweep, settings) if sensitive else None
    if measured is not None:
        lines.append(sensitivity_text(measured))
    if store and not compare:
        lines += [f"wrote {path}" for path in relabel.store_labels(sweep, labels, measured)]
    return (labels if measured is None else measured), lines


def label_traces(
    foreign: "Foreign", settings: "ClassifierSettings", compare: bool, sensitive: bool
) -> tuple[Any, list[str]]:
    """The table to write, and what to say."""
    from orchestrator import foreign_traces
    from results.classify.sensitivity import sensitivity_text

    labels = foreign.label(settings)
    lines = [foreign_traces.compare_text(foreign, labels) if compare else foreign_traces.summary(foreign, labels)]
    measured = foreign_traces.measure(foreign, settings) if sensitive else None
    if measured is not None:
        lines.append(sensitivity_text(measured))
    return (labels if measured is None else measured), lines


def mapping(columns: list[str] | None) -> dict[str, str]:
    """`["step=epoch,val_accuracy=acc"]` as a dictionary. Raises UserError for what is not NAME=COLUMN."""
    given: dict[str, str] = {}
    for part in (part for option in columns or () for part in option.split(",")):
        name, equals, column = part.partition("=")
        if not (name and equals and column):
            raise UserError(f"--map takes NAME=COLUMN,..., not {part!r}", hint="For example: --map step=epoch")
        given[name.strip()] = column.strip()
    return given


@verb
def explain(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[PHASE | WARNING | DIR]", help="A phase, a warning, or the folder of a sweep. Absent: all phases."
        ),
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
    """Say what a phase or a warning means, or why a run has its label and what would change it."""
    if what is not None and Path(what).is_file():
        hint = f"If it is a table of traces, `grokctl label {shlex.quote(what)}` labels it."
        raise UserError(
            f"explain takes the folder of a sweep, {what} is a file", exit_code=EXIT_MISSING_INPUT, hint=hint
        )
    if run_id is None:
        explain_words(what)
        return
    from orchestrator.run_explainer import explain_run
    from results import open_sweep

    explained = explain_run(open_sweep(what or "."), run_id, pairs(knobs))
    say(explained.page())
    if out is not None:
        explained.draw(out)
        say(f"wrote {out}")


def explain_words(name: str | None) -> None:
    """Prints one phase or warning, or all phases."""
    from results.classify.explain import PHASES, explain_phase, explain_warning

    if name is not None and Path(name).is_dir():
        raise UserError(f"explain {name} takes the id of a run too", hint="Its beginning will do.")
    if name is None:
        say("\n\n".join(explain_phase(phase) for phase in PHASES))
    else:
        word = known_word(name)
        say(explain_phase(word) if word in PHASES else explain_warning(word))


def known_word(name: str) -> str:
    """The phase or warning of that name, whatever its case. Raises UserError, with the nearest one."""
    from orchestrator.wording import nearest
    from results.classify.explain import PHASES
    from results.classify.warning_texts import WARNINGS, WAS

    word = name.lower()
    known = [*PHASES, *(each for each in WARNINGS if each != WAS), *(f"was_{phase}" for phase in PHASES)]
    if word in known:
        return word
    near = nearest(word, known)
    meant = f"; did you mean {near!r}?" if near else ""
    hint = f"The phases are {', '.join(PHASES)}. For a run: grokctl explain DIR RUN_ID."
    raise UserError(f"no phase or warning is called {name!r}{meant}", hint=hint)
