"""grokctl doctor: what it finds, and what it advises."""

from collections import namedtuple
from pathlib import Path

import pytest
from conftest import Grokctl

from orchestrator import doctor
from orchestrator.calibration import Calibration
from trainers.cost import SPEEDS

FOUND = Calibration(speeds=SPEEDS["cpu"], errors={"eager": 0.07})
Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch and Ray in processes of their own takes seconds; one test does it for real."""
    monkeypatch.setattr(doctor, "_probe", lambda code: ["1.2.3"])
    monkeypatch.setattr(doctor, "calibrate", lambda slots, engines: FOUND)


def finding(subject: str) -> doctor.Finding:
    return next(item for item in doctor.examine(Path()) if item.subject == subject)


def test_a_fit_machine(grokctl: Grokctl) -> None:
    result = grokctl("doctor")
    assert result.exit_code == 0
    for subject in ("grokctl", "libraries", "torch", "GPU", "Ray", "cores", "memory", "C++", "disk", "speed"):
        assert f"  {subject} " in result.stdout


def test_probe_runs_in_a_python_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert doctor._probe("print(1); print(2)") == ["1", "2"]
    assert doctor._probe("import os; os.abort()") is None
    assert doctor._probe("import no_such_module") is None


def test_without_torch_nothing_can_be_trained(grokctl: Grokctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code: None if "torch" in code else ["1.2.3"])
    result = grokctl("doctor")
    assert result.exit_code == 78
    assert "MISSING  torch" in result.stdout
    assert "pip install" in result.stdout


def test_without_ray_there_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code: None if "ray" in code else ["1.2.3"])
    ray = finding("Ray")
    assert ray.level == "note"
    assert "--local" in ray.advice


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_probe", lambda code: ["1.2.3", "NVIDIA H100"])
    assert finding("GPU").finding == "NVIDIA H100"


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_compiler", lambda: None)
    monkeypatch.setattr("orchestrator.machine.find_compiler", lambda: None)
    assert finding("C++").level == "note"
    assert doctor.is_fit(doctor.examine(Path()))


def test_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(10**12, 10**12 - 10**8, 10**8))
    disk = finding("disk")
    assert disk.level == "note"
    assert "0.1 GB free" in disk.finding


def test_missing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIBRARIES", ("numpy", "no-such-library"))
    assert finding("libraries").finding == "not installed: no-such-library"
