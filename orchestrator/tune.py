"""Ray Tune as a scheduler of packs, and nothing else.

One trial trains one pack, first come first served. Tune is told the ids of the unfinished packs; what they are lies in
the plan, what they did lies in the store, and neither is ever read through Tune. Its own state goes to a folder that is
thrown away, and `Tuner.restore` is not used: launching again builds a new Tuner over what the store lacks.
"""

import atexit
import importlib
import logging
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import ray_auth, ray_session
from orchestrator.errors import (
    EXIT_ENVIRONMENT,
    EXIT_UNAVAILABLE,
    ClusterLostError,
    UserError,
)
from orchestrator.head import Head, knock
from orchestrator.machine import Node, cpu_count, visible_gpus
from orchestrator.permits import NOTHING_MORE, Permits
from orchestrator.scratch import scratch_folder
from orchestrator.signals import handlers_kept
from orchestrator.sources import package_folders, sources_digest
from orchestrator.trials import Trials
from results.places import Place

THREAD_END_S = 120.0
"""For which a Tuner is given to end. It waits 5 to 15 s for busy workers and kills them; on a machine with three such
launches on two cores, 30 s were not always enough."""
PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own setting, read from the environment: for so long (a minute by default) a head may be gone."""
PATIENCE_S = 60.0
GRACE_S = 120.0
"""After which Ray ends the process by itself, without a word of ours."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Packs exchange nothing through Ray's object store; by default it would take 30 % of the memory."""
SILENT: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the connected Ray has when it is met."""

    nodes: tuple[Node, ...]
    scratch: Path
    """A folder of this launch, gone when the block ends."""
    trainings: list["Training"] = field(default_factory=list)
    head: Head | None = None

    @property
    def cpus(self) -> int:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> int:
        return sum(node.gpus for node in self.nodes)

    def require_alive(self) -> None:
        """Raises ClusterLostError if the cluster is gone for good."""
        if self.head:
            self.head.require_alive()


@contextmanager
def cluster(address: str | None) -> Iterator[Cluster]:
    """Within the block Ray is connected: to `address`, or to a new local Ray that ends with the block.

    Raises:
        UserError: no cluster answers at the address, or the token is missing or wrong, or Ray does not start here.
    """
    with scratch_folder() as scratch:
        before, here = dict(os.environ), Path.cwd()
        patience_s = float(before.get(PATIENCE, PATIENCE_S))
        os.environ.update({**ray_session.QUIET, PATIENCE: f"{patience_s + GRACE_S:.0f}"})
        try:
            # Ray puts the driver's current folder first on the workers' path: a trainers.py in it would shadow ours.
            os.chdir(scratch)
            with handlers_kept():
                _connect(address, scratch)
            os.chdir(here)
            with _connected(scratch, patience_s) as lent:
                yield lent
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)
            ray_auth.reread()


@contextmanager
def _connected(scratch: Path, patience_s: float) -> Iterator[Cluster]:
    import ray

    _hush()
    head = _head(patience_s)
    lent = Cluster(nodes=tuple(_lent(node) for node in _nodes() if node["Alive"]), scratch=scratch, head=head)
    head.start()
    try:
        yield lent
    except ClusterLostError:
        # Without a head the Tuner never ends, and neither does ray.shutdown: the command line ends the process.
        atexit.unregister(ray._private.worker.shutdown)
        raise
    except BaseException:
        _shut_down(lent)
        raise
    else:
        _shut_down(lent)
    finally:
        head.stop()


def _head(patience_s: float) -> Head:
    import ray

    here = ray.get_runtime_context()
    own_node = here.get_node_id()

    def is_own_node_alive() -> bool:
        return any(node["Alive"] for node in _nodes() if node["NodeID"] == own_node)

    return Head(here.gcs_address, patience_s, is_own_node_alive)


def _nodes() -> list[dict[str, Any]]:
    import ray

    return list(ray.nodes())  # type: ignore[no-untyped-call]


def _lent(node: dict[str, Any]) -> Node:
    has = node["Resources"]
    return Node(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)), memory_bytes=has.get("memory"))


def _hush() -> None:
    """Ray prints what nodes report of workers and raylets that died, with their whole logs, over our own lines."""
    ray_worker = importlib.import_module("ray._private.worker")
    ray_worker.print_to_stdstream = lambda *args, **options: None  # type: ignore[attr-defined]


def _shut_down(lent: Cluster) -> None:
    """A Tuner at work when Ray goes crashes the process (seen: a segmentation fault), so it is ended first."""
    import ray

    try:
        for training in lent.trainings:
            training.end()
            training.wait(THREAD_END_S)
    finally:
        ray.shutdown()


def _connect(address: str | None, scratch: Path) -> None:
    if address is not None:
        _join(address)
        return
    ray_auth.start_guarded()
    _lead_workers_to_our_packages()
    for is_last in (False, True):
        try:
            _start_local(scratch)
        except Exception as error:  # Ray raises a plain Exception after 30 s, which a busy machine may need
            if is_last:
                raise UserError(
                    f"Ray does not start on this machine: {_first_line(error)}",
                    exit_code=EXIT_UNAVAILABLE,
                    hint="Is it out of memory, or very busy? `--local` trains without Ray, with the same result.",
                ) from error
        else:
            return


def _start_local(scratch: Path) -> None:
    import ray

    ray.init(
        address="local",
        num_cpus=cpu_count(),
        num_gpus=visible_gpus(),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        # One level down: Ray makes this folder writable for everybody.
        _temp_dir=str(scratch / "ray"),
        **SILENT,
    )


def _join(address: str) -> None:
    import ray

    try:
        knock(address)
        ray_session.meet(address)
        ray.init(address=address, runtime_env=ray_session.runtime_env(), **SILENT)
        ray_session.require_guard(address)
    except (OSError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
        if ray_auth.is_about_the_token(error):
            raise ray_auth.wrong_token(address) from error
        raise UserError(
            f"no Ray cluster answers at {address}: {_first_line(error)}",
            exit_code=EXIT_UNAVAILABLE,
            hint="`ray status --address HOST:6379` shows whether it is up; without --address a local Ray is started.",
        ) from error


def _lead_workers_to_our_packages() -> None:
    """Workers of a local Ray inherit this environment and find our packages where this process found them."""
    roots = dict.fromkeys(str(folder.parent) for folder in package_folders())
    old = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*roots, *([old] if old else [])])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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

    def end_if_idle(self) -> None:
        """End it if no pack is at work: those that wait for a node might wait for ever."""
        if not self.trials.at_work:
            self.end()


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a pack asks Ray for."""

    cpus: int
    gpus: float


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
    scratch = lent.scratch / f"tune-{len(lent.trainings)}"
    scratch.mkdir()
    crash: list[str] = []
    tuner = _tuner(demands, options, scratch, trials)
    thread = threading.Thread(target=_fit, args=(tuner, crash), name="tune", daemon=True)
    training = Training(thread=thread, trials=trials, end_mark=_end_mark(scratch), crash=crash)
    thread.start()
    lent.trainings.append(training)
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


def _require_folder(store: Any) -> None:
    """Raises UserError on a node that joined after the others were asked, and does not see the sweep's folder."""
    if not store.exists():
        raise UserError(
            f"{platform.node()} sees no sweep in {store.root}: --out must lie where all nodes of the cluster see it",
            exit_code=EXIT_ENVIRONMENT,
        )


def _was_given_up(store: Any, pack_id: str, attempt: int) -> bool:
    """Whether this very launch has said that the pack has failed."""
    failure = store.pack(store.current_pack(pack_id)).failure()
    return failure is not None and failure.attempt == attempt
