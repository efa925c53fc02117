"""How runs are cut into packs. Pure: a table of runs and a cost model go in, packs come out.

Runs share a pack if their tensors have the same shapes (`trainers.config.shape_key`) and, training on the full set, if
their train sizes are so close that padding all of them to the largest wastes at most a quarter. How many packs each
such band is cut into is decided by trying several grain sizes and keeping the one under which all slots finish first,
by the cost model and longest-first assignment. Everything works on columns: a million runs take seconds.
"""

import hashlib
import heapq
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from orchestrator.run_table import RunTable
from trainers.config import SHAPE_FIELDS, RunConfig
from trainers.trace import Engine, PackSettings

Device = Literal["cpu", "cuda"]

ENGINE_VERSION = 2
"""Raised when trainers changes the bits of a trace under equal settings; it enters every pack_id."""

PADDING_LIMIT = 1.25
"""Padded over real training examples of a pack, at most."""
MAX_FILES = 2000
"""Trace files that a sweep publishes: 10,000 take 20 s to read three columns from, 1,000 take 1.3 s."""
MAX_PACKS = 1000
"""Tune trials of a launch, where shapes allow it: its driver grows with each, and 8,000 pending ones can hang it."""
MAX_SEGMENTS = 200
"""Segments of one pack."""
MAX_PACK_S = 3 * 3600.0
"""A pack is shorter than this where it can be cut without emptying lanes: its segments then stay short, too."""
PACK_START_S = 2.0
"""Start of a pack in a warm process: tasks, tensors, first step."""
COMPILE_S = 40.0
"""What torch.compile costs for each shape and process without a warm cache (measured: 20 to 35 s on an idle core)."""
COMPILE_MUST_SAVE = 4
"""Compiling is chosen if it saves this many times its cost: the estimate may be off by a factor."""
GRAINS = (float("inf"), 2.0, 1.0, 0.5, 1 / 3, 0.25, 1 / 6, 0.125, 1 / 16)
"""Pack durations that are tried, as shares of the ideal duration of the sweep."""
SLACK = 1.03
"""Fewer packs are worth this much longer a sweep."""


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many packs run side by side, and what each of them gets."""

    device: Device
    slots: int
    cpus_per_pack: int
    gpus_per_pack: float
    has_compiler: bool


class CostModel(Protocol):
    """What training costs on the device that is planned for."""

    @property
    def calibrated(self) -> bool:
        """Whether it rests on a measurement of this machine."""

    def preferred_lanes(self, config: RunConfig) -> int:
        """Lanes beyond which a run-step gets no cheaper, within memory."""

    def seconds_per_run_step(self, config: RunConfig, lanes: int, engine: Engine) -> float:
        """Seconds of one training step of one run among so many lanes, evaluation included."""


@dataclass(frozen=True, kw_only=True)
class PackingOptions:
    """What the spec asks of packs."""

    lanes: int | None = None
    """Lanes of each pack; None: chosen by cost."""
    engine: Engine | None = None
    keep_weights: bool = False
    segment_s: float = 15.0
    """A segment lasts about this long by estimate. (Work lost by a kill, against the cost of commits.)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """Runs that are trained together, in the order in which they take lanes."""

    pack_id: str
    indices: np.ndarray
    """Rows of the RunTable."""
    settings: PackSettings
    estimated_s: float
    n_segments: int
    """By the budgets of the runs; runs that end early make it fewer."""
    publish_runs: int
    """Runs that have ended wait until there are so many, or the pack is done, to be published in one file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Runs that could all share one pack, largest train size first, then longest budget."""

    indices: np.ndarray
    steps: np.ndarray
    config: RunConfig
    """The dearest run, which the others are padded to."""
    engine: Engine = "eager"


def cut(table: RunTable, slots: Slots, cost: CostModel, options: PackingOptions) -> list[Pack]:
    """Cut all runs of a table into packs, longest first."""
    bands = [_choose_engine(band, slots, cost, options) for band in find_bands(table)]
    cutter = _Cutter(cost=cost, options=options, slots=slots)
    shares = _best_cut(bands, cutter)
    publish_runs = runs_per_file(table.n_runs, len(shares))
    run_ids = table.run_ids()
    packs = [cutter.pack(share, run_ids, publish_runs) for share in shares]
    return sorted(packs, key=lambda pack: (-pack.estimated_s, pack.pack_id))


def find_bands(table: RunTable) -> list[Band]:
    """Group runs by shape key, then by similar train size."""
    steps = _column(table, "steps", np.int64)
    sizes = _column(table, "train_size", np.int64)
    bands = []
    for group in shape_groups(table):
        # lexsort is stable, so runs keep the order of the spec within equal sizes and budgets.
        ordered = group[np.lexsort((-steps[group], -sizes[group]))]
        config = table.config(int(ordered[0]))
        limit = PADDING_LIMIT if config.is_full_batch else float("inf")
        for start, stop in padding_bands(sizes[ordered], limit):
            rows = ordered[start:stop]
            dearest = table.config(int(rows[0]))
            bands.append(Band(indices=rows, steps=steps[rows], config=dearest))
    return bands


def shape_groups(table: RunTable) -> list[np.ndarray]:
    """Row numbers of runs with equal `shape_key`, groups in the order of their first run."""
    combinations, codes = table.combinations(SHAPE_FIELDS)
    for column in _further_shape_columns(table):
        values, inverse = np.unique(column, return_inverse=True)
        # Renumbering after each column keeps the codes below n_runs, so they cannot overflow.
        codes = np.unique(codes * len(values) + inverse, return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    assert len(groups) >= len(combinations)
    return sorted(groups, key=lambda group: int(group[0]))


def _further_shape_columns(table: RunTable) -> Iterable[np.ndarray]:
    """What shape_key has beside SHAPE_FIELDS, by columns; a test holds the two together."""
    sizes = _column(table, "train_size", np.int64)
    batches = np.asarray([0 if value is None else value for value in _values(table, "batch_size")], dtype=np.int64)
    yield np.where((batches == 0) | (batches >= sizes), 0, batches)
    yield _column(table, "dropout", np.float64) > 0


def padding_bands(sizes: np.ndarray, limit: float) -> list[tuple[int, int]]:
    """Cut descending sizes into slices [start, stop) in which largest x count <= limit x sum."""
    bands: list[tuple[int, int]] = []
    start = 0
    while start < len(sizes):
        rest = sizes[start:]
        waste = rest[0] * np.arange(1, len(rest) + 1) / np.cumsum(rest)
        # The waste only grows along descending sizes, so the first that exceeds the limit is the cut.
        too_much = np.flatnonzero(waste > limit)
        stop = start + int(too_much[0]) if len(too_much) else len(sizes)
        bands.append((start, stop))
        start = stop
    return bands


def _values(table: RunTable, name: str) -> list[Any]:
    """The column as a list, of length 1 if all runs agree."""
    if name in table.columns:
        values: list[Any] = table.columns[name].tolist()
        return values
    return [table.fixed[name]]


def _column(table: RunTable, name: str, dtype: type) -> np.ndarray:
    return np.broadcast_to(np.asarray(_values(table, name), dtype=dtype), (table.n_runs,))


def _choose_engine(band: Band, slots: Slots, cost: CostModel, options: PackingOptions) -> Band:
    """Compile only where a compiler is and where it repays itself several times over."""
    if options.engine is not None:
        return replace(band, engine=options.engine)
    if not slots.has_compiler:
        return band
    lanes = min(len(band.indices), options.lanes or cost.preferred_lanes(band.config))
    seconds = {
        engine: float(band.steps.sum()) * cost.seconds_per_run_step(band.config, lanes, engine)
        for engine in ("eager", "compiled")
    }
    processes = min(slots.slots, -(-len(band.indices) // lanes))
    saved = seconds["eager"] - seconds["compiled"]
    return replace(band, engine="compiled" if saved > COMPILE_MUST_SAVE * COMPILE_S * processes else "eager")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Share:
    """A part of a band that will be one pack."""

    band: Band
    start: int
    stop: int
    lanes: int
    steps_of_all_lanes: int
    """Steps until the last lane is free, if every run spends its budget."""
    seconds: float

    @property
    def rounds(self) -> int:
        return -(-(self.stop - self.start) // self.lanes)


@dataclass(frozen=True, kw_only=True)
class _Cutter:
    cost: CostModel
    options: PackingOptions
    slots: Slots

    def shares(self, band: Band, target_s: float) -> list[_Share]:
        """Cut a band into equal packs of about target_s seconds."""
        n_runs = len(band.indices)
        whole = self._share(band, 0, n_runs, self._lanes(band, n_runs))
        least = max(-(-whole.rounds // MAX_SEGMENTS), min(whole.rounds, round(whole.seconds / MAX_PACK_S)), 1)
        count = max(least, min(n_runs, round(whole.seconds / target_s)))
        edges = np.linspace(0, n_runs, count + 1).astype(int)
        # One lane count for all packs of a band: a compiled step is then compiled once.
        lanes = self._lanes(band, int(np.diff(edges).max()))
        return [self._share(band, int(a), int(b), lanes) for a, b in itertools.pairwise(edges)]

    def _lanes(self, band: Band, n_runs: int) -> int:
        if self.options.lanes is not None:
            return min(self.options.lanes, n_runs)
        wanted = self.cost.preferred_lanes(band.config)
        rounds = -(-n_runs // wanted)
        return -(-n_runs // rounds)

    def _share(self, band: Band, start: int, stop: int, lanes: int) -> _Share:
        steps = schedule_length(band.steps[start:stop], lanes)
        per_step = lanes * self.cost.seconds_per_run_step(band.config, lanes, band.engine)
        start_s = PACK_START_S + (COMPILE_S if band.engine == "compiled" else 0.0)
        return _Share(
            band=band, start=start, stop=stop, lanes=lanes, steps_of_all_lanes=steps, seconds=start_s + steps * per_step
        )

    def pack(self, share: _Share, run_ids: np.ndarray, publish_runs: int) -> Pack:
        indices = share.band.indices[share.start : share.stop]
        steps = share.band.steps[share.start : share.stop]
        segment_steps = self._segment_steps(share, int(steps.max()))
        settings = PackSettings(
            lanes=share.lanes,
            engine=share.band.engine,
            threads=self.slots.cpus_per_pack,
            segment_steps=segment_steps,
            device=self.slots.device,
            keep_weights=self.options.keep_weights,
        )
        return Pack(
            pack_id=pack_id(run_ids[indices].tolist(), settings, share.band.config.loss_dtype),
            indices=indices,
            settings=settings,
            estimated_s=share.seconds,
            n_segments=schedule_length(-(-steps // segment_steps), share.lanes),
            publish_runs=publish_runs,
        )

    def _segment_steps(self, share: _Share, budget: int) -> int:
        """The longest budget of the pack, cut into equal segments."""
        round_s = share.seconds * budget / share.steps_of_all_lanes
        most = max(1, MAX_SEGMENTS // share.rounds)
        segments = min(max(1, round(round_s / self.options.segment_s)), most, budget)
        return -(-budget // segments)


def _best_cut(bands: Sequence[Band], cutter: _Cutter) -> list[_Share]:
    """The grain under which the last slot finishes first; the coarsest of those that come close to it."""
    slots = cutter.slots.slots
    ideal_s = sum(cutter.shares(band, float("inf"))[0].seconds for band in bands) / slots
    candidates = [[s for band in bands for s in cutter.shares(band, grain * ideal_s)] for grain in GRAINS]
    allowed = [c for c in candidates if len(c) <= MAX_PACKS] or candidates[:1]
    spans = [makespan((share.seconds for share in c), slots) for c in allowed]
    return next(c for c, span in zip(allowed, spans, strict=True) if span <= SLACK * min(spans))


def runs_per_file(n_runs: int, n_packs: int) -> int:
    """Of the whole files; each pack may add one that isn't."""
    return max(1, -(-n_runs // max(MAX_FILES - n_packs, 1)))


def makespan(seconds: Iterable[float], slots: int) -> float:
    """Time until all packs are done, each next longest one going to the slot that is free first."""
    free = [0.0] * slots
    for duration in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def schedule_length(steps: np.ndarray, lanes: int) -> int:
    """Steps until the last lane is free, runs taking over free lanes in their order."""
    if len(steps) <= lanes:
        return int(steps.max())
    if steps.min() == steps.max():
        return -(-len(steps) // lanes) * int(steps[0])
    free = [0] * lanes
    for budget in steps.tolist():
        heapq.heapreplace(free, free[0] + budget)
    return max(free)


def halved(settings: PackSettings) -> PackSettings:
    """With half the lanes, for a pack that ran out of memory."""
    return replace(settings, lanes=-(-settings.lanes // 2))


def pack_id(run_ids: Sequence[str], settings: PackSettings, dtype: str) -> str:
    """16 hex digits over everything that decides the bits of a pack's traces."""
    content = {"runs": list(run_ids), "settings": asdict(settings), "dtype": dtype, "engine_version": ENGINE_VERSION}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
