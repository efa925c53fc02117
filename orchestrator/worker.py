"""The one joint where trainers meet results: train a pack from where the store left it, and commit every segment.

A worker needs the sweep's folder and the id of its pack. Ray is not involved: the same function runs in this process
(`local`), in a Ray actor (`tune`) or under a debugger. It may be killed at any instant; called again, it goes on from
the last commit.
"""

import contextlib
import gc
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from orchestrator.code_file import admit
from orchestrator.columns import config_rows
from orchestrator.environment import ACCEPTED, agreed, bits_of
from orchestrator.errors import EXIT_ENVIRONMENT, UserError
from orchestrator.kernel_cache import discard_cut_short
from orchestrator.machine import compiling_environment, cpu_model, find_compiler, kernel_kills, require_visible_gpu
from orchestrator.permits import NOTHING_MORE, Permits
from orchestrator.plan import Plan, PlannedPack
from orchestrator.progress import last_line
from orchestrator.sources import sources_digest, trainers_digest
from results.errors import FencedError, StorageError
from results.headers import RunOutcome
from results.objects import ObjectPath
from results.pack_log import PackLog
from results.pack_store import PackStore, ResumePoint
from results.places import Place
from results.schema import further_table, trace_table
from results.store import SweepStore
from trainers.config import RunConfig
from trainers.errors import CodeError
from trainers.loop import train_pack
from trainers.own_code import is_out_of_memory
from trainers.trace import PackSettings, Progress, TraceBlock

PROGRESS_EVERY_S = 0.5
PROGRESS_EVERY_S_IN_BUCKETS = 10.0
"""A PUT takes some 30 ms, for which training waits, and costs money."""

End = Literal["done", "drained"]


def try_pack(
    root: Place,
    pack_id: str,
    attempt: int,
    should_stop: Callable[[], bool],
    permits: Permits = NOTHING_MORE,
) -> Literal["done", "drained", "failed", "paused"]:
    """run_pack for those who have more packs to train: a failure that is recorded in the pack's folder is a result.

    `paused`: the disk refused, and will refuse the next pack, too.
    """
    try:
        return run_pack(root, pack_id, attempt, should_stop=should_stop, permits=permits)
    except FencedError:
        raise
    except Exception:
        store, failure = SweepStore(root), None
        with contextlib.suppress(StorageError):  # a bucket that is away can't be asked
            failure = store.pack(store.current_pack(pack_id)).failure()
        if failure is None:
            raise
        return "paused" if failure.is_pause else "failed"


def run_pack(
    root: Place,
    pack_id: str,
    attempt: int,
    *,
    should_stop: Callable[[], bool],
    permits: Permits = NOTHING_MORE,
) -> End:
    """Train a pack to its end, or until `should_stop` says so after a commit.

    A pack that was begun in another environment is refused, and so is one that runs the user's code, unless that is
    permitted. One that runs out of memory before its first commit is replaced, once, by one with half the lanes, which
    is then trained. A stop that ends the compiler ends the pack, as if it had not begun. Another failure is recorded in
    the pack's folder and raised; StorageError if it is the disk that refused.
    """
    store = SweepStore(root)
    pack_id = _after_a_kill(store, store.current_pack(pack_id), attempt)
    try:
        return _run(store, pack_id, attempt, should_stop, permits)
    except FencedError:
        raise  # the pack is another worker's by now, and so is what lies in its folder
    except Exception as error:
        if _is_of_the_compiler(error) and should_stop():
            # Ctrl-C in a terminal goes to g++ as well, which is a child of a local launch.
            _log(store.pack(pack_id), attempt).write("drained")
            return "drained"
        _log(store.pack(pack_id), attempt).write(
            "paused" if isinstance(error, StorageError) else "failed", error=last_line(_trace_of(error))
        )
        smaller = replace_by_smaller(store, pack_id, attempt) if is_out_of_memory(error) else None
        if smaller is None:
            with contextlib.suppress(OSError, StorageError):  # on a full disk: what went wrong first is what counts
                is_pause = isinstance(error, StorageError)
                store.pack(pack_id).write_failure(_failure_text(pack_id, error), attempt, is_pause=is_pause)
            raise
    # Outside the handler: the exception's frames held the tensors that there was no room for.
    _release_memory()
    return run_pack(root, smaller, attempt, should_stop=should_stop, permits=permits)


def _after_a_kill(store: SweepStore, pack_id: str, attempt: int) -> str:
    """The pack to train. It has half the lanes if the kernel killed for memory while the pack was trained last, which
    then ended before its first commit and without a word: whatever was killed, there was too little."""
    pack = store.pack(pack_id)
    left = (pack.read_progress() or {}).get("kernel") or {}
    if pack.is_done() or pack.failure() or pack.newest_header() or not isinstance(left, dict):
        return pack_id
    now = kernel_kills()
    if not left or left.get("boot") != now.get("boot") or left.get("oom_kills") == now.get("oom_kills"):
        return pack_id
    return replace_by_smaller(store, pack_id, attempt, "killed by the kernel, which was") or pack_id


def replace_by_smaller(store: SweepStore, pack_id: str, attempt: int, how: str = "") -> str | None:
    """The pack with half the lanes that takes the place of one that ran out of memory; None if that helps no more."""
    plan = store.read_plan()
    pack = Plan.from_json(plan).by_id[pack_id]
    was_halved = any(entry.get("pack_id") == pack_id for entry in plan["amendments"])
    if was_halved or pack.settings.lanes == 1 or store.pack(pack_id).newest_header() is not None:
        return None
    smaller = pack.with_half_the_lanes()
    reason = f"out of memory with {pack.settings.lanes} lanes; {smaller.settings.lanes} from here on"
    reason = f"{how} {reason}".strip()
    _log(store.pack(pack_id), attempt).write("replaced", by=smaller.pack_id, reason=reason)
    return store.amend(replaced=pack_id, pack=smaller.to_json(), reason=reason, attempt=attempt)


def _is_of_the_compiler(error: Exception) -> bool:
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))


def _failure_text(pack_id: str, error: Exception) -> str:
    if isinstance(error, StorageError):
        return f"pack {pack_id}\n{error}"
    text = f"pack {pack_id}\n{_trace_of(error)}"
    if is_out_of_memory(error):
        text += "out of memory: free some, or set fewer `resources: {lanes: ...}`, and launch again"
    elif _is_of_the_compiler(error):
        how = "`resources: {engine: eager}` trains without it, in another folder"
        text += f"torch's compiler failed ({type(error).__name__}); {how}"
    return text


def _trace_of(error: Exception) -> str:
    """Of what goes wrong in the user's code its own line, which no trace of ours would help to find."""
    return str(error) if isinstance(error, CodeError) else traceback.format_exc()


def _release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _log(pack_store: PackStore, attempt: int) -> PackLog:
    about = {"pack": pack_store.pack_id, "launch": attempt, "host": platform.node(), "pid": os.getpid()}
    return PackLog(pack_store.files.folder, **about)


def _run(store: SweepStore, pack_id: str, attempt: int, should_stop: Callable[[], bool], permits: Permits) -> End:
    """The way of a pack, from top to bottom."""
    record, stored = store.read_plan(), store.pack(pack_id)
    plan = Plan.from_json(record)
    pack = plan.by_id[pack_id]
    if "code_text" in record and not stored.is_done():
        admit(store.code_path, pack.values("code_sha256")[0], pack.values("code")[0], allowed=permits.code)
    require_visible_gpu(pack.settings.device, plan.slots["gpus_per_pack"])
    if pack.settings.engine == "compiled":
        _prepare_to_compile()
    here = device_fingerprint(pack.settings)
    with _storage():
        point = stored.resume(attempt=attempt, environment=bits_of(here))
    if point.done:
        return "done"
    configs = _checked_configs(pack)
    commits = _Commits(
        stored=stored,
        pack=pack,
        runs=config_rows(pack.run_ids, configs, plan.columns),
        plan_id=record["plan_id"],
        attempt=attempt,
        fingerprint=agreed(point.fingerprint, here, accept=permits.environment),
        log=_log(stored, attempt),
    )
    show = _Throttle(stored, pack, attempt)
    show(Progress(run_steps=point.run_steps, runs_ended=0))
    commits.log_begin(point)
    began = time.perf_counter()
    for block in train_pack(configs, pack.settings, checkpoint=point.checkpoint, on_progress=show):
        now = time.perf_counter()
        commits.add(block, wall_s=now - began)
        began = now
        if block.checkpoint is not None and should_stop():
            commits.log.write("drained")
            return "drained"
    commits.log.write("done")
    return "done"


@dataclass(frozen=True, kw_only=True)
class _Commits:
    """The commits of one attempt: what every segment of it is committed with."""

    stored: PackStore
    pack: PlannedPack
    runs: pa.Table
    """The pack's runs and their config columns."""
    plan_id: str
    attempt: int
    fingerprint: Mapping[str, Any]
    log: PackLog

    def log_begin(self, point: ResumePoint) -> None:
        self.log.write(
            "resumed" if point.segment else "begun",
            segment=point.segment,
            run_steps=point.run_steps,
            runs=self.pack.n_runs,
            lanes=self.pack.settings.lanes,
            engine=self.pack.settings.engine,
            skipped=list(point.skipped),
            accepted=self.fingerprint.get(ACCEPTED, []),
        )

    def add(self, block: TraceBlock, *, wall_s: float) -> None:
        """Commit what was trained in a segment."""
        run_ids = self.pack.run_ids
        rows = trace_table(block.columns, self.runs)
        further = {table: further_table(table, columns, run_ids) for table, columns in block.further.items()}
        with _storage():
            unequal = self.stored.commit(
                segment=block.segment,
                rows=rows,
                ended=_outcomes(block, self.pack),
                checkpoint=block.checkpoint,
                weights=_weights(block, self.pack),
                further=further,
                run_steps=block.run_steps,
                lane_steps=block.lane_steps,
                attempt=self.attempt,
                plan_id=self.plan_id,
                fingerprint=self.fingerprint,
                publish_runs=self.pack.publish_runs,
                wall_s=wall_s,
            )
        self.log.write(
            "committed",
            segment=block.segment,
            run_steps=block.run_steps,
            rows=len(rows),
            ended={run_ids[end.run]: end.outcome for end in block.ended},
            wall_s=round(wall_s, 3),
        )
        if unequal:
            self.log.write("unequal", segment=block.segment, rows=list(unequal))


@contextlib.contextmanager
def _storage() -> Iterator[None]:
    """What the operating system says about the store's files becomes a StorageError."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StorageError(f"{where}{error.strerror or error}") from error


def _prepare_to_compile() -> None:
    """Raises UserError without a compiler."""
    if find_compiler() is None:
        raise UserError(
            f"this pack is to be compiled, and {platform.node()} has no C++ compiler",
            exit_code=EXIT_ENVIRONMENT,
            hint="Install g++ or clang++ there; the engine is part of the plan, because it changes bits.",
        )
    for name, value in compiling_environment().items():
        os.environ.setdefault(name, value)
    discard_cut_short(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]))


def _checked_configs(pack: PlannedPack) -> list[RunConfig]:
    configs = pack.configs()
    changed = [run_id for run_id, config in zip(pack.run_ids, configs, strict=True) if config.run_id != run_id]
    if changed:
        raise UserError(
            f"this version of grokctl gives run {changed[0]} of the plan another identity",
            exit_code=EXIT_ENVIRONMENT,
            hint="Go on with the version that made the plan, or launch into another --out.",
        )
    return configs


def _outcomes(block: TraceBlock, pack: PlannedPack) -> list[RunOutcome]:
    return [
        RunOutcome(
            run_id=pack.run_ids[end.run],
            outcome=end.outcome,
            stopped_at=end.stopped_at,
            wall_s=end.wall_s,
            n_parameters=end.n_parameters,
        )
        for end in block.ended
    ]


def _weights(block: TraceBlock, pack: PlannedPack) -> Mapping[str, Mapping[str, Any]] | None:
    kept = {pack.run_ids[end.run]: end.weights for end in block.ended if end.weights is not None}
    return kept or None


class _Throttle:
    """Writes a sign of life into the pack's folder, twice a second at most, and into a bucket more rarely."""

    def __init__(self, pack_store: PackStore, pack: PlannedPack, attempt: int) -> None:
        self._store, self._attempt, self._n_runs = pack_store, attempt, pack.n_runs
        in_bucket = isinstance(pack_store.files.root, ObjectPath)
        self._every_s = PROGRESS_EVERY_S_IN_BUCKETS if in_bucket else PROGRESS_EVERY_S
        self._next = time.monotonic()
        self._kernel = kernel_kills()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every_s
        with _storage():
            self._store.write_progress(
                {
                    "run_steps": progress.run_steps,
                    "runs_ended": progress.runs_ended,
                    "runs": self._n_runs,
                    "attempt": self._attempt,
                    "host": platform.node(),
                    "pid": os.getpid(),
                    "kernel": self._kernel,
                }
            )


def device_fingerprint(settings: PackSettings) -> dict[str, Any]:
    """What a trace's last bits depend on besides the plan: code, versions, device, threads, precision flags."""
    on_cuda = settings.device == "cuda"
    return {
        "sources": sources_digest(),
        "trainers": trainers_digest(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_cuda else None,
        "device": torch.cuda.get_device_name() if on_cuda else cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": settings.threads,
        "engine": settings.engine,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32 if on_cuda else None,
        "host": platform.node(),
    }
