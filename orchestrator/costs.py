"""What training costs on this machine, in the form in which the planner asks."""

from dataclasses import dataclass

from orchestrator.packing import Device
from trainers import cost
from trainers.config import RunConfig
from trainers.trace import Engine


@dataclass(frozen=True, kw_only=True)
class FormulaCost:
    """By the formulas of trainers.cost, measured on another machine: ratios hold better than seconds."""

    device: Device

    @property
    def calibrated(self) -> bool:
        return False

    def preferred_lanes(self, config: RunConfig) -> int:
        return cost.preferred_lanes(config, self.device)

    def seconds_per_run_step(self, config: RunConfig, lanes: int, engine: Engine) -> float:
        return cost.seconds_per_run_step(config, lanes, engine, self.device)
