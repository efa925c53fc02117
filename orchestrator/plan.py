"""The plan of a sweep: which runs are trained in which pack, and how. A value to be printed, compared and stored.

Made once, when a sweep is first launched; launching again reads it back from the sweep's folder. It is self-contained:
a worker needs the folder and the id of its pack, nothing else.
"""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from orchestrator.columns import column_names
from orchestrator.costs import CostModel
from orchestrator.expand import expand
from orchestrator.packing import (
    Pack,
    PackingOptions,
    cut,
    halved,
    pack_id,
    schedule_length,
)
from orchestrator.resolved import resolved_spec, spec_digest
from orchestrator.run_table import Coded, RunTable
from orchestrator.slots import Demand, Slots
from orchestrator.spec import LoadedSpec
from orchestrator.spec_model import SweepSpec
from orchestrator.version import describe
from results.versions import require_fields, require_names
from trainers.config import DEFAULTS, RunConfig
from trainers.trace import PackSettings

SCHEMA_VERSION = 1


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
