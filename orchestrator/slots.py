"""What packs are planned for: slots of one kind of device, and what a pack in one of them gets. Plain values."""

from dataclasses import dataclass
from typing import Literal

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many packs run side by side, and what each of them gets."""

    device: Device
    slots: int
    cpus_per_pack: int
    gpus_per_pack: float
    has_compiler: bool
    pack_memory_bytes: float | None = None
    """That one pack may take; None: not known."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What a pack asks of the machine that it runs on."""

    cpus: int
    gpus: float
