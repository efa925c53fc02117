"""Filters over the runs of a sweep, which `where` in a spec and `--only` give."""

from orchestrator.errors import EXIT_USAGE, UserError
from trainers.config import CODE, OBSERVED, WHEREABOUTS, RunConfig
from trainers.expressions import Expression, ExpressionError, parse

FILTER_NAMES = frozenset(RunConfig.model_fields) - WHEREABOUTS.union(OBSERVED, CODE) | {"train_fraction"}
"""What a filter may ask for."""


def parse_filter(text: str) -> Expression:
    """A filter over hyperparameters. Raises ExpressionError."""
    filter_ = parse(text, FILTER_NAMES)
    if not filter_.names:
        # Quotes within quotes make text of a filter, which holds for every run.
        raise ExpressionError("names no hyperparameter, so it holds for all runs or none; e.g. width <= 32", 0)
    return filter_


def parse_only(only: str | None) -> Expression | None:
    """The filter that `--only` gives. Raises UserError (2)."""
    try:
        return None if only is None else parse_filter(only)
    except ExpressionError as error:
        raise UserError(f"--only {only}: {error}", exit_code=EXIT_USAGE) from error
