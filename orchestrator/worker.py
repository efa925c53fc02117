"""The one joint where trainers meet results: train a pack from where the store left it, and commit every segment.

A worker needs the sweep's folder and the id of its pack. Ray is not involved: the same function runs in this process
(`local`), in a Ray actor (`tune`) or under a debugger. It may be killed at any instant; called again, it goes on from
the last commit.
"""

import contextlib
import functools
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import torch

from orchestrator.columns import config_columns
from orchestrator.errors import EXIT_ENVIRONMENT, UserError
from orchestrator.machine import require_visible_gpu
from orchestrator.plan import Plan, PlannedPack
from orchestrator.sources import sources_digest
from results.errors import FencedError
from results.headers import RunOutcome
from results.pack_store import PackStore
from results.schema import config_table, trace_table
from results.store import SweepStore
from trainers.config import RunConfig
from trainers.loop import train_pack
from trainers.trace import PackSettings, Progress, TraceBlock

PROGRESS_EVERY_S = 0.5

End = Literal["done", "drained"]


def try_pack(
    root: Path, pack_id: str, attempt: int, should_stop: Callable[[], bool]
) -> Literal["done", "drained", "failed"]:
    """run_pack for those who have more packs to train: a failure that is recorded in the pack's folder is a result."""
    try:
        return run_pack(root, pack_id, attempt, should_stop=should_stop)
    except FencedError:
        raise
    except Exception:
        if SweepStore(root).pack(pack_id).failure() is None:
            raise
        return "failed"


def run_pack(root: Path, pack_id: str, attempt: int, *, should_stop: Callable[[], bool]) -> End:
    """Train a pack to its end, or until `should_stop` says so after a commit.

    A failure is recorded in the pack's folder and raised.
    """
    store = SweepStore(root)
    pack_store = store.pack(pack_id)
    try:
        return _run(store.read_plan(), pack_id, pack_store, attempt, should_stop)
    except FencedError:
        raise  # the pack is another worker's by now, and so is what lies in its folder
    except Exception:
        with contextlib.suppress(OSError):  # on a full disk: what went wrong first is what counts
            pack_store.write_failure(f"pack {pack_id}\n{traceback.format_exc()}", attempt)
        raise


def _run(
    record: Mapping[str, Any], pack_id: str, pack_store: PackStore, attempt: int, should_stop: Callable[[], bool]
) -> End:
    plan = Plan.from_json(record)
    pack = plan.by_id[pack_id]
    require_visible_gpu(pack.settings.device, plan.slots["gpus_per_pack"])
    point = pack_store.resume(attempt=attempt)
    if point.done:
        return "done"
    configs = _checked_configs(pack)
    runs = _runs_table(plan, pack, configs)
    fingerprint = device_fingerprint(pack.settings)
    began = time.perf_counter()
    blocks = train_pack(
        configs,
        pack.settings,
        checkpoint=point.checkpoint,
        on_progress=_Throttle(pack_store, pack, attempt),
    )
    for block in blocks:
        now = time.perf_counter()
        pack_store.commit(
            segment=block.segment,
            rows=trace_table(block.columns, runs),
            ended=_outcomes(block, pack),
            checkpoint=block.checkpoint,
            weights=_weights(block, pack),
            run_steps=block.run_steps,
            attempt=attempt,
            plan_id=record["plan_id"],
            fingerprint=fingerprint,
            publish_runs=pack.publish_runs,
            wall_s=now - began,
        )
        began = now
        if block.checkpoint is not None and should_stop():
            return "drained"
    return "done"


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


def _runs_table(plan: Plan, pack: PlannedPack, configs: list[RunConfig]) -> pa.Table:
    columns = config_columns(configs, plan.columns)
    return config_table(plan.columns, fixed={}, varying={"run_id": pack.run_ids, **columns})


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
    """Writes a sign of life into the pack's folder, twice a second at most."""

    def __init__(self, pack_store: PackStore, pack: PlannedPack, attempt: int) -> None:
        self._store, self._attempt, self._n_runs = pack_store, attempt, pack.n_runs
        self._next = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_EVERY_S
        self._store.write_progress(
            {
                "run_steps": progress.run_steps,
                "runs_ended": progress.runs_ended,
                "runs": self._n_runs,
                "attempt": self._attempt,
                "host": platform.node(),
                "pid": os.getpid(),
            }
        )


def device_fingerprint(settings: PackSettings) -> dict[str, Any]:
    """What a trace's last bits depend on besides the plan: code, versions, device, threads, precision flags."""
    on_cuda = settings.device == "cuda"
    return {
        "sources": sources_digest(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if on_cuda else _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": settings.threads,
        "engine": settings.engine,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "host": platform.node(),
    }


@functools.cache
def _cpu_model() -> str:
    """Linux tells it in /proc/cpuinfo; elsewhere platform has a coarser name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
