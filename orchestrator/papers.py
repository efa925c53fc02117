"""`grokctl figure` and `grokctl reproduce`: from a paper's figure to a picture of our own runs."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import EXIT_MISSING_INPUT, EXIT_USAGE, UserError
from results.figures.catalogue import PaperFigure, find_figure
from results.places import Place
from results.sweep import Sweep, TrainingSets, open_sweep
from trainers.config import RunConfig

if TYPE_CHECKING:
    from orchestrator.outcome import LaunchResult


def draw_figure(name: str, folder: Place, out: Path | None = None) -> Place:
    """Draw the figure called `name` from the sweep in `folder`; the file written, by default in the sweep's figures.

    Raises UserError for a name that no figure has, and for a sweep that cannot show the figure.
    """
    from results.style import save

    asked = _find(name)
    sweep = open_sweep(folder)
    target = out or sweep.store.figure_path(f"{asked.name}.png")
    try:
        figure = asked.draw(sweep, training_sets(sweep))
    except ValueError as error:
        specs = " and ".join(filter(None, (asked.spec, asked.small)))
        hint = f"It is made for {specs}; for any sweep: grokctl diagram DIR."
        raise UserError(f"{asked.name}: {error}", exit_code=EXIT_USAGE, hint=hint) from error
    try:
        save(figure, target)
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_USAGE) from error
    return target


def reproduce(
    name: str, *, small: bool = False, out: str | Place | None = None, local: bool = False
) -> "tuple[LaunchResult, Place | None]":
    """Launch the spec of a figure, in small or in full, and draw the figure from what has ended.

    The second value is the picture; None if no run has ended. Raises UserError as `launch` and `draw_figure` do, and
    where the figure has no spec of that size.
    """
    from orchestrator.launcher import launch

    asked = _find(name)
    spec = _spec_of(asked, small=small or name == asked.small)
    result = launch(spec, out=out, local=local)
    drawn = draw_figure(asked.name, result.folder) if result.phases else None
    return result, drawn


def training_sets(sweep: Sweep) -> TrainingSets:
    """What each run was trained on, built again from the plan: pairs of operands, by the run's id."""
    from orchestrator.plan import Plan
    from trainers.tasks import build

    @functools.cache
    def configs() -> Mapping[str, RunConfig]:
        return {config.run_id: config for pack in Plan.from_json(sweep.plan).packs for config in pack.configs()}

    def pairs(run_id: str) -> list[tuple[int, int]]:
        data = build(configs()[run_id])
        return [(int(i), int(j)) for i, j in data.inputs_NT[data.train_D]]

    return pairs


def _find(name: str) -> PaperFigure:
    try:
        return find_figure(name)
    except ValueError as error:
        raise UserError(str(error), exit_code=EXIT_MISSING_INPUT) from error


def _spec_of(asked: PaperFigure, *, small: bool) -> str:
    spec = asked.small if small else asked.spec
    if spec is None:
        size, other = ("small", "leave out --small") if small else ("full", "add --small")
        raise UserError(
            f"{asked.name} has no {size} spec", exit_code=EXIT_MISSING_INPUT, hint=f"For the other: {other}."
        )
    return spec
