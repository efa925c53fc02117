"""What a plan comes to: runs, time, files, bytes, memory; as numbers, and as `grokctl plan` prints them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.costs import stand_in
from orchestrator.packing import COMPILE_S, makespan
from orchestrator.plan import Plan, PlannedPack
from results.counted import counted
from trainers.config import shape_key
from trainers.cost import further_bytes
from trainers.schedule import evaluation_steps

SHOWN_VALUES = 8
"""Of an axis."""
BYTES_PER_ROW = 40
"""Of a published trace, all columns, compressed."""


@dataclass(frozen=True, kw_only=True)
class PlanSummary:
    """What a plan comes to."""

    runs: int
    packs: int
    slots: int
    device: str
    estimated_s: float
    calibrated: bool
    run_steps: int
    rows: int
    files: int
    """Of traces that are published, at most."""
    segments: int
    """Live segments, of which each is a file until `clean`."""
    bytes: int
    memory_mb: int
    """Of the largest packs that run side by side, together."""
    shapes_to_compile: int

    @property
    def calibration(self) -> str:
        """What the estimate of time rests on."""
        return "from this machine's calibration" if self.calibrated else "uncalibrated"


def summarize(plan: Plan, *, at_once: int | None = None) -> PlanSummary:
    """Totals of a plan; time by its own estimates, with so many packs trained at once: by default one on each of its
    own slots."""
    slots = plan.slots["slots"] if at_once is None else at_once
    rows = sum(_rows(pack) for pack in plan.packs)
    return PlanSummary(
        runs=plan.n_runs,
        packs=len(plan.packs),
        slots=slots,
        device=plan.slots["device"],
        estimated_s=makespan((pack.estimated_s for pack in plan.packs), slots),
        calibrated=plan.calibrated,
        run_steps=sum(sum(pack.values("steps")) for pack in plan.packs),
        rows=rows,
        files=sum(pack.n_files for pack in plan.packs),
        segments=sum(pack.n_segments for pack in plan.packs),
        bytes=rows * BYTES_PER_ROW + round(sum(_further_bytes(pack) for pack in plan.packs)),
        memory_mb=sum(sorted((pack.memory_mb for pack in plan.packs), reverse=True)[:slots]),
        shapes_to_compile=len({_program(pack) for pack in plan.packs if pack.settings.engine == "compiled"}),
    )


def _program(pack: PlannedPack) -> tuple[Any, ...]:
    """Equal for packs whose compiled step is the same."""
    config = pack.config(0)
    return shape_key(config), pack.settings.lanes, max(pack.values("train_size")) if config.is_full_batch else 0


def compiling_text(shapes: int) -> str:
    """What compiling will cost, and when."""
    return f"compiling {counted(shapes, 'shape')}, about {COMPILE_S:.0f} s each the first time on this machine"


def _further_bytes(pack: PlannedPack) -> float:
    """Of measures and snapshots. Shapes are the pack's, budgets each run's own."""
    config = pack.config(0)
    if not (config.measures or config.snapshots):
        return 0.0
    budgets = Counter(pack.values("steps"))
    config = stand_in(config)
    return sum(n * further_bytes(config.model_copy(update={"steps": steps})) for steps, n in budgets.items())


def _rows(pack: PlannedPack) -> int:
    names = ("steps", "eval_growth", "eval_gaps")
    if not pack.runs.keys() & set(names):
        return pack.n_runs * len(evaluation_steps(*(pack.fixed[name] for name in names)))
    schedules = zip(*(pack.values(name) for name in names), strict=True)
    return sum(count * len(evaluation_steps(*schedule)) for schedule, count in Counter(schedules).items())


def format_duration(seconds: float) -> str:
    """`42 s`, `13 min`, `2 h 05 min`, `3 d 4 h`: two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def plan_json(plan: Plan) -> dict[str, Any]:
    """What `grokctl plan --json` prints: the content of plan.json, and what it comes to."""
    return {**plan.to_json(), "summary": asdict(summarize(plan))}


def _axis_lines(plan: Plan) -> list[str]:
    """What varies, as it will be trained: fractions are counts by now, exponents numbers."""
    values = {name: axis["values"] for name, axis in plan.axes.items()}
    values |= {"seed": sorted({seed for pack in plan.packs for seed in pack.values("seed")})}
    varying = {name: of_axis for name, of_axis in values.items() if name in plan.axes or len(of_axis) > 1}
    return [f"{'' if i else 'axes':<10}{name}: {_listed(varying[name])}" for i, name in enumerate(varying)]


def _listed(values: Sequence[Any]) -> str:
    told = [f"{value:.4g}" if isinstance(value, float) else "null" if value is None else str(value) for value in values]
    if len(told) <= SHOWN_VALUES:
        return ", ".join(told)
    return f"{', '.join(told[: SHOWN_VALUES - 2])}, ..., {told[-1]} ({len(told):,} values)"


def plan_text(plan: Plan) -> str:
    """What `grokctl plan` prints."""
    total = summarize(plan)
    lines = [
        f"sweep     {plan.name}",
        f"runs      {total.runs:,} ({total.run_steps:,} run-steps)",
        *_axis_lines(plan),
        f"packs     {total.packs:,} (a Tune trial each) on {counted(total.slots, 'slot')} ({total.device})",
        f"time      about {format_duration(total.estimated_s)} ({total.calibration})",
        f"files     about {total.files:,} of traces, {total.rows:,} rows, {total.bytes / 1e6:,.1f} MB; "
        f"{total.segments:,} live segments, until `clean`",
        f"memory    about {total.memory_mb / 1e3:.1f} GB",
        *([f"compiler  {compiling_text(total.shapes_to_compile)}"] if total.shapes_to_compile else []),
        "",
        "pack              runs  lanes  engine    segments  estimate",
    ]
    shown = plan.packs[:20]
    lines += [
        f"{pack.pack_id}  {pack.n_runs:>4}  {pack.settings.lanes:>5}  {pack.settings.engine:<8}  {pack.n_segments:>8}  "
        f"{format_duration(pack.estimated_s)}"
        for pack in shown
    ]
    if len(plan.packs) > len(shown):
        lines.append(f"and {len(plan.packs) - len(shown):,} more packs, each shorter")
    return "\n".join(lines)
