"""What this machine can lend to packs: devices, cores, a compiler.

Looked up once, when a sweep is planned; the answer is frozen in the plan. torch is imported only where an NVIDIA device
exists, so that planning on a laptop stays fast.
"""

import functools
import os
import platform
import shutil
from pathlib import Path

from orchestrator.errors import EXIT_ENVIRONMENT, UserError
from orchestrator.packing import Device, Slots
from orchestrator.spec_model import Resources


def find_slots(resources: Resources) -> Slots:
    """The slots of this machine under the spec's `resources`."""
    return slots_of(resources, cpus=cpu_count(), gpus=visible_gpus())


def slots_of(resources: Resources, *, cpus: int, gpus: int) -> Slots:
    """The slots of a machine or cluster with so many cores and GPUs.

    `device: auto` means CUDA where there is a GPU. A spec that declares GPUs keeps them under `device: cpu` too (Ray
    then schedules by them, and torch does not use them).
    """
    device = _resolve_device(resources, gpus)
    gpus_per_pack = resources.gpus_per_pack
    if gpus_per_pack is None:
        gpus_per_pack = 1.0 if device == "cuda" else 0.0
    cpus_per_pack = resources.cpus_per_pack or 1
    by_cpu = max(1, cpus // cpus_per_pack)
    by_gpu = max(1, int(gpus / gpus_per_pack + 1e-9)) if gpus_per_pack else by_cpu
    return Slots(
        device=device,
        slots=min(by_cpu, by_gpu),
        cpus_per_pack=cpus_per_pack,
        gpus_per_pack=gpus_per_pack,
        has_compiler=find_compiler() is not None,
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
