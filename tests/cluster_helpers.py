"""Ray clusters of several nodes on this machine, whose parts tests may lose, and launches that use them.

Every process that belongs to a cluster carries a mark in its environment, so that what outlives it can be found. Dead
nodes are noticed within seconds (Ray's own defaults are half a minute and more).
"""

import contextlib
import hashlib
import os
import random
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
from cli_processes import running
from launch_helpers import assert_same_traces, no_debris

from orchestrator import ray_auth
from results.store import SweepStore
from results.verify import verify

MARK = "GROKCTL_CLUSTER_MARK"
PATIENCE_S = 6
"""For which a lost head is waited for."""
SHORT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE_S),
    "RAY_USAGE_STATS_ENABLED": "0",
    # Without a token a cluster off loopback is refused, and Ray takes 127.0.0.1 for the machine's other address.
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "OMP_NUM_THREADS": "1",
}
LOSSY = '{"*": {"num_failures": 40, "req_failure_prob": 4, "resp_failure_prob": 4}}'
"""For RAY_testing_rpc_failure: each process drops up to so many requests or answers, of every kind."""
NODE_S = 900.0
"""For which a node is given to join."""


class LocalCluster:
    """A head, on which launches run and packs do not unless it has cores, and nodes beside it."""

    def __init__(self, nodes: int = 2, *, head_cpus: int = 0, cpus: int = 1, gpus: int = 0, **environment: str) -> None:
        from ray.cluster_utils import Cluster

        self.mark = uuid.uuid4().hex
        self._cpus, self._gpus, self._environment = cpus, gpus, environment
        self._folder = Path(tempfile.mkdtemp(prefix="grc-", dir="/tmp"))  # paths of sockets must be short
        self._frozen: list[int] = []
        head = {"num_cpus": head_cpus, "include_dashboard": False, "temp_dir": str(self._folder), "dashboard_port": 0}
        # Not the cluster that `--address auto` finds: others on this machine may have one.
        self._cluster = Cluster(shutdown_at_exit=False)
        try:
            with self.environment(), patience(), mock.patch("ray._private.utils.write_ray_address"):
                self._cluster.add_node(**head)
            self.address: str = self._cluster.address
            for _ in range(nodes):
                self.add_node()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def environment(self, **own: str) -> Iterator[None]:
        """What Ray's processes inherit."""
        before = dict(os.environ)
        os.environ.update({**SHORT, **self._environment, **own, MARK: self.mark})
        ray_auth.reread()  # this process talks to the head, too
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    @property
    def nodes(self) -> list[Any]:
        """All but the head, oldest first."""
        return sorted(self._cluster.worker_nodes, key=lambda node: node.unique_id)

    def add_node(self, environment: Mapping[str, str] | None = None, **arguments: Any) -> Any:
        given = {"num_cpus": self._cpus, "num_gpus": self._gpus, **arguments}
        with self.environment(**(environment or {})), patience():
            node = self._cluster.add_node(wait=False, **given)
        self._cluster._wait_for_node(node, NODE_S)
        return node

    def launch(self, spec: Path, folder: Path, *options: object, **settings: Any) -> Any:
        """`grokctl launch --address`, in a process of its own; a context manager that gives it."""
        environment = {**SHORT, **self._environment, MARK: self.mark, **settings.pop("env", {})}
        arguments = ("launch", spec, "--out", folder, "--address", self.address, *options)
        return running(*arguments, env=environment, stderr=subprocess.STDOUT, **settings)

    # Faults

    def kill_worker(self, rng: random.Random) -> bool:
        """kill -9 of a process that trains; False if there is none now."""
        pids = self.workers()
        if pids:
            _kill(rng.choice(pids))
        return bool(pids)

    def lose_node(self, node: Any) -> None:
        """Its raylet and whatever belongs to it, at once."""
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_raylet(self, node: Any) -> None:
        """Only the raylet, with kill -9: its workers find out by themselves."""
        node.kill_raylet(check_alive=False)
        self._cluster.worker_nodes.discard(node)
        self._cluster.worker_nodes.add(node)

    def drain_node(self, node: Any, notice_s: float = 1.0) -> None:
        """Takes a node away with notice, as clouds do: told to the head, then lost."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline_ms = time.time_ns() // 1_000_000 + int(notice_s * 1000)
        GcsClient(address=self.address).drain_node(node.node_id, reason, "taken away by a test", deadline_ms)
        threading.Event().wait(notice_s)
        self.lose_node(node)

    def lose_head(self) -> None:
        """The control plane is gone; nodes are left to notice."""
        self._cluster.head_node.kill_gcs_server(check_alive=False)
        self._cluster.head_node.kill_raylet(check_alive=False)

    def freeze(self, node: Any) -> None:
        """A partitioned node: SIGSTOP to its raylet and all below it."""
        self._frozen = [*_descendants(_raylet(node)), _raylet(node)]
        _send(self._frozen, signal.SIGSTOP)

    def thaw(self) -> list[int]:
        """SIGCONT; the processes that wake up."""
        woken, self._frozen = self._frozen, []
        _send(woken, signal.SIGCONT)
        return woken

    # Looking

    def workers(self, node: Any = None) -> list[int]:
        """Processes that train, of one node or of all."""
        roots = [_raylet(node)] if node else [_raylet(node) for node in (*self.nodes, self._cluster.head_node)]
        below = {pid for root in roots if root for pid in _descendants(root)}
        return [pid for pid in below if _title(pid).startswith("ray::ResourceTrainable.train")]

    def alive(self) -> int:
        """Nodes that the head takes for alive, itself included."""
        return len(self._cluster.global_state._live_node_ids())

    def processes(self) -> list[int]:
        """Whatever still runs of this cluster and of launches on it."""
        return [pid for pid in _all_pids() if f"{MARK}={self.mark}".encode() in _environ(pid)]

    def close(self) -> None:
        """Ends all, however little is left of it."""
        self.thaw()
        for pid in self.processes():
            _kill(pid)
        for node in filter(None, [*self._cluster.worker_nodes, self._cluster.head_node]):
            for infos in node.all_processes.values():
                for info in infos:
                    info.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        ray_auth.reread()


@contextlib.contextmanager
def local_cluster(nodes: int = 2, **options: Any) -> Iterator[LocalCluster]:
    cluster = LocalCluster(nodes, **options)
    try:
        yield cluster
    finally:
        cluster.close()


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Ray gives a raylet half a minute to start, which a busy machine may need more than once."""
    from ray._private import services

    get_node, deadline = services.get_node, time.monotonic() + NODE_S

    def get_node_at_last(*arguments: Any) -> Any:
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise

    with mock.patch.object(services, "get_node", get_node_at_last):
        yield


def _raylet(node: Any) -> int:
    """0 if it is dead."""
    infos = [info for kind, infos in node.all_processes.items() if kind == "raylet" for info in infos]
    return next((info.process.pid for info in infos if info.process.poll() is None), 0)


def _all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _environ(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""


def _title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for pid in _all_pids():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(pid)
    found, todo = [], [root]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _kill(pid: int) -> None:
    _send([pid], signal.SIGKILL)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if pid > 0:
                os.kill(pid, number)


# What must hold after every fault


def finished_files(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Inode, time and sha256 of all that belongs to packs that are done, and of what they published."""
    store = SweepStore(folder)
    paths: list[Path] = []
    for pack_id in store.pack_ids():
        pack = store.pack(pack_id)
        if pack.is_done():
            named = [pack.files.path(entry) for entry in pack.files.header(pack.files.done).published]
            live = [path for path in pack.files.folder.glob("segment-*")]
            paths += [*(path for path in named if path.exists()), *live, pack.files.done]
    return {path.relative_to(folder).as_posix(): _identity(path) for path in paths}


def _identity(path: Path) -> tuple[int, int, str]:
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()


def violations(folder: Path, undisturbed: Path) -> list[str]:
    """What is wrong with a sweep that has come to its end: nothing, if all is as promised."""
    found = [str(finding) for finding in verify(folder)]
    try:
        assert_same_traces(folder, undisturbed)
    except AssertionError as error:
        found.append(f"traces differ from the undisturbed ones: {str(error).splitlines()[0]}")
    if _published(folder) != _published(undisturbed):
        found.append("files of traces have other names or bytes")
    if not no_debris(folder):
        found.append("debris is left")
    if SweepStore(folder).holder() is not None:
        found.append("the lock is held")
    labels = [
        pd.read_parquet(path / "labels.parquet").sort_values("run_id", ignore_index=True)
        for path in (folder, undisturbed)
    ]
    if not labels[0].equals(labels[1]):
        found.append("labels differ")
    return found


def _published(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "traces").iterdir())}
