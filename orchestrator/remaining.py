"""What the packs of a plan have committed, and which are left to train."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.errors import EXIT_USAGE, UserError
from orchestrator.plan import Plan, PlannedPack
from results.headers import Header
from results.pack_store import PackStore
from results.places import one_look
from results.store import SweepStore
from trainers.expressions import Expression, ExpressionError


def stored(store: SweepStore, packs: Sequence[PlannedPack]) -> Iterator[tuple[PlannedPack, PackStore]]:
    """Planned packs with what is stored of them; the plan on disk is looked at once for all."""
    known = store.packs() if packs else {}
    return ((pack, known[pack.pack_id]) for pack in packs)


def unfinished(store: SweepStore, plan: Plan, selected: Expression | None) -> list[PlannedPack]:
    """Packs that are not done and hold a run that the filter selects."""
    with one_look(store.root):
        wanted = [pack for pack, found in stored(store, plan.packs) if not found.is_done()]
    return [pack for pack in wanted if selected is None or pack.table().select(selected).any()]


def require_match(plan: Plan, selected: Expression | None) -> None:
    """Raises UserError (2) where the filter of `--only` cannot be read over these runs, or selects none of them."""
    if selected is None:
        return
    try:
        if any(pack.table().select(selected).any() for pack in plan.packs):
            return
    except ExpressionError as error:
        raise UserError(f"--only {selected.text}: {error}", exit_code=EXIT_USAGE) from error
    n_runs = sum(pack.n_runs for pack in plan.packs)
    raise UserError(
        f"--only {selected.text}: selects none of {n_runs:,} runs; `grokctl check` says over what they vary",
        exit_code=EXIT_USAGE,
    )


def newest_headers(store: SweepStore, plan: Plan) -> dict[str, Header]:
    """The last commit of each pack that has one, by pack_id. Read once: a large sweep has a thousand of them."""
    with one_look(store.root):
        found = [(pack.pack_id, of_pack.newest_header()) for pack, of_pack in stored(store, plan.packs)]
    return {pack_id: header for pack_id, header in found if header}


def runs_ended(headers: Mapping[str, Header]) -> int:
    """How many runs these commits brought to their end."""
    return sum(len(header.outcomes) for header in headers.values())
