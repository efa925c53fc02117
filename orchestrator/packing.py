"""How runs are cut into packs. Pure: a table of runs and a cost model go in, packs come out.

Which runs may share one is decided in `bands`. How many packs each band is cut into is decided by trying several grain
sizes and keeping the one under which all slots finish first, by the cost model and longest-first assignment. Everything
works on columns: a million runs take seconds.
"""

import hashlib
import heapq
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from orchestrator.bands import MAX_LANES, START_S, Band, best_lanes, find_bands, most_wanted, shape_groups
from orchestrator.costs import CostModel
from orchestrator.errors import EXIT_ENVIRONMENT, UserError
from orchestrator.run_table import RunTable
from orchestrator.slots import Slots
from trainers.config import RunConfig
from trainers.trace import Engine, PackSettings

ENGINE_VERSION = 2
"""Raised when trainers changes the bits of a trace under equal settings; it enters every pack_id."""

MAX_FILES = 2000
"""Trace files that a sweep publishes: 10,000 take 20 s to read three columns from, 1,000 take 1.3 s."""
MAX_PACKS = 1000
"""Tune trials of a launch, where shapes allow it: its driver grows with each, and 8,000 pending ones can hang it."""
MAX_SEGMENTS = 1000
"""Segments of one pack, each a file until `clean`, and a line in every header."""
SEGMENT_S = 60.0
"""The longest segment that is wanted: a drain waits for its end, and a kill costs it."""
GOOD_SEGMENTS = 200
"""A pack has no more where these are shorter than SEGMENT_S."""
CHECKPOINTS_PER_SEGMENT = 40
"""A segment lasts this many times what its checkpoint costs."""
CHECKPOINT_BYTES_PER_S = 200e6
"""Written, synced, read back and hashed twice."""
MAX_PACK_S = 3 * 3600.0
"""A pack is shorter than this where it can be cut without emptying lanes: its segments then stay short, too."""
COMPILE_S = 25.0
"""What torch.compile costs for each shape and process without a warm cache (measured: 10 s for the toy, 14 to
31 s for a transformer, 36 s with all imports on an idle core; 1 to 4 s from the cache)."""
TRACE_S = 1.0
"""What an eager program for another number of lanes costs."""
TAIL_MUST_SAVE = 4
"""A pack may shrink if its idle lanes cost this many times a program."""
ENGINES_TO_CHOOSE: tuple[Engine, ...] = ("eager", "compiled")
COMPILE_MUST_SAVE = 4
"""Compiling is chosen if it saves this many times its cost: the estimate may be off by a factor."""
GRAINS = (float("inf"), 2.0, 1.0, 0.75, 0.6, 0.5, 0.4, 1 / 3, 0.25, 0.2, 1 / 6, 0.125, 1 / 12, 1 / 16)
"""Pack durations that are tried, as shares of the ideal duration of the sweep."""
REFINED, REFINEMENTS = 3, 150
"""Best cuts that are refined further, and steps of doing so."""
SLACK = 1.01
"""Fewer packs are worth this much longer a sweep."""


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
    memory_bytes: float
    """Estimated peak of its worker."""
    publish_runs: int
    """Runs that have ended wait until there are so many, or the pack is done, to be published in one file."""


def cut(table: RunTable, slots: Slots, cost: CostModel, options: PackingOptions) -> list[Pack]:
    """Cut all runs of a table into packs, longest first."""
    bands = [_choose_engine(band, slots, cost, options) for band in find_bands(table, cost)]
    cutter = _Cutter(cost=cost, options=options, slots=slots)
    shares = _best_cut(bands, cutter)
    publish_runs = runs_per_file(table.n_runs, len(shares))
    run_ids = table.run_ids()
    packs = [cutter.pack(share, run_ids, publish_runs) for share in shares]
    return sorted(packs, key=lambda pack: (-pack.estimated_s, pack.pack_id))


def _choose_engine(band: Band, slots: Slots, cost: CostModel, options: PackingOptions) -> Band:
    """Compile only where a compiler is and where it repays itself several times over."""
    if options.engine == "compiled" and not slots.has_compiler:
        raise UserError(
            "`engine: compiled` needs a C++ compiler, and there is none here",
            exit_code=EXIT_ENVIRONMENT,
            hint="Install g++ or clang++, or leave out `engine`: packs then run uncompiled.",
        )
    if options.engine is not None:
        return replace(band, engine=options.engine)
    if not slots.has_compiler:
        return band
    most = min(len(band.indices), options.lanes or MAX_LANES)
    lanes = {engine: min(most, cost.preferred_lanes(band.config, engine)) for engine in ENGINES_TO_CHOOSE}
    seconds = {
        engine: float(band.steps.sum()) * cost.seconds_per_run_step(band.config, lanes[engine], engine)
        for engine in ENGINES_TO_CHOOSE
    }
    processes = min(slots.slots, -(-len(band.indices) // lanes["compiled"]))
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

    def count(self, band: Band, target_s: float) -> int:
        """How many packs of a band last about target_s seconds, or somewhat less."""
        n_runs = len(band.indices)
        whole = self._share(band, 0, n_runs, self._lanes(band, n_runs))
        least = max(-(-whole.rounds // MAX_SEGMENTS), min(whole.rounds, round(whole.seconds / MAX_PACK_S)), 1)
        return max(least, min(n_runs, math.ceil(whole.seconds / target_s)))

    def shares(self, band: Band, count: int) -> list[_Share]:
        """Cut a band into so many packs of about equal numbers of runs."""
        spans = list(itertools.pairwise(int(edge) for edge in np.linspace(0, len(band.indices), count + 1)))
        # With one lane count for all packs of a band a compiled step is compiled once; with a pack's own no lane is
        # idle where runs don't go up evenly.
        most = self._lanes(band, max(stop - start for start, stop in spans))
        alike = [self._share(band, start, stop, most) for start, stop in spans]
        own = [self._share(band, start, stop, self._lanes(band, stop - start)) for start, stop in spans]
        further = COMPILE_S * self.slots.slots if band.engine == "compiled" else 0.0
        return min(alike, own, key=lambda shares: _total(shares) + (further if shares is own else 0.0))

    def _lanes(self, band: Band, n_runs: int) -> int:
        most = min(n_runs, self._lanes_in_memory(band.config))
        return min(self.options.lanes, most) if self.options.lanes else best_lanes(band, n_runs, self.cost, most)

    def _lanes_in_memory(self, config: RunConfig) -> int:
        """Raises UserError if not even one fits."""
        memory = self.slots.pack_memory_bytes
        if memory is None:
            return MAX_LANES
        worker, one = (self.cost.memory_bytes(config, lanes) for lanes in (0, 1))
        fitting = int((memory - worker) / (one - worker))
        if fitting < 1:
            raise UserError(
                f"a run of width {config.width} on {config.train_size:,} examples needs about {one / 1e9:.1f} GB of "
                f"memory; each of {self.slots.slots} packs side by side has {memory / 1e9:.1f} GB",
                exit_code=EXIT_ENVIRONMENT,
                hint="Set `batch_size`, or more `cpus_per_pack` (fewer packs at once) in `resources`, or free memory.",
            )
        return fitting

    def _share(self, band: Band, start: int, stop: int, lanes: int) -> _Share:
        steps = schedule_length(band.steps[start:stop], lanes)
        per_step = lanes * self.cost.seconds_per_run_step(band.config, lanes, band.engine)
        start_s = START_S + (COMPILE_S if band.engine == "compiled" else 0.0)
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
            tail=self._tail(share, steps),
        )
        return Pack(
            pack_id=pack_id(run_ids[indices].tolist(), settings, share.band.config.loss_dtype),
            indices=indices,
            settings=settings,
            estimated_s=share.seconds,
            n_segments=schedule_length(-(-steps // segment_steps), share.lanes),
            memory_bytes=self.cost.memory_bytes(share.band.config, share.lanes),
            publish_runs=publish_runs,
        )

    def _tail(self, share: _Share, steps: np.ndarray) -> tuple[int, ...]:
        """Smaller numbers of lanes for the end of the queue, where idle lanes cost more than further programs do."""
        lane_steps = share.lanes * share.steps_of_all_lanes
        idle_steps = lane_steps - int(steps.sum())
        if share.band.config.stop_val_accuracy is not None:
            # Nobody knows when; with luck all but one of the last round stop at once.
            idle_steps = max(idle_steps, (share.lanes - 1) * int(steps.max()) // 2)
        idle_s = share.seconds * idle_steps / lane_steps
        program_s = COMPILE_S if share.band.engine == "compiled" else TRACE_S
        return halvings(share.lanes)[: int(idle_s / (TAIL_MUST_SAVE * program_s))]

    def _segment_steps(self, share: _Share, budget: int) -> int:
        """The longest budget of the pack, cut into equal segments."""
        round_s = share.seconds * budget / share.steps_of_all_lanes
        checkpoint_s = self.cost.checkpoint_bytes(share.band.config, share.lanes) / CHECKPOINT_BYTES_PER_S
        wanted_s = max(self.options.segment_s, min(SEGMENT_S, share.seconds / GOOD_SEGMENTS))
        segment_s = max(wanted_s, CHECKPOINTS_PER_SEGMENT * checkpoint_s)
        segments = min(max(1, round(round_s / segment_s)), max(1, MAX_SEGMENTS // share.rounds), budget)
        return -(-budget // segments)


def _total(shares: Iterable[_Share]) -> float:
    return math.fsum(share.seconds for share in shares)


def _best_cut(bands: Sequence[Band], cutter: _Cutter) -> list[_Share]:
    """The cut under which the last slot finishes first; the coarsest of those that come close to it."""
    slots = cutter.slots.slots
    cuts = _Cuts(bands, cutter)
    ideal_s = sum(cutter.shares(band, 1)[0].seconds for band in bands) / slots
    candidates = [cuts.of([cutter.count(band, grain * ideal_s) for band in bands]) for grain in GRAINS]
    allowed = [cut for cut in candidates if cut.n_packs <= MAX_PACKS] or candidates[:1]
    if min(cut.span_s for cut in allowed) > SLACK * min(cut.work_s for cut in allowed) / slots:
        best = sorted(allowed, key=lambda cut: cut.span_s)[:REFINED]
        allowed += [cuts.refined(cut) for cut in best if cut.n_packs < MAX_PACKS]
    allowed.sort(key=lambda cut: cut.n_packs)
    shortest = min(cut.span_s for cut in allowed)
    return next(cut.shares for cut in allowed if cut.span_s <= max(SLACK * shortest, shortest + START_S))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cut:
    """A whole sweep as packs."""

    counts: list[int]
    """Packs of each band."""
    shares: list[_Share]
    span_s: float

    @property
    def n_packs(self) -> int:
        return len(self.shares)

    @property
    def work_s(self) -> float:
        return _total(self.shares)


class _Cuts:
    """Cuts of the same bands; each band is cut into so many packs once."""

    def __init__(self, bands: Sequence[Band], cutter: _Cutter) -> None:
        self._bands, self._cutter = bands, cutter
        self._known: dict[tuple[int, int], list[_Share]] = {}

    def of(self, counts: list[int]) -> _Cut:
        shares = [share for index, count in enumerate(counts) for share in self._shares(index, count)]
        return _Cut(
            counts=counts, shares=shares, span_s=makespan((s.seconds for s in shares), self._cutter.slots.slots)
        )

    def refined(self, cut: _Cut) -> _Cut:
        """One band after the other into one pack more, the one whose packs are longest, as long as it helps."""
        given_up: set[int] = set()
        for _ in range(REFINEMENTS):
            longest = [
                0.0 if i in given_up or count >= len(self._bands[i].indices) else self._shares(i, count)[0].seconds
                for i, count in enumerate(cut.counts)
            ]
            index = int(np.argmax(longest))
            if not longest[index] or cut.n_packs >= MAX_PACKS:
                break
            finer = self.of([count + (i == index) for i, count in enumerate(cut.counts)])
            if finer.span_s < cut.span_s:
                cut, given_up = finer, set()
            else:
                given_up.add(index)
        return cut

    def _shares(self, index: int, count: int) -> list[_Share]:
        if (index, count) not in self._known:
            self._known[index, count] = self._cutter.shares(self._bands[index], count)
        return self._known[index, count]


def lower_bound(table: RunTable, slots: Slots, cost: CostModel) -> float:
    """Seconds below which no cut of these runs can get: all their work, at the best rate of a run-step and unpadded,
    evenly over the slots, each shape compiled once if that is cheaper; nor less than the longest run takes that trains
    alone."""
    engines: tuple[Engine, ...] = ENGINES_TO_CHOOSE if slots.has_compiler else ("eager",)
    steps, sizes = (np.broadcast_to(table.coded[name].array(), (table.n_runs,)) for name in ("steps", "train_size"))
    work = longest = 0.0
    for group in shape_groups(table):
        spent: dict[Engine, float] = {engine: COMPILE_S if engine == "compiled" else 0.0 for engine in engines}
        for size in np.unique(sizes[group]):
            rows = group[sizes[group] == size]
            config = table.config(int(rows[0]))
            for engine in engines:
                lanes = most_wanted(cost.preferred_lanes(config, engine))
                spent[engine] += float(steps[rows].sum()) * cost.seconds_per_run_step(config, lanes, engine)
            alone = min(cost.seconds_per_run_step(config, 1, engine) for engine in engines)
            longest = max(longest, float(steps[rows].max()) * alone)
        work += min(spent.values())
    return max(work / slots.slots, longest)


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
    lanes = -(-settings.lanes // 2)
    return replace(settings, lanes=lanes, tail=tuple(size for size in settings.tail if size < lanes))


def halvings(lanes: int) -> tuple[int, ...]:
    """Half of the lanes, a quarter and so on, down to one."""
    found: tuple[int, ...] = ()
    while lanes > 1:
        lanes = -(-lanes // 2)
        found = (*found, lanes)
    return found


def pack_id(run_ids: Sequence[str], settings: PackSettings, dtype: str) -> str:
    """16 hex digits over everything that decides the bits of a pack's traces."""
    content = {"runs": list(run_ids), "settings": asdict(settings), "dtype": dtype, "engine_version": ENGINE_VERSION}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
