"""A Ray cluster that wants a token, as `ray start` makes it: a head, at the address by which other machines know this
one, and a node that joined it. On free ports, in a folder and a home of its own, and gone with all its processes when
the block ends."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch_helpers import wait_until

MARK = "GROKCTL_TEST_CLUSTER"
STARTS = 4
"""`ray start` gives up after 30 s, which a busy machine may need."""


@dataclass(frozen=True)
class Head:
    """A cluster at work."""

    url: str
    """Of its dashboard, on loopback."""
    address: str
    """Of its control store, which is not."""
    token: str
    folder: Path
    """Ray's own files and logs."""

    def answers(self) -> bool:
        request = urllib.request.Request(f"{self.url}/api/version", headers={"Authorization": f"Bearer {self.token}"})
        try:
            return urllib.request.urlopen(request, timeout=10).status == 200
        except OSError:
            return False


def free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@contextmanager
def guarded_cluster(**environment: str) -> Iterator[Head]:
    """Two nodes of one core. Their paths lead to no Python that has Ray, and their packages are those that come with a
    job. They inherit `environment`."""
    from ray.util import get_node_ip_address

    gcs, dashboard, client = free_ports(3)
    folder = Path(tempfile.mkdtemp(prefix="ray-test-", dir="/tmp"))  # Unix sockets want short paths
    ip = get_node_ip_address()
    head = Head(f"http://127.0.0.1:{dashboard}", f"{ip}:{gcs}", secrets.token_hex(32), folder / "ray")
    (folder / ".ray").mkdir(mode=0o700)
    (folder / ".ray" / "auth_token").touch(mode=0o600)
    (folder / ".ray" / "auth_token").write_text(head.token)
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", "RAY_AUTH_MODE": "token", **environment}
    environment |= {"OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}
    node = {
        "--num-cpus": 1, "--object-store-memory": 100 * 2**20, "--dashboard-agent-listen-port": 0,
        "--min-worker-port": 0, "--max-worker-port": 0,
    }  # fmt: skip
    of_head = {
        "--node-ip-address": ip, "--port": gcs, "--dashboard-port": dashboard, "--dashboard-host": "127.0.0.1",
        "--ray-client-server-port": client, "--temp-dir": head.folder,
    }  # fmt: skip
    first = ray_start("--head", "--disable-usage-stats", **of_head, **node)
    other = ray_start(**{"--address": head.address}, **node)
    try:
        with started(first, environment, folder / "log") as process:
            wait_until(head.answers, process)
            with started(other, environment, folder / "log-of-the-other"):
                yield head
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ray_start(*flags: str, **options: Any) -> list[str]:
    program = str(Path(sys.executable).parent / "ray")
    return [program, "start", "--block", *flags, *(f"{name}={value}" for name, value in options.items())]


@contextmanager
def started(command: list[str], environment: dict[str, str], log: Path) -> "Iterator[subprocess.Popen[str]]":
    """`ray start --block` at work. All that it starts has a mark, by which it is ended for sure."""
    environment = {**environment, MARK: secrets.token_hex(8)}
    for _ in range(STARTS):
        with log.open("w") as out, subprocess.Popen(
            command, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=log.parent,
            start_new_session=True, text=True,
        ) as process:  # fmt: skip
            try:
                wait_until(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None)
                if process.poll() is None:
                    yield process
                    return
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # Ray's agents write their titles over the mark
                wait_until(lambda: kill_all(environment[MARK]))
    raise AssertionError(log.read_text())


def kill_all(mark: str) -> bool:
    """Whether nothing was left to kill."""
    left = marked(mark)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return not left


def marked(mark: str) -> list[int]:
    """Processes that inherited a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended while we looked
    return found
