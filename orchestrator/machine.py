"""What this machine can lend to packs: devices, cores, a compiler.

Looked up once, when a sweep is planned; the answer is frozen in the plan. torch is imported only where an NVIDIA device
exists, so that planning on a laptop stays fast.
"""

import functools
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import EXIT_ENVIRONMENT, EXIT_PERMISSION, UserError
from orchestrator.slots import Device, Slots
from orchestrator.spec_model import Resources

CGROUPS = Path("/sys/fs/cgroup")
USABLE = 0.8
"""Of the memory that is free: Ray itself takes some, and the estimates may be off."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """What one machine of a cluster lends."""

    cpus: int
    gpus: int
    memory_bytes: float | None = None
    """Of the host; None: not known."""

    def packs(self, cpus_per_pack: int, gpus_per_pack: float) -> int:
        """That fit side by side. A share of a GPU is a share of one of them: two thirds of one and a third of another
        are no GPU."""
        by_cpu = self.cpus // cpus_per_pack
        if not gpus_per_pack:
            return by_cpu
        if gpus_per_pack > 1:
            return min(by_cpu, int(self.gpus // gpus_per_pack))
        return min(by_cpu, self.gpus * int(1 / gpus_per_pack + 1e-9))


def find_slots(resources: Resources) -> Slots:
    """The slots of this machine under the spec's `resources`."""
    gpus = visible_gpus()
    return slots_of(
        resources,
        cpus=cpu_count(),
        gpus=gpus,
        free_bytes=free_memory(),
        free_gpu_bytes=free_gpu_memory() if gpus else None,
    )


def slots_of(
    resources: Resources, *, cpus: int, gpus: int, free_bytes: float | None = None, free_gpu_bytes: float | None = None
) -> Slots:
    """The slots of a machine with so many cores and GPUs; memory where it is known: of the host, of a GPU."""
    return slots_of_nodes(resources, [Node(cpus=cpus, gpus=gpus, memory_bytes=free_bytes)], free_gpu_bytes)


def slots_of_nodes(resources: Resources, nodes: Sequence[Node], free_gpu_bytes: float | None = None) -> Slots:
    """The slots of a cluster, whose nodes may differ; at least one, because nodes may come when there is demand.

    `device: auto` means CUDA where there is a GPU. A spec that declares GPUs keeps them under `device: cpu` too (Ray
    then schedules by them, and torch does not use them).
    """
    device = _resolve_device(resources, sum(node.gpus for node in nodes))
    gpus_per_pack = resources.gpus_per_pack
    if gpus_per_pack is None:
        gpus_per_pack = 1.0 if device == "cuda" else 0.0
    cpus_per_pack = resources.cpus_per_pack or 1
    packs = [(node, node.packs(cpus_per_pack, gpus_per_pack)) for node in nodes]
    if device == "cuda":
        memory = None if free_gpu_bytes is None else free_gpu_bytes * min(1.0, gpus_per_pack)
    else:
        # A pack may land on any node, so it must fit where there is least for each.
        lending = [(node.memory_bytes, n) for node, n in packs if n] or [(node.memory_bytes, 1) for node in nodes]
        memory = min((memory / n for memory, n in lending if memory is not None), default=None)
    return Slots(
        device=device,
        slots=max(1, sum(n for _, n in packs)),
        cpus_per_pack=cpus_per_pack,
        gpus_per_pack=gpus_per_pack,
        has_compiler=find_compiler() is not None,
        pack_memory_bytes=None if memory is None else float(round(memory * USABLE)),
    )


def _resolve_device(resources: Resources, gpus: int) -> Device:
    if resources.device == "auto":
        # A declared GPU that nothing here shows is left for the worker to refuse: it sees the machine that it runs on.
        return "cuda" if gpus or resources.gpus_per_pack else "cpu"
    return resources.device


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def cpu_model() -> str:
    """Linux tells it in /proc/cpuinfo; elsewhere platform has a coarser name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def visible_gpus() -> int:
    """GPUs that torch can use here; torch is asked only if the driver left a trace on this machine."""
    if not (any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi")):
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def free_memory() -> float | None:
    """Bytes that this process could still take: what Linux calls available, within the limits of its control groups."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        group = Path("/proc/self/cgroup").read_text().splitlines()[-1].rpartition(":")[2]
    except (OSError, IndexError):
        return None
    (available,) = (1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    within = CGROUPS / group.lstrip("/")
    limits = (_free_in_group(folder) for folder in (within, *within.parents) if CGROUPS in (folder, *folder.parents))
    return min([available, *(free for free in limits if free is not None)])


def _free_in_group(folder: Path) -> float | None:
    """None without a limit."""
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        stats = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return None
    # Files that were read count as used until somebody needs the room.
    return None if limit == "max" else max(0.0, float(limit) - float(used) + float(stats.get("inactive_file", 0)))


def kernel_kills() -> dict[str, Any]:
    """How many processes the kernel has killed for memory since this machine started, and which start that was; empty
    where it does not say. A process that it kills can't tell, but the count that it left behind can."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        stats = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
        return {"boot": boot, "oom_kills": int(stats["oom_kill"])}
    except (OSError, KeyError, ValueError):
        return {}


def free_gpu_memory() -> float:
    """Bytes free on the GPU with the least."""
    import torch

    return float(min(torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())))


def cache_folder() -> Path:
    """grokctl's own in the user's cache."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".cache") / "grokctl"


def compiling_environment() -> dict[str, str]:
    """For torch.compile, unless the user has set these: kernels lie in a folder of the user's cache, which all workers
    share. They are compiled in the worker itself: torch's pool of processes would outlive a killed one, and packs share
    the cores as it is."""
    kernels = private_folder(cache_folder() / "inductor")
    return {"TORCHINDUCTOR_CACHE_DIR": str(kernels), "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def private_folder(path: Path) -> Path:
    """The folder, made if need be, and closed to everybody else: what is compiled there is later run.

    Raises:
        UserError: it belongs to somebody else.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid != os.geteuid():
        raise UserError(
            f"{path} belongs to another user, who could run code as you",
            exit_code=EXIT_PERMISSION,
            hint="Remove it, or set XDG_CACHE_HOME to a folder of your own.",
        )
    path.chmod(0o700)
    return path


def find_compiler() -> str | None:
    """A C++ compiler on the path; torch.compile needs one."""
    names = (os.environ.get("CXX"), "c++", "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def require_visible_gpu(device: Device, gpus_per_pack: float) -> None:
    """Refuse to train on the CPU what was meant for a GPU.

    Raises:
        UserError: the pack is to run on CUDA and torch cannot see a device.
    """
    if device != "cuda":
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"this pack was given {gpus_per_pack:g} GPU, but torch {torch.__version__} can't see one",
            exit_code=EXIT_ENVIRONMENT,
            hint="Install a CUDA build of torch, or set `resources: {device: cpu}` in the spec.",
        )
