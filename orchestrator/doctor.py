"""What this machine can do, and what to do about what it can't.

torch and Ray are tried in processes of their own: a broken installation of either may well kill the process that
imports it, and the doctor has to survive its patients.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from orchestrator.calibration import calibrate, read_calibration
from orchestrator.machine import cpu_count, find_compiler, find_slots
from orchestrator.spec_model import Resources
from orchestrator.version import describe
from trainers.config import RunConfig
from trainers.cost import seconds_per_run_step
from trainers.trace import Engine

PROBE_TIMEOUT_S = 120
LEAST_FREE_GB = 2.0
LEAST_MEMORY_GB = 2.0
SHOWN = RunConfig(modulus=31, width=32, train_size=400, steps=8000)
LANES = 8
"""A pack of `double_descent_small`, whose speed is shown."""
LIBRARIES = ("numpy", "pandas", "pyarrow", "pydantic", "duckdb", "matplotlib", "scipy", "safetensors")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["ok", "note", "missing"]
    """missing: without it grokctl cannot train. note: it works, and could work better."""
    subject: str
    finding: str
    advice: str = ""
    """What to do about it."""


def examine(folder: Path, *, calibrate: bool = False) -> list[Finding]:
    """Look at this machine; `folder` is where sweeps would be written. `calibrate`: measure its speed once more."""
    found = [_python(), *_libraries(), *_torch(), _ray(), _cores(), _memory(), _compiler(), _disk(folder)]
    return [*found, _speed(calibrate)] if is_fit(found) else found


def report(findings: list[Finding]) -> str:
    """A line for each finding, and below it what to do."""
    marks = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}
    lines = []
    for item in findings:
        lines.append(f"{marks[item.level]}  {item.subject:<12}{item.finding}")
        if item.advice:
            lines.append(f"{'':21}{item.advice}")
    return "\n".join(lines)


def is_fit(findings: list[Finding]) -> bool:
    return all(item.level != "missing" for item in findings)


def _python() -> Finding:
    return Finding(level="ok", subject="grokctl", finding=f"{describe()}, Python {sys.version.split()[0]}")


def _libraries() -> Iterator[Finding]:
    missing = [name for name in LIBRARIES if _version_of(name) is None]
    if missing:
        yield Finding(
            level="missing", subject="libraries", finding=f"not installed: {', '.join(missing)}", advice=_reinstall()
        )
    else:
        found = ", ".join(f"{name} {_version_of(name)}" for name in LIBRARIES)
        yield Finding(level="ok", subject="libraries", finding=found)


def _torch() -> Iterator[Finding]:
    code = """
import torch
print(torch.__version__)
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    print(torch.cuda.get_device_name(i))
"""
    answer = _probe(code)
    if answer is None:
        yield Finding(level="missing", subject="torch", finding="cannot be imported", advice=_reinstall())
        return
    yield Finding(level="ok", subject="torch", finding=answer[0])
    yield _gpus(answer[1:])


def _gpus(names: list[str]) -> Finding:
    if names:
        return Finding(level="ok", subject="GPU", finding=", ".join(names))
    if any(Path("/dev").glob("nvidia[0-9]*")):
        advice = "Install a build of torch for CUDA that suits the driver (`nvidia-smi` shows its version)."
        return Finding(level="note", subject="GPU", finding="there is one, but torch can't use it", advice=advice)
    return Finding(level="ok", subject="GPU", finding="none; sweeps run on the CPU")


def _ray() -> Finding:
    answer = _probe("import ray.tune; print(ray.__version__)")
    if answer is None:
        advice = f"`launch --local` works without it. {_reinstall()}"
        return Finding(level="note", subject="Ray", finding="cannot be imported", advice=advice)
    return Finding(level="ok", subject="Ray", finding=answer[0])


def _cores() -> Finding:
    return Finding(level="ok", subject="cores", finding=f"{cpu_count()} for this process")


def _memory() -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    text = f"{total:.1f} GB, {available:.1f} GB of it free"
    if total < LEAST_MEMORY_GB:
        advice = f"Each worker needs about 1 GB; with less than {LEAST_MEMORY_GB:g} GB use `launch --local`."
        return Finding(level="note", subject="memory", finding=text, advice=advice)
    return Finding(level="ok", subject="memory", finding=text)


def _compiler() -> Finding:
    path = find_compiler()
    if path is None:
        advice = "Big packs train faster with one (torch.compile needs it): install g++ or clang++."
        return Finding(level="note", subject="C++", finding="no compiler; packs run uncompiled", advice=advice)
    return Finding(level="ok", subject="C++", finding=path)


def _speed(calibrate_anew: bool) -> Finding:
    """Measured here if it never was: in about 20 s, or with the compiled engine in a few minutes."""
    slots = find_slots(Resources())
    found, note = read_calibration(slots)
    if found is None or calibrate_anew:
        engines: list[Engine] = ["eager", "compiled"] if calibrate_anew and slots.has_compiler else ["eager"]
        try:
            found = calibrate(slots, engines)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            advice = "Sweeps run all the same; their estimated times are those of another machine."
            return Finding(level="note", subject="speed", finding=f"could not be measured: {error}", advice=advice)
        note = ""
    steps = {engine: 1 / seconds_per_run_step(SHOWN, LANES, found.speeds[engine]) for engine in found.errors}
    shown = ", ".join(f"{speed:,.0f} ({engine})" for engine, speed in steps.items())
    errors = ", ".join(f"{error:.0%}" for error in found.errors.values())
    text = f"{shown} run-steps/s of a transformer 32 wide on one core; the formula is off by {errors} in the median"
    return Finding(level="ok", subject="speed", finding=text, advice=note)


def _disk(folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    text = f"{free_gb:.1f} GB free in {folder}"
    if free_gb < LEAST_FREE_GB:
        advice = "`grokctl plan SPEC` tells what a sweep will write; --out DIR puts it elsewhere."
        return Finding(level="note", subject="disk", finding=text, advice=advice)
    return Finding(level="ok", subject="disk", finding=text)


def _probe(code: str) -> list[str] | None:
    """The lines that a fresh Python prints for `code`, None if it fails. -P: files here must not shadow libraries."""
    try:
        answer = subprocess.run(
            [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return None
    return answer.stdout.splitlines() if answer.returncode == 0 else None


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _reinstall() -> str:
    return f"Install grokctl's requirements again: {sys.executable} -m pip install --upgrade --force-reinstall grokctl"
