"""The plan of a sweep: which runs are trained in which pack, and how. A value to be printed, compared and stored.

Made once, when a sweep is first launched; launching again reads it back from the sweep's folder. It is self-contained:
a worker needs the folder and the id of its pack, nothing else.
"""

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from orchestrator.columns import column_names
from orchestrator.costs import CostModel, stand_in
from orchestrator.expand import expand
from orchestrator.packing import (
    COMPILE_S,
    Pack,
    PackingOptions,
    cut,
    halved,
    makespan,
    pack_id,
    schedule_length,
)
from orchestrator.run_table import Coded, RunTable
from orchestrator.slots import Demand, Slots
from orchestrator.spec import LoadedSpec
from orchestrator.spec_model import SweepSpec
from orchestrator.version import describe
from results.versions import require_fields, require_names
from trainers.config import DEFAULTS, RunConfig, shape_key
from trainers.cost import further_bytes
from trainers.schedule import evaluation_steps
from trainers.trace import PackSettings

SCHEMA_VERSION = 1
BYTES_PER_ROW = 40
"""Of a published trace, all columns, compressed."""


@dataclass(frozen=True, kw_only=True)
class PlannedPack:
    """A pack as it stands in plan.json."""

    pack_id: str
    settings: PackSettings
    estimated_s: float
    n_segments: int
    memory_mb: int
    """Estimated peak of its worker."""
    publish_runs: int
    """Runs that have ended are published in files of at least so many, and what is left when the pack is done."""
    fixed: Mapping[str, Any]
    """Fields of RunConfig that its runs agree on."""
    runs: Mapping[str, list[Any]]
    """`run_id` and the fields that its runs differ in, one entry a run."""

    @property
    def run_ids(self) -> list[str]:
        return self.runs["run_id"]

    @property
    def n_runs(self) -> int:
        return len(self.run_ids)

    @property
    def n_files(self) -> int:
        """Of whole traces, if no run ends early: a file at the end of a round that fills one."""
        rounds = -(-self.publish_runs // self.settings.lanes)
        return -(-self.n_runs // (rounds * self.settings.lanes))

    def values(self, name: str) -> list[Any]:
        """A field of RunConfig for each run; one that the plan's version did not know stands at its default."""
        return self.runs[name] if name in self.runs else [self.fixed.get(name, DEFAULTS[name])] * self.n_runs

    def budgets(self) -> dict[str, int]:
        """Steps of each run."""
        return dict(zip(self.run_ids, self.values("steps"), strict=True))

    def table(self) -> RunTable:
        """Its runs by columns."""
        rows = np.arange(self.n_runs)
        return RunTable(self.n_runs, {n: Coded.of(self.values(n), rows) for n in RunConfig.model_fields}, ())

    def config(self, row: int) -> RunConfig:
        """Of one run."""
        return RunConfig(**self.fixed, **{name: column[row] for name, column in self.runs.items() if name != "run_id"})

    def configs(self) -> list[RunConfig]:
        """The runs' configs, in the order in which they take lanes."""
        names = [name for name in self.runs if name != "run_id"]
        rows = zip(*(self.runs[name] for name in names), strict=True) if names else [()] * self.n_runs
        return [RunConfig(**self.fixed, **dict(zip(names, row, strict=True))) for row in rows]

    def with_half_the_lanes(self) -> "PlannedPack":
        """The same runs for a device with less memory: another pack, because the number of lanes changes bits."""
        settings = halved(self.settings)
        segments = -(-np.asarray(self.values("steps")) // settings.segment_steps)
        return replace(
            self,
            pack_id=pack_id(self.run_ids, settings, self.values("loss_dtype")[0]),
            settings=settings,
            n_segments=schedule_length(segments, settings.lanes),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json and in amendments."""
        return {**self.__dict__, "settings": asdict(self.settings)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "PlannedPack":
        """Raises VersionError for a record of another version."""
        require_fields(cls, record, "the plan")
        settings = record["settings"]
        require_fields(PackSettings, settings, "the plan")
        return cls(**{**record, "settings": PackSettings(**{**settings, "tail": tuple(settings.get("tail", ()))})})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides what a sweep trains, frozen."""

    name: str
    grokctl_version: str
    """Release and commit."""
    spec: Mapping[str, Any]
    """The resolved spec."""
    spec_sha256: str
    columns: tuple[str, ...]
    """The config columns of all tables of the sweep."""
    classifier: Mapping[str, Any]
    diagram: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Any]]
    """Each axis's values, and its scale: linear, log or category."""
    slots: Mapping[str, Any]
    """What the machine or cluster lent when the plan was made."""
    calibrated: bool
    """Whether the estimates rest on a measurement of this machine."""
    packs: tuple[PlannedPack, ...]
    """Longest first."""
    schema_version: int = field(default=SCHEMA_VERSION)

    @functools.cached_property
    def by_id(self) -> dict[str, PlannedPack]:
        return {pack.pack_id: pack for pack in self.packs}

    @property
    def n_runs(self) -> int:
        return sum(pack.n_runs for pack in self.packs)

    def demand(self, pack: PlannedPack) -> Demand:
        """Cores and GPUs that a pack asks for. Its threads are its own; a share of a GPU changes no bits, so that is
        what the plan says now, for packs of the device that the plan is for."""
        is_for_now = pack.settings.device == self.slots["device"]
        gpus = self.slots["gpus_per_pack"] if is_for_now else float(pack.settings.device == "cuda")
        return Demand(cpus=pack.settings.threads, gpus=gpus)

    def to_json(self) -> dict[str, Any]:
        """The content of plan.json; the store adds its `plan_id`."""
        shallow = {name: value for name, value in self.__dict__.items() if name not in ("packs", "by_id")}
        return {**shallow, "columns": list(self.columns), "packs": [pack.to_json() for pack in self.packs]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Plan":
        """Raises VersionError for a record of another version."""
        require_names(cls.__dataclass_fields__, record, "the plan")
        known = {name: record[name] for name in cls.__dataclass_fields__}
        packs = tuple(PlannedPack.from_json(pack) for pack in record["packs"])
        return cls(**{**known, "columns": tuple(record["columns"]), "packs": packs})


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


def make_plan(loaded: LoadedSpec, slots: Slots, cost: CostModel, *, segment_s: float = 15.0) -> Plan:
    """Expand a spec and cut its runs into packs for these slots."""
    spec = loaded.spec
    table = expand(spec)
    resolved = resolved_spec(spec)
    return Plan(
        name=spec.name,
        grokctl_version=describe(),
        spec=resolved,
        spec_sha256=spec_digest(resolved),
        columns=column_names(table.columns),
        classifier=resolved["classifier"],
        diagram=resolved["diagram"] or {},
        axes=axes_of(table),
        slots=asdict(slots),
        calibrated=cost.calibrated,
        packs=plan_packs(spec, table, slots, cost, segment_s=segment_s),
    )


def plan_packs(
    spec: SweepSpec, table: RunTable, slots: Slots, cost: CostModel, *, segment_s: float = 15.0
) -> tuple[PlannedPack, ...]:
    """Packs of these runs of a spec, longest first."""
    options = PackingOptions(
        lanes=spec.resources.lanes,
        engine=spec.resources.engine,
        keep_weights=spec.keep.weights == "final",
        segment_s=segment_s,
    )
    run_ids = table.run_ids()
    return tuple(_planned(pack, table, run_ids) for pack in cut(table, slots, cost, options))


def axes_of(table: RunTable) -> dict[str, dict[str, Any]]:
    """Each axis's values and scale, as plans hold them."""
    return {name: {"values": list(values), "scale": table.scales[name]} for name, values in table.axes.items()}


def resolved_spec(spec: SweepSpec) -> dict[str, Any]:
    """The spec with every default filled in, as plain values that JSON holds exactly."""
    resolved: dict[str, Any] = json.loads(json.dumps(spec.model_dump(mode="json"), allow_nan=False))
    return resolved


def normalized_spec(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Equal for specs that mean the same runs: the order of seeds and of an axis's values in the grid is no matter, nor
    is the place of the user's code, and a key that an earlier version did not know stands at its default."""
    filled = _filled(resolved_spec(SweepSpec(name=resolved["name"])), resolved)
    grid = {name: sorted(values, key=json.dumps) for name, values in filled["grid"].items()}
    if filled["code"]:  # what it is counts, not where it lies
        filled["code"] = {"sha256": filled["code"]["sha256"]}
    return {**filled, "grid": grid, "seeds": sorted(filled["seeds"])}


def _filled(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    blocks = {name: value for name, value in defaults.items() if isinstance(value, dict)}
    return {
        **defaults,
        **{
            n: _filled(blocks[n], value) if n in blocks and isinstance(value, dict) else value
            for n, value in given.items()
        },
    }


def spec_digest(resolved: Mapping[str, Any]) -> str:
    """sha256 of the resolved spec; comments and order don't enter it."""
    return hashlib.sha256(json.dumps(normalized_spec(resolved), sort_keys=True).encode()).hexdigest()


def _planned(pack: Pack, table: RunTable, run_ids: np.ndarray) -> PlannedPack:
    columns = {name: column[pack.indices].tolist() for name, column in table.columns.items()}
    varying = {name: values for name, values in columns.items() if any(value != values[0] for value in values)}
    first = table.config(int(pack.indices[0])).model_dump()
    return PlannedPack(
        pack_id=pack.pack_id,
        settings=pack.settings,
        estimated_s=round(pack.estimated_s, 3),
        n_segments=pack.n_segments,
        memory_mb=round(pack.memory_bytes / 1e6),
        publish_runs=pack.publish_runs,
        fixed={name: value for name, value in first.items() if name not in varying},
        runs={"run_id": run_ids[pack.indices].tolist(), **varying},
    )


def summarize(plan: Plan) -> PlanSummary:
    """Totals of a plan; time by its own estimates on its own slots."""
    rows = sum(_rows(pack) for pack in plan.packs)
    return PlanSummary(
        runs=plan.n_runs,
        packs=len(plan.packs),
        slots=plan.slots["slots"],
        device=plan.slots["device"],
        estimated_s=makespan((pack.estimated_s for pack in plan.packs), plan.slots["slots"]),
        calibrated=plan.calibrated,
        run_steps=sum(sum(pack.values("steps")) for pack in plan.packs),
        rows=rows,
        files=sum(pack.n_files for pack in plan.packs),
        segments=sum(pack.n_segments for pack in plan.packs),
        bytes=rows * BYTES_PER_ROW + round(sum(_further_bytes(pack) for pack in plan.packs)),
        memory_mb=sum(sorted((pack.memory_mb for pack in plan.packs), reverse=True)[: plan.slots["slots"]]),
        shapes_to_compile=len({_program(pack) for pack in plan.packs if pack.settings.engine == "compiled"}),
    )


def _program(pack: PlannedPack) -> tuple[Any, ...]:
    """Equal for packs whose compiled step is the same."""
    config = pack.config(0)
    return shape_key(config), pack.settings.lanes, max(pack.values("train_size")) if config.is_full_batch else 0


def compiling_text(shapes: int) -> str:
    """What compiling will cost, and when."""
    return f"compiling {_count(shapes, 'shape')}, about {COMPILE_S:.0f} s each the first time on this machine"


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


def spec_changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Field by field, `path: old -> new`."""
    changes = []
    for name in dict.fromkeys([*old, *new]):
        before, after, path = old.get(name), new.get(name), f"{prefix}{name}"
        if isinstance(before, dict) and isinstance(after, dict):
            changes += spec_changes(before, after, f"{path}.")
        elif before != after:
            changes.append(f"{path}: {_short(before)} -> {_short(after)}")
    return changes


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


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


def plan_text(plan: Plan) -> str:
    """What `grokctl plan` prints."""
    total = summarize(plan)
    lines = [
        f"sweep     {plan.name}",
        f"runs      {total.runs:,} ({total.run_steps:,} run-steps)",
        f"packs     {total.packs:,} (a Tune trial each) on {_count(total.slots, 'slot')} ({total.device})",
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
