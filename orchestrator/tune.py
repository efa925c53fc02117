"""Ray Tune as a scheduler of packs, and nothing else.

One trial trains one pack, first come first served. Tune is told the ids of the unfinished packs; what they are lies in
the plan, what they did lies in the store, and neither is ever read through Tune. Its own state goes to a folder that is
thrown away, and `Tuner.restore` is not used: launching again builds a new Tuner over what the store lacks.
"""

import logging
import platform
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import EXIT_ENVIRONMENT, UserError
from orchestrator.permits import NOTHING_MORE, Permits
from orchestrator.ray_cluster import Cluster
from orchestrator.slots import Demand
from orchestrator.sources import package_folders, sources_digest
from orchestrator.trials import Trials
from results.places import Place

if TYPE_CHECKING:
    from results.store import SweepStore

THREAD_END_S = 120.0
"""For which a Tuner is given to end. It waits 5 to 15 s for busy workers and kills them; on a machine with three such
launches on two cores, 30 s were not always enough."""


@dataclass(kw_only=True)
class Training:
    """A Tuner at work in a thread of its own, so that the main thread can show progress and take signals."""

    thread: threading.Thread
    trials: Trials
    end_mark: Path
    """The file whose presence ends the Tuner. (Tune pickles its stopper, so that cannot hold an event.)"""
    crash: list[str]
    """What made Tune itself give up, if it did: no fault of any pack's."""

    def wait(self, seconds: float) -> bool:
        """Wait that long at most; whether all packs have ended."""
        self.thread.join(seconds)
        return not self.thread.is_alive()

    def end(self) -> None:
        """Ask the Tuner to end; workers that are still at work are killed."""
        self.end_mark.touch()

    def end_and_wait(self) -> None:
        """Before Ray itself goes."""
        self.end()
        self.wait(THREAD_END_S)

    def end_if_idle(self) -> None:
        """End it if no pack is at work: those that wait for a node might wait for ever."""
        if not self.trials.at_work:
            self.end()


def start_training(
    lent: Cluster,
    root: Place,
    demands: Mapping[str, Demand],
    trials: Trials,
    permits: Permits = NOTHING_MORE,
) -> Training:
    """Train packs on the connected Ray, in their order. Returns at once."""
    # What goes wrong lies in the packs' folders, or in `crash`; Tune would print it as well.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    options = {"root": str(root), "attempt": trials.attempt, "permits": permits}
    scratch = lent.scratch / f"tune-{len(lent.before_shutdown)}"
    scratch.mkdir()
    crash: list[str] = []
    tuner = _tuner(demands, options, scratch, trials)
    thread = threading.Thread(target=_fit, args=(tuner, crash), name="tune", daemon=True)
    training = Training(thread=thread, trials=trials, end_mark=_end_mark(scratch), crash=crash)
    thread.start()
    lent.before_shutdown.append(training.end_and_wait)
    return training


def _fit(tuner: Any, crash: list[str]) -> None:
    _count_memory_as_a_death()
    _keep_credentials_here()
    try:
        tuner.fit()
    except Exception as error:
        crash.append(f"{type(error).__name__}: {error}")


def _count_memory_as_a_death() -> None:
    """Ray kills workers when a node is low on memory. Tune 2.60 takes that for a bug of its own if the worker was at
    work, and gives up all trials; if it was starting, it is a death like any other. Here it is one in both cases."""
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import OutOfMemoryError, RayActorError

    original = RayActorManager._actor_task_failed
    if getattr(original, "knows_memory", False):
        return

    def _actor_task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(self, tracked_actor_task, exception)

    _actor_task_failed.knows_memory = True  # type: ignore[attr-defined]
    RayActorManager._actor_task_failed = _actor_task_failed  # type: ignore[method-assign]


def _keep_credentials_here() -> None:
    """Tune 2.60 copies this process's AWS_... variables into the runtime environment of its workers, which the agent of
    each node writes to its log. Nodes have credentials of their own, or they could not see the sweep."""
    from ray.tune.execution import class_cache

    class_cache.ENV_VARS_TO_PROPAGATE = {
        name for name in class_cache.ENV_VARS_TO_PROPAGATE if not name.startswith("AWS_")
    }


def _end_mark(scratch: Path) -> Path:
    return scratch / "end"


def _stopper(mark: Path) -> Any:
    from ray import tune

    class EndMark(tune.Stopper):
        """Stops all trials when the file is there."""

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            return False

        def stop_all(self) -> bool:
            return mark.exists()

    return EndMark()


def _listener(told: Trials) -> Any:
    from ray import tune

    counted: dict[str, int] = {}

    class Listener(tune.Callback):
        """Tells what Tune does with each trial."""

        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            told.begun(trial.config["pack_id"])

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            told.ended(trial.config["pack_id"])

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            told.ended(trial.config["pack_id"])

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            pack_id, failures = trial.config["pack_id"], trial.run_metadata.num_failures
            # Tune does not count it if a node was taken away with notice.
            is_preempted, counted[pack_id] = failures == counted.get(pack_id, 0), failures
            if not told.died(pack_id, _last_error(trial), is_preempted=is_preempted):
                # Tune has put it back into its queue already. It ends there: of a pack that has failed in this launch
                # a worker has nothing to do, and if it dies before it can say so, that was the last time.
                trial.max_failures = 0

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles what it is given, for a restore that is never made

    return Listener()


def _last_error(trial: Any) -> str:
    """What Ray says of a trial's last failure. (`trial.get_error` looks where Tune copies this to, later.)"""
    text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace") if trial.error_file else ""
    return text.rpartition("Failure # ")[2].partition("\n")[2].strip()


def _tuner(demands: Mapping[str, Demand], options: dict[str, Any], scratch: Path, trials: Trials) -> Any:
    from ray import tune

    def resources(config: dict[str, Any]) -> Any:
        demand = demands[config["pack_id"]]
        return tune.PlacementGroupFactory([{"CPU": demand.cpus, "GPU": demand.gpus}])

    # reuse_actors and one step per trial: what a pack costs beyond its training is 0.2 s. How many trials may be
    # pending is left at Tune's 200 for a grid: demand enough for an autoscaler, and nothing bounds those at work.
    return tune.Tuner(
        tune.with_resources(_trainable(), resources),
        param_space={
            "pack_id": tune.grid_search(list(demands)),
            "sources": sources_digest(),
            **options,
        },
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(
            name="packs",
            stop=_stopper(_end_mark(scratch)),
            storage_path=str(scratch / "state"),
            verbose=0,
            callbacks=[_listener(trials)],
            # Who has died too often is known by `trials`, which says when to stop.
            failure_config=tune.FailureConfig(max_failures=-1),
            # By default Tune copies a "checkpoint" of each trial to storage_path, which other nodes do not see.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )


def _trainable() -> Any:
    from ray import tune

    class TrainPack(tune.Trainable):
        """One step is a whole pack."""

        def step(self) -> dict[str, Any]:
            return {"end": train_in_worker(**self.config), "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Never called: checkpoints are the store's."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """A pack goes on from the store."""

    return TrainPack


def require_same_sources(digest: str) -> None:
    """Raises UserError unless this process imported the code that the driver has."""
    found = sources_digest()
    if found != digest:
        folders = ", ".join(map(str, package_folders()))
        raise UserError(
            f"this worker imported other code than the driver ({found}, not {digest}) from {folders}",
            exit_code=EXIT_ENVIRONMENT,
        )


def train_in_worker(
    root: str,
    pack_id: str,
    attempt: int,
    sources: str,
    permits: Permits = NOTHING_MORE,
) -> str:
    """A trial. A recorded failure ends it like any other result, so that only dead processes are tried again."""
    from orchestrator.worker import try_pack
    from results.store import SweepStore

    store = SweepStore(root)
    _require_folder(store)
    if _was_given_up(store, pack_id, attempt):
        return "failed"
    try:
        require_same_sources(sources)
    except UserError as error:
        pack_id = store.current_pack(pack_id)
        store.pack(pack_id).write_failure(f"pack {pack_id}\n{error}", attempt)
        return "failed"
    if store.stop_requested():
        return "drained"
    return try_pack(store.root, pack_id, attempt, store.stop_requested, permits)


def _require_folder(store: "SweepStore") -> None:
    """Raises UserError on a node that joined after the others were asked, and does not see the sweep's folder."""
    if not store.exists():
        raise UserError(
            f"{platform.node()} sees no sweep in {store.root}: --out must lie where all nodes of the cluster see it",
            exit_code=EXIT_ENVIRONMENT,
        )


def _was_given_up(store: "SweepStore", pack_id: str, attempt: int) -> bool:
    """Whether this very launch has said that the pack has failed."""
    failure = store.pack(store.current_pack(pack_id)).failure()
    return failure is not None and failure.attempt == attempt
