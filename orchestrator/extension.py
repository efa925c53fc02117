"""A spec that gained runs: what a frozen plan can take in, and what it refuses.

More values of an axis, more seeds, another filter: the runs that the plan lacks become packs of their own, in an
amendment of the plan. Old packs stay as they are, to the bit. Data of the user's may lie elsewhere by now: a run knows
them by their hash, and the amendment says where they are read from. Whatever else differs belongs into another folder.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orchestrator.columns import column_names
from orchestrator.costs import CostModel
from orchestrator.errors import EXIT_CONFLICT, UserError
from orchestrator.expand import expand
from orchestrator.plan import Plan, axes_of, plan_packs
from orchestrator.resolved import normalized_spec, resolved_spec, spec_changes, spec_digest
from orchestrator.run_table import RunTable
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec
from results.places import Place

GROWING = ("grid", "zip", "sample", "where", "seeds")
"""The parts of a spec that say which runs there are, and not how one is trained."""
DATA = ("folder", "file", "feature_columns", "target_columns")
"""Where data lie: other ones make other runs, and so these keys need no look of their own."""
BUDGET = {"steps", "grid.steps", "zip.steps"}
LARGER_BUDGET = (
    "Nothing was changed. Runs that ended cannot go on: that takes the optimizer's state, which is not kept. "
    "Train the new budget from the start, into a folder of its own, with --out DIR; the same seeds pass "
    "through the same states on the way."
)
"""What people ask a finished sweep for. The moments of the optimizer go with the last checkpoint of a pack, and weights
alone are not the state."""
OTHERWISE = "Nothing was changed. Undo the edit, or launch the new spec into another folder with --out DIR."


@dataclass(frozen=True, kw_only=True, eq=False)
class Growth:
    """The runs of a spec, beside a plan."""

    runs: RunTable
    added: RunTable
    """Those that the plan lacks."""
    moved: Mapping[str, Mapping[str, Any]]
    """Where the data of all runs lie, by their sha256, if the plan has any of them elsewhere; else empty."""

    @property
    def reason(self) -> str:
        """For whoever reads the amendment."""
        added = f"{self.added.n_runs:,} runs were added to the spec"
        if not self.moved:
            return added
        places = sorted({str(place["file"] or place["folder"]) for place in self.moved.values()})
        found = f"the same data were found in {', '.join(places)}"
        return f"{added}; {found}" if self.added.n_runs else found


def is_of(plan: Plan, loaded: LoadedSpec) -> bool:
    """Whether the plan was made, or extended, for this spec; comments and order are no matter."""
    return spec_digest(plan.spec) == spec_digest(resolved_spec(loaded.spec))


def growth_of(plan: Plan, loaded: LoadedSpec, folder: Place) -> Growth:
    """What a spec asks for beyond the plan.

    Raises:
        UserError: the spec differs in anything but added runs, and the place of the same data (73).
    """
    changes = spec_changes(normalized_spec(plan.spec), normalized_spec(resolved_spec(loaded.spec)))
    whereabouts = {f"task.{name}" for name in DATA}
    if any(path.partition(".")[0] not in GROWING for path in changes.keys() - whereabouts):
        raise _refusal(folder, changes)
    runs = expand(loaded.spec)
    known, wanted = np.concatenate([pack.run_ids for pack in plan.packs]), runs.run_ids()
    lost = int(np.isin(known, wanted, invert=True).sum())
    if lost:
        raise _refusal(folder, changes, f"{lost:,} of {len(known):,} runs of the sweep are not in this spec")
    further = [name for name in column_names(runs.columns) if name not in plan.columns]
    if further:
        raise _refusal(folder, changes, f"tables of the sweep have no column {', '.join(further)}")
    return Growth(runs=runs, added=runs.take(np.isin(wanted, known, invert=True)), moved=_moved(plan, runs))


def _moved(plan: Plan, runs: RunTable) -> dict[str, dict[str, Any]]:
    planned = {pack.fixed.get("data_sha256"): {name: pack.values(name)[0] for name in DATA} for pack in plan.packs}
    combos, _ = runs.combinations(("data_sha256", *DATA))
    found = {sha256: combo for combo in combos if (sha256 := combo.pop("data_sha256")) is not None}
    return found if any(planned.get(sha256, place) != place for sha256, place in found.items()) else {}


def extension(
    loaded: LoadedSpec, growth: Growth, slots: Slots, cost: CostModel, *, all_started: bool
) -> dict[str, Any]:
    """What SweepStore.extend takes: packs of the added runs, and the parts of the plan that tell of all runs. Once all
    earlier packs have started, only these wait for slots: the plan is for theirs then."""
    resolved, added = resolved_spec(loaded.spec), growth.added
    packs = plan_packs(loaded.spec, added, slots, cost) if added.n_runs else ()
    changed: dict[str, Any] = {"spec": resolved, "spec_sha256": spec_digest(resolved), "axes": axes_of(growth.runs)}
    if all_started and packs:
        changed |= {"slots": asdict(slots), "calibrated": cost.calibrated}
    return {
        "packs": [pack.to_json() for pack in packs],
        "changed": changed,
        "moved": growth.moved,
        "reason": growth.reason,
    }


def _refusal(folder: Place, changes: Mapping[str, str], why: str = "") -> UserError:
    lines = [f"{path}: {change}" for path, change in changes.items()] + [why] * bool(why)
    return UserError(
        f"{folder} was launched with another spec:\n" + "\n".join(f"  {line}" for line in lines),
        exit_code=EXIT_CONFLICT,
        hint=LARGER_BUDGET if not why and changes.keys() <= BUDGET else OTHERWISE,
    )
