"""The run that a user means who gives the beginning of its id."""

from collections.abc import Iterable

from orchestrator.errors import EXIT_MISSING_INPUT, UserError

SHOWN = 5


def find_run(run_ids: Iterable[str], prefix: str) -> str:
    """The one id that begins so. Raises UserError, which names the candidates."""
    found = [run_id for run_id in run_ids if run_id.startswith(prefix)]
    if len(found) == 1:
        return found[0]
    if not found:
        hint = '`grokctl query DIR "SELECT run_id, phase FROM labels"` lists them.'
        raise UserError(f"no run's id begins with {prefix!r}", exit_code=EXIT_MISSING_INPUT, hint=hint)
    some = ", ".join(found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
    raise UserError(f"{len(found):,} runs' ids begin with {prefix!r}: {some}", hint="Give more characters of it.")
