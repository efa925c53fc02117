"""How much of a cluster a sweep asks for: slots, nodes, memory and hours, from a plan made for it. Pure."""

import math
from dataclasses import dataclass, replace

from orchestrator.costs import CostModel
from orchestrator.plan import make_plan
from orchestrator.plan_summary import format_duration, summarize
from orchestrator.slots import Device, Slots
from orchestrator.spec import LoadedSpec

TARGET_S = 2 * 3600.0
"""As many slots are asked for as finish the sweep in about this time: longer waits for fewer nodes are edited in."""
MAX_SLOTS = 64
"""The planner's cuts were measured up to so many."""
NODE_CPUS, NODE_GPUS = 16, 4
"""Of a node, unless a single pack wants more. Schedulers place nodes of this size easily."""
HEADROOM = 2.0
"""A launch may take so many times its estimate. (On machines that were never measured, estimates were up to 1.7 times
too short.) When that is over it drains to its commits, and the same manifest goes on."""
QUARTER_H = 0.25
RAY_GB = 2
"""For Ray's own processes on a node. A guess."""
CUDA_GB = 4
"""Of the host's memory for a pack on a GPU; the plan knows what it takes of the GPU. A guess."""


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """What a manifest asks a scheduler for. All nodes that train are alike."""

    runs: int
    packs: int
    device: Device
    slots: int
    """Packs side by side."""
    cpus_per_pack: int
    gpus_per_pack: float
    nodes: int
    cpus_per_node: int
    gpus_per_node: int
    memory_gb_per_node: int
    estimated_s: float
    calibration: str
    """What the estimate rests on."""
    max_hours: float
    """For `grokctl launch --max-hours`."""

    @property
    def cpus(self) -> int:
        """Of all nodes."""
        return self.nodes * self.cpus_per_node

    def sentence(self) -> str:
        """For a comment."""
        gpus = f", GPUs {self.gpus_per_pack:g}" if self.gpus_per_pack else ""
        return (
            f"runs: {self.runs:,}; packs: {self.packs:,}, of which side by side: {self.slots} (each on {self.device}, "
            f"cores: {self.cpus_per_pack}{gpus}); about {format_duration(self.estimated_s)} ({self.calibration})"
        )


def allocate(loaded: LoadedSpec, here: Slots, cost: CostModel) -> Allocation:
    """What to ask for so that a sweep takes about TARGET_S; `here` says what a pack gets, and on which device."""
    on_one = make_plan(loaded, replace(here, slots=1, pack_memory_bytes=None), cost)
    work_s = sum(pack.estimated_s for pack in on_one.packs)
    wanted = min(max(1, math.ceil(work_s / TARGET_S)), MAX_SLOTS, on_one.n_runs)
    plan = make_plan(loaded, replace(here, slots=wanted, pack_memory_bytes=None), cost)
    total = summarize(plan)
    slots = min(wanted, total.packs)
    packs_per_node, gpus_per_node = node_shape(slots, here.cpus_per_pack, here.gpus_per_pack)
    pack_gb = max(pack.memory_mb for pack in plan.packs) / 1e3
    host_gb = CUDA_GB if total.device == "cuda" else pack_gb
    return Allocation(
        runs=total.runs,
        packs=total.packs,
        device=here.device,
        slots=slots,
        cpus_per_pack=here.cpus_per_pack,
        gpus_per_pack=here.gpus_per_pack,
        nodes=-(-slots // packs_per_node),
        cpus_per_node=packs_per_node * here.cpus_per_pack,
        gpus_per_node=gpus_per_node,
        memory_gb_per_node=math.ceil(packs_per_node * host_gb) + RAY_GB,
        estimated_s=total.estimated_s,
        calibration=total.calibration,
        max_hours=hours_for(total.estimated_s),
    )


def node_shape(slots: int, cpus_per_pack: int, gpus_per_pack: float) -> tuple[int, int]:
    """Packs on a node and its GPUs: nodes as full as they may be, then all alike. A fraction of a GPU is a part of one
    GPU, so .3 fits three times."""
    packs_per_gpu = int(1 / gpus_per_pack + 1e-9) if 0 < gpus_per_pack <= 1 else 1
    gpus_per_pack = max(1, math.ceil(gpus_per_pack)) if gpus_per_pack else 0
    most = max(1, NODE_CPUS // cpus_per_pack)
    if gpus_per_pack:
        most = min(most, max(1, NODE_GPUS // gpus_per_pack * packs_per_gpu))
    nodes = -(-slots // min(most, slots))
    packs = -(-slots // nodes)
    return packs, -(-packs // packs_per_gpu) * gpus_per_pack


def hours_for(estimated_s: float) -> float:
    """Quarters of an hour, with headroom."""
    return QUARTER_H * math.ceil(HEADROOM * estimated_s / 3600 / QUARTER_H)
