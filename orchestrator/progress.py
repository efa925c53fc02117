"""How far a sweep is, read from its files alone: nothing here talks to a worker.

`follow` shows it while something else trains: live lines on a terminal, a plain line every ten seconds elsewhere.
"""

import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from orchestrator.plan import Plan, PlannedPack
from orchestrator.plan_summary import format_duration
from results.counted import counted
from results.errors import StoreError
from results.headers import Header
from results.objects import ObjectPath
from results.places import one_look
from results.store import SweepStore

REFRESH_S = 0.5
PLAIN_LINE_S = 10.0
SPEED_WINDOW_S = 30.0

State = Literal["done", "failed", "running", "paused", "waiting"]


@dataclass(frozen=True, kw_only=True)
class PackState:
    """Where a pack stands."""

    pack: PlannedPack
    state: State
    header: Header | None
    """What is committed."""
    run_steps: int
    """Committed, or reported since."""
    runs_ended: int
    error: str = ""
    """Of a failed pack: the last line of its traceback; of one that is paused because the disk refused: why."""


def read_pack(store: SweepStore, pack: PlannedPack, live_attempt: int | None) -> PackState:
    """The state of a pack; `live_attempt` is that of the launch at work, None if there is none."""
    stored = store.pack(pack.pack_id)
    if not stored.files.folder.is_dir():
        return PackState(pack=pack, state="waiting", header=None, run_steps=0, runs_ended=0)
    done, header = stored.is_done(), stored.newest_header()
    committed = (header.run_steps, len(header.outcomes)) if header else (0, 0)
    if done:
        return PackState(pack=pack, state="done", header=header, run_steps=committed[0], runs_ended=committed[1])
    failure, progress = stored.failure(), stored.read_progress() or {}
    is_sign = {"attempt", "run_steps", "runs_ended"} <= progress.keys()  # the file is not sealed: it may be anything
    is_live = live_attempt is not None and is_sign and progress["attempt"] == live_attempt
    reported = (progress["run_steps"], progress["runs_ended"]) if is_live else (0, 0)
    has_failed = failure is not None and not failure.is_pause
    state: State = "failed" if has_failed else "running" if is_live else "paused"
    return PackState(
        pack=pack,
        state=state,
        header=header,
        run_steps=max(committed[0], reported[0]),
        runs_ended=max(committed[1], reported[1]),
        error=last_line(failure.text) if failure else "",
    )


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A sweep at one moment."""

    runs: int
    runs_ended: int
    run_steps: int
    run_steps_total: int
    """That all runs need, less what runs that ended early left."""
    packs: Counter[str]
    phases: Counter[str]
    """Labels of the runs published so far, each taken alone."""


class Reader:
    """Reads a sweep again and again, and each file once as far as possible."""

    def __init__(self, store: SweepStore, plan: Plan) -> None:
        self._store, self._plan, self.place = store, plan, store.root
        self._record = store.read_plan()
        self._finished: dict[str, PackState] = {}
        self._labelled: set[str] = set()
        self._phases: Counter[str] = Counter()
        self._budgets = {pack.pack_id: pack.budgets() for pack in plan.packs}

    def read(self) -> Snapshot:
        self._take_amendments()
        live_attempt = self._store.latest_attempt() if self._store.holder() else None
        with one_look(self.place):
            known = self._finished
            states = [
                known.get(pack.pack_id) or read_pack(self._store, pack, live_attempt) for pack in self._plan.packs
            ]
            for state in states:
                if state.state == "done":
                    known[state.pack.pack_id] = state
                self._label(state)
        return Snapshot(
            runs=self._plan.n_runs,
            runs_ended=sum(state.runs_ended for state in states),
            run_steps=sum(state.run_steps for state in states),
            run_steps_total=sum(self._needed(state) for state in states),
            packs=Counter(state.state for state in states),
            phases=self._phases.copy(),
        )

    def _take_amendments(self) -> None:
        record = self._store.read_plan()
        if record is not self._record:
            self._record, self._plan = record, Plan.from_json(record)
            self._budgets = {pack.pack_id: pack.budgets() for pack in self._plan.packs}

    def _needed(self, state: PackState) -> int:
        budgets = self._budgets[state.pack.pack_id]
        early = [run for run in (state.header.outcomes if state.header else ()) if run.stopped_at is not None]
        return sum(budgets.values()) - sum(budgets[run.run_id] - (run.stopped_at or 0) for run in early)

    def _label(self, state: PackState) -> None:
        """Label what was published since, if anything."""
        for entry in state.header.published if state.header else ():
            if entry.path in self._labelled or not entry.path.startswith("traces/"):
                continue
            files = self._store.pack(state.pack.pack_id).files
            if not files.path(entry).exists():
                continue  # committed, about to be published
            from results.classify import ClassifierSettings, label_runs

            labels = label_runs(
                files.rows(entry).to_pandas(), None, ClassifierSettings.from_mapping(self._plan.classifier)
            )
            self._phases.update(labels["phase"])
            self._labelled.add(entry.path)


class QuietConsole(Console):
    """A console whose reader may go away (`grokctl launch ... | head`): the sweep goes on, without output."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def follow(store: SweepStore, plan: Plan, console: Console) -> Iterator[None]:
    """Show the progress of a sweep from a thread of its own while the block lasts."""
    display = _Display(Reader(store, plan), plan.name, console)
    display.start()
    try:
        yield
    finally:
        display.finish()


class _Display(threading.Thread):
    def __init__(self, reader: Reader, name: str, console: Console) -> None:
        super().__init__(name="progress", daemon=True)
        self._reader, self._sweep, self._console = reader, name, console
        # Looking costs some requests for each pack at work.
        self._refresh_s = PLAIN_LINE_S if isinstance(reader.place, ObjectPath) else REFRESH_S
        self._over = threading.Event()
        self._samples: deque[tuple[float, int]] = deque()

    def finish(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        if self._console.is_terminal:
            with Live(console=self._console, auto_refresh=False) as live:
                for snapshot in self._snapshots(self._refresh_s):
                    live.update(self.lines(snapshot), refresh=True)
        else:
            for snapshot in self._snapshots(PLAIN_LINE_S):
                self._console.print(self.lines(snapshot), soft_wrap=True)

    def _snapshots(self, every_s: float) -> Iterator[Snapshot]:
        """One every so often, and a last one when the block is over."""
        over = False
        while not over:
            over = self._over.wait(every_s)
            try:
                snapshot = self._reader.read()
            except (StoreError, OSError):
                continue  # a file was replaced under our hands, or worse: the launch itself will say
            self._samples.append((time.monotonic(), snapshot.run_steps))
            while self._samples[-1][0] - self._samples[0][0] > SPEED_WINDOW_S:
                self._samples.popleft()
            yield snapshot

    def speed(self) -> float:
        """Run-steps per second over the last half minute; 0 while a pack that lost its worker makes up for that."""
        (start, first), (end, last) = self._samples[0], self._samples[-1]
        return max(0.0, (last - first) / (end - start)) if end > start else 0.0

    def lines(self, snapshot: Snapshot) -> Group:
        speed = self.speed()
        left = snapshot.run_steps_total - snapshot.run_steps
        time_left = f"about {format_duration(left / speed)} left" if speed and left > 0 else "time left unknown"
        parts = [
            f"{self._sweep}: {snapshot.runs_ended:,} of {snapshot.runs:,} runs",
            f"{speed:,.0f} run-steps/s",
            "finishing" if left <= 0 else time_left,
            f"{counted(snapshot.packs['running'], 'pack')} running",
        ]
        if snapshot.packs["failed"]:
            parts.append(f"{snapshot.packs['failed']} failed")
        lines = [Text(" · ".join(parts))]
        if snapshot.phases:
            found = ", ".join(f"{phase} {count:,}" for phase, count in snapshot.phases.most_common())
            lines.append(Text(f"phases so far: {found}"))
        return Group(*lines)
