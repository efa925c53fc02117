"""A spec that gained runs: what a frozen plan can take in, and what it refuses.

More values of an axis, more seeds, another filter: the runs that the plan lacks become packs of their own, in an
amendment of the plan. Old packs stay as they are, to the bit. Whatever else differs belongs into another folder.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from orchestrator.columns import column_names
from orchestrator.costs import CostModel
from orchestrator.errors import EXIT_CONFLICT, UserError
from orchestrator.expand import expand
from orchestrator.plan import Plan, axes_of, normalized_spec, plan_packs, resolved_spec, spec_changes, spec_digest
from orchestrator.run_table import RunTable
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec
from results.places import Place

GROWING = ("grid", "zip", "sample", "where", "seeds")
"""The parts of a spec that say which runs there are, and not how one is trained."""


def is_of(plan: Plan, loaded: LoadedSpec) -> bool:
    """Whether the plan was made, or extended, for this spec; comments and order are no matter."""
    return spec_digest(plan.spec) == spec_digest(resolved_spec(loaded.spec))


def added_runs(plan: Plan, loaded: LoadedSpec, folder: Place) -> RunTable:
    """The runs of a spec that the plan lacks.

    Raises:
        UserError: the spec differs in anything but added runs (73).
    """
    changes = spec_changes(normalized_spec(plan.spec), normalized_spec(resolved_spec(loaded.spec)))
    if any(change.partition(":")[0].partition(".")[0] not in GROWING for change in changes):
        raise _refusal(folder, changes)
    table = expand(loaded.spec)
    known, wanted = np.concatenate([pack.run_ids for pack in plan.packs]), table.run_ids()
    lost = int(np.isin(known, wanted, invert=True).sum())
    if lost:
        raise _refusal(folder, [*changes, f"{lost:,} of {len(known):,} runs of the sweep are not in this spec"])
    further = [name for name in column_names(table.columns) if name not in plan.columns]
    if further:
        raise _refusal(folder, [*changes, f"tables of the sweep have no column {', '.join(further)}"])
    return table.take(np.isin(wanted, known, invert=True))


def extension(plan: Plan, loaded: LoadedSpec, added: RunTable, slots: Slots, cost: CostModel) -> dict[str, Any]:
    """What SweepStore.extend takes: packs of the added runs, and the parts of the plan that tell of all runs."""
    resolved = resolved_spec(loaded.spec)
    packs = plan_packs(loaded.spec, added, slots, cost) if added.n_runs else ()
    changed: Mapping[str, Any] = {
        "spec": resolved,
        "spec_sha256": spec_digest(resolved),
        "axes": axes_of(expand(loaded.spec)),
    }
    reason = f"{added.n_runs:,} runs were added to the spec"
    return {"packs": [pack.to_json() for pack in packs], "changed": changed, "reason": reason}


def _refusal(folder: Place, changes: list[str]) -> UserError:
    return UserError(
        f"{folder} was launched with another spec:\n" + "\n".join(f"  {change}" for change in changes),
        exit_code=EXIT_CONFLICT,
        hint=_hint_for(changes),
    )


def _hint_for(changes: list[str]) -> str:
    """What to do about a spec that differs. A larger budget is what people ask a finished sweep for, so it has words of
    its own: the moments of the optimizer go with the last checkpoint of a pack, and weights alone are not the state."""
    if {change.partition(":")[0] for change in changes} <= {"steps", "grid.steps", "zip.steps"}:
        return (
            "Nothing was changed. Runs that ended cannot go on: that takes the optimizer's state, which is not kept. "
            "Train the new budget from the start, into a folder of its own, with --out DIR; the same seeds pass "
            "through the same states on the way."
        )
    return "Nothing was changed. Undo the edit, or launch the new spec into another folder with --out DIR."
