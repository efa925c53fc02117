"""What training costs, in the form in which the planner asks, and by the formula of trainers.cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.slots import Device
from trainers import cost
from trainers.config import RunConfig
from trainers.cost import Speed
from trainers.trace import Engine


class CostModel(Protocol):
    """What training costs on the device that is planned for."""

    @property
    def calibrated(self) -> bool:
        """Whether it rests on a measurement of this machine."""

    def preferred_lanes(self, config: RunConfig, engine: Engine) -> int:
        """Lanes beyond which a run-step gets no cheaper, within memory."""

    def seconds_per_run_step(self, config: RunConfig, lanes: int, engine: Engine) -> float:
        """Seconds of one training step of one run among so many lanes, evaluation included."""

    def memory_bytes(self, config: RunConfig, lanes: int) -> float:
        """Peak memory of the worker that trains such a pack."""

    def checkpoint_bytes(self, config: RunConfig, lanes: int) -> float:
        """Size of a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class FormulaCost:
    """By the formula of trainers.cost, with the speeds of this machine or, if it was not measured, of another one."""

    device: Device
    measured: Mapping[Engine, Speed] = field(default_factory=dict)
    """From this machine's calibration."""

    @property
    def calibrated(self) -> bool:
        return bool(self.measured)

    def preferred_lanes(self, config: RunConfig, engine: Engine) -> int:
        return cost.preferred_lanes(stand_in(config), engine, self.device)

    def seconds_per_run_step(self, config: RunConfig, lanes: int, engine: Engine) -> float:
        speed = self.measured.get(engine) or cost.SPEEDS[self.device][engine]
        return cost.seconds_per_run_step(stand_in(config), lanes, speed)

    def memory_bytes(self, config: RunConfig, lanes: int) -> float:
        return cost.memory_bytes(stand_in(config), lanes, self.device)

    def checkpoint_bytes(self, config: RunConfig, lanes: int) -> float:
        return cost.checkpoint_bytes(stand_in(config), lanes)


def stand_in(config: RunConfig) -> RunConfig:
    """The config; of a network of the user's that of an mlp of its width and depth, because what the network costs is
    not known before it has run."""
    return config.model_copy(update={"model": "mlp", "combine": None}) if config.model == "code" else config
