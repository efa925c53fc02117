"""train_pack: the runs of one pack, trained side by side. The file to read first.

A pack trains in segments of a fixed number of steps. At the start of a segment waiting runs take the idle lanes; where
fewer runs are left than lanes, the pack shrinks to the next of its fixed sizes. Within a segment all lanes step
together, up to the next moment at which one of them is due for evaluation, or goes over to another training set; a run
that spent its budget, met its stop rule or diverged leaves its lane, which stays idle to the end of the segment. At the
end of each segment everything is handed out as a TraceBlock, with a checkpoint from which training goes on bit for bit.
No decision depends on a clock.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainers import checkpoint as checkpoints
from trainers import engine, lanes
from trainers.batches import Batches
from trainers.config import RunConfig, shape_key
from trainers.metrics import catalog
from trainers.models import layout
from trainers.observations import Observations, kept_names
from trainers.replay import Step
from trainers.tasks.shapes import has_accuracy
from trainers.timetable import Timetable, timetable
from trainers.trace import DENSE_METRICS, Outcome, PackSettings, Progress, RunEnd, TraceBlock
from trainers.train_sizes import phase_at, widths

OnProgress = Callable[[Progress], None]


def train_pack(
    configs: Sequence[RunConfig],
    settings: PackSettings,
    *,
    checkpoint: bytes | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[TraceBlock]:
    """Train runs that share a shape key, and yield what happened segment by segment.

    Args:
        checkpoint: of an earlier block of the same pack; training goes on behind it. None: from the start.
        on_progress: called between evaluations with the steps trained so far.
    """
    assert len({shape_key(config) for config in configs}) == 1, "the runs of a pack share one shape key"
    engine.prepare(settings)
    pack = _Pack(configs, settings, on_progress or (lambda progress: None))
    if checkpoint is not None:
        pack.restore(checkpoint)
    while pack.has_work:
        yield pack.train_segment()


@dataclass
class _Lane:
    """What the host knows of a lane."""

    run: int | None = None
    done: int = 0
    """Updates made."""
    above_since: int | None = None
    """Step since which the stop rule's condition has held."""
    wall_s: float = 0.0
    timetable: Timetable | None = None
    """Of its run."""


@dataclass
class _Segment:
    rows: list[tuple[int, int, list[float]]] = field(default_factory=list)
    ended: list[RunEnd] = field(default_factory=list)
    observed: Observations = field(default_factory=Observations)


class _Pack:
    """The lanes, their schedule and the waiting runs."""

    def __init__(self, configs: Sequence[RunConfig], settings: PackSettings, on_progress: OnProgress) -> None:
        self.configs, self.settings, self.on_progress = configs, settings, on_progress
        self.run_ids = [config.run_id for config in configs]
        self.tensors = lanes.empty(configs, settings.lanes, settings.device)
        self.widths = widths({config.train_sizes for config in configs})
        self.slots = [_Lane() for _ in range(settings.lanes)]
        self.next_run = self.segment = self.run_steps = self.lane_steps = self.runs_ended = 0
        self.step: Step | None = None
        self.width: int | None = None
        # Which runs have which of the further metrics.
        self.has_metric = {
            name: np.array([catalog.has_dense(name, config) for config in configs])
            for name in catalog.chosen(configs[0].metrics)
        }

    @property
    def busy(self) -> list[int]:
        return [index for index, slot in enumerate(self.slots) if slot.run is not None]

    @property
    def has_work(self) -> bool:
        return bool(self.busy) or self.next_run < len(self.configs)

    def train_segment(self) -> TraceBlock:
        found = _Segment()
        self._shrink()
        self._refill(found)
        batches = self._batches()
        remaining = self.settings.segment_steps
        while remaining and self.busy:
            count = min(remaining, min(self._next_stop(self.slots[lane]) for lane in self.busy))
            self._advance(count, batches)
            remaining -= count
            self._draw_sets()
            # Before a training set changes, so that a row is about the set that led to it.
            self._observe(self.busy, found)
            self._evaluate([lane for lane in self.busy if self._is_due(self.slots[lane])], found)
            if self._change_sets():
                batches = self._batches()
            self.on_progress(Progress(run_steps=self.run_steps, runs_ended=self.runs_ended))
        self.segment += 1
        return self._block(found)

    def _config(self, slot: _Lane) -> RunConfig:
        """Of the run in a busy lane."""
        assert slot.run is not None
        return self.configs[slot.run]

    def _timetable(self, slot: _Lane) -> Timetable:
        """Of the run in a busy lane."""
        assert slot.timetable is not None
        return slot.timetable

    def _shrink(self) -> None:
        """Let go of lanes that no run will take. A smaller program is another program, so sizes are few and planned."""
        n_left = len(self.busy) + len(self.configs) - self.next_run
        size = min((size for size in (self.settings.lanes, *self.settings.tail) if size >= n_left), default=n_left)
        if size >= len(self.slots):
            return
        idle = [lane for lane in range(len(self.slots)) if lane not in self.busy]
        kept = [*self.busy, *idle][:size]
        self.slots = [self.slots[lane] for lane in kept]
        self.tensors = self.tensors.narrowed(kept)
        self.step = None

    def _refill(self, found: _Segment) -> None:
        """Waiting runs, in their order, take the idle lanes; their first row is of the initial weights."""
        new = []
        for lane, slot in enumerate(self.slots):
            if slot.run is None and self.next_run < len(self.configs):
                self.slots[lane] = _Lane(run=self.next_run, timetable=timetable(self.configs[self.next_run]))
                self.tensors.put(lane, self.configs[self.next_run])
                self.next_run += 1
                new.append(lane)
        self._observe(new, found)
        self._evaluate(new, found)

    def _batches(self) -> Batches:
        configs = [None if slot.run is None else self.configs[slot.run] for slot in self.slots]
        batches = Batches(self.tensors, configs, [slot.done for slot in self.slots], self.widths)
        if batches.width != self.width:
            self.width, self.step = batches.width, None
        return batches

    def _draw_sets(self) -> None:
        """Of infinite data a row is about the set that the next step trains on, which is as new to the network as
        validation is."""
        for lane in self.busy:
            slot = self.slots[lane]
            self.tensors.draw_set(lane, self._config(slot), slot.done)

    def _change_sets(self) -> bool:
        """Whether some lanes have just gone over to their run's next training set."""
        changed = False
        for lane in self.busy:
            done = self.slots[lane].done
            phase = phase_at(self._config(self.slots[lane]).train_sizes, done)
            if phase.start == done > 0:
                self.tensors.train_on(lane, phase.size)
                changed = True
        return changed

    def _next_stop(self, slot: _Lane) -> int:
        """Steps until the lane's next evaluation, observation or training set. The last evaluation is the run's end."""
        return self._timetable(slot).next_stop(slot.done) - slot.done

    def _is_due(self, slot: _Lane) -> bool:
        return self._timetable(slot).has_row(slot.done)

    def _advance(self, count: int, batches: Batches) -> None:
        start = time.perf_counter()
        busy = self.busy
        for _ in range(count):
            batch = batches.at([slot.done for slot in self.slots])
            if self.step is None:
                self.step = engine.make_step(self.tensors, batch, self.configs[0], self.settings.engine)
            self.step(batch)
            for slot in self.slots:
                slot.done += 1
        engine.wait(self.tensors)
        self.run_steps += count * len(busy)
        self.lane_steps += count * len(self.slots)
        for lane in busy:
            self.slots[lane].wall_s += (time.perf_counter() - start) / len(busy)

    def _observe(self, which: list[int], found: _Segment) -> None:
        """Measures and snapshots of those of these lanes that are due for them."""
        for lane in which:
            slot = self.slots[lane]
            config, planned = self._config(slot), self._timetable(slot)
            assert slot.run is not None
            measured, kept = planned.is_measured(slot.done), planned.is_kept(slot.done)
            if not (measured or kept) or not bool(self.tensors.parameters_LP[lane].isfinite().all()):
                continue
            if measured:
                readings = engine.take_measures(self.tensors, lane, config, self.settings.engine)
                found.observed.measures += [(slot.run, slot.done, reading) for reading in readings]
            if kept:
                named = layout.named(self.tensors.parameters_LP[lane].cpu().numpy().copy(), config)
                names = kept_names(config, list(named))
                found.observed.snapshots += [(slot.run, slot.done, name, named[name]) for name in names]

    def _evaluate(self, due: list[int], found: _Segment) -> None:
        if not due:
            return
        measured = engine.evaluate(self.tensors, due, self.configs[0], self.settings.engine).tolist()
        first_bad = self.tensors.first_bad_L.tolist()
        for lane, metrics in zip(due, measured, strict=True):
            slot = self.slots[lane]
            assert slot.run is not None
            found.rows.append((slot.run, slot.done, metrics))
            outcome = self._outcome(slot, metrics, first_bad[lane])
            if outcome is not None:
                found.ended.append(self._end(lane, *outcome))

    def _outcome(self, slot: _Lane, metrics: list[float], first_bad: int) -> tuple[Outcome, int | None] | None:
        """Whether the run is over, and the step if that is before its budget."""
        config = self._config(slot)
        values = dict(zip(DENSE_METRICS, metrics[: len(DENSE_METRICS)], strict=True))
        if first_bad >= 0 or not np.isfinite([values["train_loss"], values["param_norm"]]).all():
            return "diverged", first_bad if first_bad >= 0 else slot.done
        if slot.done == config.steps:
            return "ended", None
        # Written so that NaN, the accuracy over an empty validation set, is below every threshold.
        if config.stop_val_accuracy is None or not values["val_accuracy"] >= config.stop_val_accuracy:
            slot.above_since = None
            return None
        slot.above_since = slot.done if slot.above_since is None else slot.above_since
        return ("stopped", slot.done) if slot.done - slot.above_since >= config.stop_patience_steps else None

    def _end(self, lane: int, outcome: Outcome, stopped_at: int | None) -> RunEnd:
        slot, config = self.slots[lane], self._config(self.slots[lane])
        assert slot.run is not None
        vector = self.tensors.parameters_LP[lane].cpu().numpy().copy()
        self.slots[lane] = _Lane()
        self.tensors.clear(lane)
        self.runs_ended += 1
        return RunEnd(
            run=slot.run,
            outcome=outcome,
            stopped_at=stopped_at,
            n_parameters=len(vector),
            wall_s=slot.wall_s,
            weights=layout.named(vector, config) if self.settings.keep_weights else None,
        )

    def _block(self, found: _Segment) -> TraceBlock:
        rows = sorted(found.rows)
        names = (*DENSE_METRICS, *self.has_metric)
        metrics = np.array([values for _, _, values in rows], dtype=np.float64).reshape(len(rows), len(names))
        runs = np.array([run for run, _, _ in rows], dtype=np.int64)
        columns: dict[str, np.ndarray] = {
            "run": runs,
            "step": np.array([step for _, step, _ in rows], dtype=np.int64),
            **{
                name: metrics[:, i].astype(np.float64 if "accuracy" in name else np.float32)
                for i, name in enumerate(names)
            },
        }
        for name, has_R in self.has_metric.items():
            columns[name] = np.ma.masked_array(columns[name], ~has_R[runs])
        if not has_accuracy(self.configs[0]):
            columns |= {name: np.ma.masked_invalid(columns[name]) for name in ("train_accuracy", "val_accuracy")}
        return TraceBlock(
            segment=self.segment - 1,
            columns=columns,
            further=found.observed.tables(self.configs[0]),
            ended=tuple(found.ended),
            checkpoint=self.checkpoint() if self.has_work else None,
            run_steps=self.run_steps,
            lane_steps=self.lane_steps,
        )

    def checkpoint(self) -> bytes:
        state = {
            "run_ids": self.run_ids,
            "slots": [[slot.run, slot.done, slot.above_since, slot.wall_s] for slot in self.slots],
            "counters": [self.next_run, self.segment, self.run_steps, self.lane_steps, self.runs_ended],
        }
        return checkpoints.dump(self.tensors, state)

    def restore(self, data: bytes) -> None:
        state = checkpoints.read_state(data)
        missing = {"run_ids", "slots", "counters"} - state.keys()
        if missing:
            raise ValueError(f"this checkpoint lacks {', '.join(sorted(missing))}")
        if state["run_ids"] != self.run_ids:
            raise ValueError("this checkpoint is of a pack with other runs")
        if len(state["slots"]) not in (self.settings.lanes, *self.settings.tail):
            raise ValueError(f"this checkpoint is of a pack with {len(state['slots'])} lanes")
        self.slots = [_Lane(*values) for values in state["slots"]]
        self.next_run, self.segment, self.run_steps, self.lane_steps, self.runs_ended = state["counters"]
        if len(self.slots) != self.settings.lanes:  # the pack had shrunk
            self.tensors = lanes.empty(self.configs, len(self.slots), self.settings.device)
        checkpoints.load_tensors(data, self.tensors)
        for lane, slot in enumerate(self.slots):
            if slot.run is not None:
                slot.timetable = timetable(self._config(slot))
                self.tensors.bring(lane, self._config(slot), slot.done)
