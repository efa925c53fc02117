"""Packs that have not started, cut anew for the devices that there are now: `launch --replan`.

A plan is made for the slots of its first launch. On a larger cluster, or on GPUs, the packs that have committed nothing
may be cut otherwise; those that have stay as they are, to the bit. The new cut is an amendment of the plan.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from orchestrator.costs import CostModel
from orchestrator.expand import expand
from orchestrator.plan import Plan, PlannedPack, plan_packs
from orchestrator.slots import Slots
from orchestrator.spec import LoadedSpec
from results.store import SweepStore


def not_started(plan: Plan, store: SweepStore) -> list[PlannedPack]:
    """Packs without a commit. One that has half the lanes because it ran out of memory keeps them."""
    halved = {entry["pack_id"] for entry in store.read_plan()["amendments"] if "replaced" in entry}
    waiting = (pack for pack in plan.packs if pack.pack_id not in halved)
    return [pack for pack in waiting if store.pack(pack.pack_id).newest_header() is None]


def new_cut(packs: Sequence[PlannedPack], loaded: LoadedSpec, slots: Slots, cost: CostModel) -> dict[str, Any] | None:
    """What SweepStore.recut takes: the runs of these packs in packs for these slots. None if nothing would change."""
    table = expand(loaded.spec)
    runs = np.concatenate([pack.run_ids for pack in packs])
    cut = plan_packs(loaded.spec, table.take(np.isin(table.run_ids(), runs)), slots, cost)
    if {pack.pack_id for pack in cut} == {pack.pack_id for pack in packs}:
        return None
    reason = f"{len(packs):,} packs that had not started were cut anew into {len(cut):,}, for {slots.slots:,} slots"
    return {
        "removed": [pack.pack_id for pack in packs],
        "packs": [pack.to_json() for pack in cut],
        "changed": {"slots": asdict(slots), "calibrated": cost.calibrated},
        "reason": f"{reason} ({slots.device})",
    }
