"""The built wheel, installed: grokctl works from an empty folder, and from one with files named like its packages.

These launches use a real local Ray, whose workers are processes of their own and look for modules in their own way.
"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent
TRAP = "from pathlib import Path\nPath(__file__).with_name('trap-{name}').touch()\nraise ImportError('not ours')\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel; requirements are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    # A line of a .pth file adds the folder alone: the .pth of an editable installation in it is not read.
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--ignore-installed", wheel], check=True, capture_output=True)
    return folder / "venv" / "bin"


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command that must succeed, in an environment that says nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    answer = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def launch_quickstart(installed: Path, folder: Path) -> None:
    """A short quickstart; it must leave a labelled sweep behind."""
    output = run(installed / "grokctl", "launch", "quickstart", "--set", "steps=20", cwd=folder)
    sweep = folder / "sweeps" / "quickstart"
    labels = pd.read_parquet(sweep / "labels.parquet")
    assert len(labels) >= 100
    assert set(pd.read_parquet(sweep / "traces")["run_id"]) == set(labels["run_id"])
    assert (sweep / "figures" / "phase_diagram.png").exists()
    assert "sweeps/quickstart/figures/phase_diagram.png" in output


def test_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "import orchestrator, results, trainers; print(orchestrator.__file__, results.__file__, trainers.__file__)"
    for path in run(installed / "python", "-c", code, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed.parent)


def test_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert "quickstart" in run(installed / "grokctl", "specs", cwd=tmp_path)
    launch_quickstart(installed, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweeps"]


def test_from_a_folder_with_files_named_like_our_packages(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "trainers.py").write_text(TRAP.format(name="trainers"))
    (tmp_path / "orchestrator.py").write_text(TRAP.format(name="orchestrator"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "__init__.py").write_text(TRAP.format(name="results"))
    assert "quickstart" in run(installed / "grokctl", "specs", cwd=tmp_path)
    launch_quickstart(installed, tmp_path)
    assert list(tmp_path.rglob("trap-*")) == []
