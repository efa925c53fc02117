"""A Ray to train on: one that is running, or one of this machine that ends with the launch.

Ray takes liberties with its driver: it is led by variables, takes signals, prints what others said, and puts the
current folder before our packages. All of that is held off, or undone, here, and the rest of a launch need not know.
"""

import atexit
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import ray_auth, ray_session
from orchestrator.errors import EXIT_UNAVAILABLE, ClusterLostError, UserError
from orchestrator.head import Head, knock
from orchestrator.machine import Node, cpu_count, visible_gpus
from orchestrator.scratch import scratch_folder
from orchestrator.signals import handlers_kept
from orchestrator.sources import package_folders

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
    before_shutdown: list[Callable[[], None]] = field(default_factory=list)
    """What ends whatever uses this Ray. A Tuner at work when Ray goes crashes the process (seen: a segmentation
    fault)."""
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
    import ray

    try:
        for end in lent.before_shutdown:
            end()
    finally:
        if lent.head:
            lent.head.stop()
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
