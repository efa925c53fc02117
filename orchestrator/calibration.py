"""This machine's speed: measured once, kept in the user's cache folder, read whenever a sweep is planned.

`calibrate` has reference packs trained by a process of its own (several at once, as packs run) and fits the constants
of trainers.cost to their times. Only `doctor` and `launch` do that; a plan only reads the file, so that it stays quick
and needs no torch. Nothing that is measured here changes the bits of a trace once a plan is frozen.

Eager packs are timed in about 20 s. The compiled engine would take half a minute of compiling for each shape, so it is
timed by `doctor --calibrate` alone and on few shapes: what these leave open keeps its shipped proportion.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.costs import FormulaCost
from orchestrator.machine import cache_folder, compiling_environment, cpu_model
from orchestrator.slots import Slots
from results import durable
from trainers.cost import COST_VERSION, SPEEDS, Amounts, Speed
from trainers.trace import Engine

PACKS: dict[Engine, tuple[str, ...]] = {
    "eager": (
        "toy-32x8", "toy-32x64", "toy-200x16", "p31-4x2", "p31-4x24", "p31-32x8", "p113-8x4", "p113-64x4",
    ),
    "compiled": ("toy-32x64", "p31-32x8", "p113-64x4"),
}  # fmt: skip
"""References of trainers.timing."""
TIMEOUT_S = {"eager": 180.0, "compiled": 600.0}
AT_ONCE = 8
"""Processes that are timed side by side, at most."""
PRIOR = 0.1
"""Weight of the shipped constants, as relative errors, against one reference pack: they fill in what is left open."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was found on a machine."""

    speeds: Mapping[Engine, Speed]
    errors: Mapping[Engine, float]
    """Median error of the formula against the packs that it was fitted to, as a share."""


def fingerprint(slots: Slots) -> dict[str, Any]:
    """What a calibration holds for. Needs torch only where there is a GPU."""
    device = "cpu"
    if slots.device == "cuda":
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cuda"
    return {
        "cost_version": COST_VERSION,
        "cpu": cpu_model(),
        "device": device,
        "threads": slots.cpus_per_pack,
        "at_once": min(slots.slots, AT_ONCE),
        "torch": version("torch"),
    }


def calibration_path(slots: Slots) -> Path:
    text = json.dumps(fingerprint(slots), sort_keys=True)
    return cache_folder() / f"calibration-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def read_calibration(slots: Slots) -> tuple[Calibration | None, str]:
    """What is stored for this machine, and a note if there is a file that is no use."""
    path = calibration_path(slots)
    try:
        return _parse(path.read_bytes(), fingerprint(slots)), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, f"{path} is not a calibration of this machine; `grokctl doctor --calibrate` writes it anew"


def stored_cost(slots: Slots) -> FormulaCost:
    """The cost model of this machine: as calibrated, else as shipped."""
    found, _ = read_calibration(slots)
    return FormulaCost(device=slots.device, measured=found.speeds if found else {})


def calibrate(slots: Slots, engines: Sequence[Engine] = ("eager",)) -> Calibration:
    """Measure this machine and store what was found.

    Raises subprocess.SubprocessError or ValueError if the measuring process fails, OSError if the cache folder does.
    """
    timed = {engine: measure(slots, engine) for engine in engines}
    speeds = {engine: fit(times, SPEEDS[slots.device][engine]) for engine, times in timed.items()}
    errors = {engine: median_error(times, speeds[engine]) for engine, times in timed.items()}
    before, _ = read_calibration(slots)
    if before:
        speeds, errors = {**before.speeds, **speeds}, {**before.errors, **errors}
    if "compiled" not in speeds:
        speeds["compiled"] = _in_proportion(speeds["eager"], slots.device)
    speeds["plain"] = speeds["eager"]
    found = Calibration(speeds=speeds, errors=errors)
    _write(calibration_path(slots), found, fingerprint(slots))
    return found


def measure(slots: Slots, engine: Engine) -> dict[str, float]:
    """Seconds of a step of each reference pack, in the mean over processes that run side by side."""
    request = {"engine": engine, "device": slots.device, "threads": slots.cpus_per_pack, "names": PACKS[engine]}
    # -P: files here must not shadow libraries.
    command = [sys.executable, "-P", "-m", "trainers.timing"]
    environment = {**compiling_environment(), **os.environ, "OMP_NUM_THREADS": str(slots.cpus_per_pack)}

    def answer(_: int) -> dict[str, float]:
        done = subprocess.run(
            command,
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S[engine],
            env=environment,
        )
        times: dict[str, float] = json.loads(done.stdout)
        return times

    at_once = min(slots.slots, AT_ONCE)
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(answer, range(at_once)))
    return {name: sum(times[name] for times in answers) / at_once for name in PACKS[engine]}


def fit(times: Mapping[str, float], shipped: Speed) -> Speed:
    """The speeds, none below zero, with the least squares of relative errors."""
    from scipy.optimize import nnls

    amounts = np.array([astuple(work) for work in _works(times)])
    seconds = np.array(list(times.values()))
    # The shipped constants, times how much slower this machine is all in all.
    prior = np.array(astuple(shipped)) * np.median(seconds / (amounts @ np.array(astuple(shipped))))
    # In units of these, whose sizes differ by a factor of a million.
    rows = np.concatenate([amounts * prior / seconds[:, None], PRIOR * np.eye(len(prior))])
    wanted = np.concatenate([np.ones(len(seconds)), np.full(len(prior), PRIOR)])
    factors, _ = nnls(rows, wanted)
    return Speed(**dict(zip((field.name for field in fields(Speed)), (factors * prior).tolist(), strict=True)))


def median_error(times: Mapping[str, float], speed: Speed) -> float:
    """|predicted - actual| / actual."""
    predicted = [np.dot(astuple(work), astuple(speed)) for work in _works(times)]
    errors = [abs(p - t) / t for p, t in zip(predicted, times.values(), strict=True)]
    return float(np.median(errors))


def _works(times: Mapping[str, float]) -> list[Amounts]:
    from trainers.cost import work_of_step
    from trainers.references import reference_packs

    packs = reference_packs()
    return [work_of_step(*packs[name], evaluations=False) for name in times]


def _in_proportion(eager: Speed, device: str) -> Speed:
    """Of the compiled engine: as much faster than eager as shipped."""
    shipped = SPEEDS[device]
    return Speed(
        **{
            name: getattr(shipped["compiled"], name) * getattr(eager, name) / getattr(shipped["eager"], name)
            for name in (field.name for field in fields(Speed))
        }
    )


def _parse(data: bytes, machine: Mapping[str, Any]) -> Calibration:
    record = json.loads(data)
    if record["machine"] != machine:
        raise ValueError("of another machine")
    speeds = {
        engine: Speed(**{name: float(s) for name, s in values.items()}) for engine, values in record["speeds"].items()
    }
    if not {"plain", "eager", "compiled"} <= speeds.keys():
        raise ValueError("an engine is missing")
    if not all(math.isfinite(s) and s >= 0 for speed in speeds.values() for s in astuple(speed)):
        raise ValueError("not speeds")
    if not all(sum(astuple(speed)) > 0 for speed in speeds.values()):
        raise ValueError("nothing takes time")
    return Calibration(speeds=speeds, errors={engine: float(error) for engine, error in record["errors"].items()})


def _write(path: Path, found: Calibration, machine: Mapping[str, Any]) -> None:
    record = {
        "machine": dict(machine),
        "speeds": {engine: vars(speed) for engine, speed in found.speeds.items()},
        "errors": dict(found.errors),
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable.replace_file(path, json.dumps(record, indent=1).encode(), tag=durable.process_tag())
