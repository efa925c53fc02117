"""The truth about a sweep, from its files alone: no cluster is asked, nothing is imported that trains."""

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.accuracy import Accuracy, accuracy_text, measure_accuracy
from orchestrator.environment import not_repeated, variety
from orchestrator.plan import Plan
from orchestrator.progress import PackState, State, read_pack
from results.counted import counted
from results.pack_log import last_event
from results.places import Place, one_look
from results.store import SweepStore

RUN_STATES = ("ended", "stopped", "diverged", "training", "waiting", "failed")
PACK_STATES: tuple[State, ...] = ("done", "running", "paused", "waiting", "failed")
AMENDED = ("replaced", "pack_id", "reason")


@dataclass(frozen=True, kw_only=True)
class FailedPack:
    """A pack whose last try ended with an error, its own or the disk's."""

    pack_id: str
    runs: int
    """Of its runs, those that have not ended."""
    error: str
    """The last line of the traceback, or what the disk said."""


@dataclass(frozen=True, kw_only=True)
class SweepStatus:
    """What `grokctl status` tells."""

    name: str
    folder: Place
    state: Literal["running", "finished", "failed", "unfinished"]
    launch: Mapping[str, Any] | None
    """Host, pid and attempt of the launch at work."""
    launches: int
    runs: Mapping[str, int]
    """How many runs are in which of RUN_STATES. `training`: begun, in a pack that is running or will go on."""
    packs: Mapping[str, int]
    """How many packs are in which of PACK_STATES."""
    run_steps: int
    run_steps_planned: int
    failed: tuple[FailedPack, ...]
    refused: tuple[FailedPack, ...]
    """Packs that are paused because the disk refused."""
    cut_off: tuple[str, ...]
    """Packs whose last worker ended without a word: killed, or the power went."""
    accuracy: Accuracy | None
    """Of the predicted times of packs that are done."""
    amendments: tuple[Mapping[str, str | None], ...]
    """Packs that were replaced since the plan was made (`replaced`, `pack_id`; None where runs were added), and the
    `reason`."""
    environments: tuple[str, ...]
    """What differed between attempts whose bits are in the traces: versions, device, precision."""
    warnings: tuple[str, ...]
    """What is not as promised: packs that did not repeat bit for bit."""
    next_step: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "folder": str(self.folder)}


def read_status(folder: Place) -> SweepStatus:
    """Look at a sweep's folder. Raises MissingError if it holds none, DamagedError if its files contradict it."""
    store = SweepStore(folder)
    record = store.read_plan()
    plan = Plan.from_json(record)
    holder = store.holder()
    live_attempt = store.latest_attempt() if holder else None
    with one_look(store.root):
        states = [read_pack(store, pack, live_attempt) for pack in plan.packs]
    packs: Counter[State] = Counter(state.state for state in states)
    runs: Counter[str] = sum((_runs_by_state(state) for state in states), Counter())
    overall = _overall(packs, is_running=holder is not None)
    return SweepStatus(
        name=plan.name,
        folder=folder,
        state=overall,
        launch=holder,
        launches=store.latest_attempt(),
        runs={name: runs[name] for name in RUN_STATES},
        packs={name: packs[name] for name in PACK_STATES},
        run_steps=sum(state.run_steps for state in states),
        run_steps_planned=sum(sum(pack.values("steps")) for pack in plan.packs),
        failed=tuple(_failed(state) for state in states if state.state == "failed"),
        refused=tuple(_failed(state) for state in states if state.state == "paused" and state.error),
        cut_off=tuple(state.pack.pack_id for state in states if _is_cut_off(store, state)),
        accuracy=measure_accuracy(plan.packs, {s.pack.pack_id: s.header for s in states if s.header}),
        amendments=tuple({name: entry.get(name) for name in AMENDED} for entry in record["amendments"]),
        environments=tuple(variety(f for s in states if s.header for f in s.header.fingerprints.values())),
        warnings=tuple(not_repeated(state.header for state in states if state.header)),
        next_step=_next_step(overall, folder),
    )


def _overall(packs: Counter[State], *, is_running: bool) -> Literal["running", "finished", "failed", "unfinished"]:
    if is_running:
        return "running"
    if packs["failed"]:
        return "failed"
    return "finished" if packs["done"] == packs.total() else "unfinished"


def _runs_by_state(state: PackState) -> Counter[str]:
    """Runs of a pack: how they ended, or what they wait for."""
    header, left = state.header, state.pack.n_runs
    found = Counter(run.outcome for run in header.outcomes) if header else Counter()
    left -= found.total()
    if state.state == "failed":
        found["failed"] = left
    else:
        begun = len(header.running) if header else 0
        if state.state == "running":
            begun = max(begun, min(left, state.pack.settings.lanes))
        found["training"] = begun
        found["waiting"] = left - begun
    return found


def _is_cut_off(store: SweepStore, state: PackState) -> bool:
    folder = store.pack(state.pack.pack_id).files.folder
    return state.state == "paused" and not state.error and last_event(folder) in ("begun", "resumed", "committed")


def _failed(state: PackState) -> FailedPack:
    ended = len(state.header.outcomes) if state.header else 0
    return FailedPack(pack_id=state.pack.pack_id, runs=state.pack.n_runs - ended, error=state.error)


def _next_step(state: str, folder: Place) -> str:
    name = shlex.quote(str(folder))
    # A name alone would be that of a shipped spec.
    again = f"`grokctl launch {name if '/' in str(folder) else f'./{name}'}`"
    return {
        "running": f"`grokctl stop {name}` ends it at the next commits",
        "finished": f'`grokctl diagram {name}`, or `grokctl query {name} "FROM labels"`',
        "failed": f"{again} tries failed packs again; tracebacks lie in failure.json of their folders in {name}/packs",
        "unfinished": f"{again} goes on with it",
    }[state]


def status_text(status: SweepStatus) -> str:
    """What `grokctl status` prints."""
    who = ", ".join(f"{key} {value}" for key, value in (status.launch or {}).items())
    share = status.run_steps / status.run_steps_planned
    lines = [
        f"sweep  {status.name} in {status.folder}",
        f"state  {status.state}" + (f" ({who})" if who else ""),
        f"runs   {_counts(status.runs)}",
        f"packs  {_counts(status.packs)}",
        f"steps  {status.run_steps:,} of {status.run_steps_planned:,} run-steps ({share:.0%})",
    ]
    lines += [f"failed {pack.pack_id} ({pack.runs} runs): {pack.error}" for pack in status.failed]
    lines += [f"paused {pack.pack_id} ({pack.runs} runs): {pack.error}" for pack in status.refused]
    if status.cut_off:
        packs = counted(len(status.cut_off), "pack")
        lines.append(f"cut    {packs} ended without a word (killed, memory, power); going on from the last commits")
    if status.accuracy:
        lines.append(f"time   {accuracy_text(status.accuracy)}")
    lines += [_amendment_text(amendment) for amendment in status.amendments]
    lines += [f"differ {line}" for line in status.environments]
    lines += [f"warn   {line}" for line in status.warnings]
    return "\n".join([*lines, f"next   {status.next_step}"])


def _amendment_text(amendment: Mapping[str, str | None]) -> str:
    replaced, pack_id, reason = (amendment[name] for name in AMENDED)
    return f"plan   {reason}" if replaced is None else f"pack   {replaced} became {pack_id}: {reason}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
