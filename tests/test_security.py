"""The promises of safety, one test each: nothing is executed, nothing foreign is touched, nothing secret is written."""

import ast
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cli_processes import run
from conftest import TINY_SPEC, Grokctl
from test_cli_verbs import contents

from orchestrator import machine
from orchestrator.errors import SpecError, UserError
from orchestrator.spec import load_text
from results import open_sweep
from results.headers import Header, encode_header, read_header
from results.plan_files import plan_identity

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainers", "results", "orchestrator")
EXECUTE = {"eval", "exec", "compile", "__import__"}
UNSAFE_MODULES = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "imp"}
UNSAFE_CALLS = {
    ("yaml", "load"), ("yaml", "full_load"), ("yaml", "unsafe_load"), ("os", "system"), ("os", "popen"),
    ("subprocess", "getoutput"), ("torch", "load"), ("np", "load"), ("pd", "read_pickle"), ("tempfile", "mktemp"),
}  # fmt: skip


def unsafe_in(source: str) -> list[str]:
    """What this code could execute, or read as code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] in UNSAFE_MODULES]
        if not isinstance(node, ast.Call):
            continue
        match node.func:
            case ast.Name(id=name) if name in EXECUTE:
                found.append(f"{node.lineno}: {name}()")
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in UNSAFE_CALLS:
                safe = any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in node.keywords)
                found += [] if safe else [f"{node.lineno}: {module}.{name}()"]
        for keyword in node.keywords:
            if keyword.arg == "shell" and ast.unparse(keyword.value) != "False":
                found.append(f"{node.lineno}: shell={ast.unparse(keyword.value)}")
    return found


def test_no_code_of_ours_executes_what_it_reads():
    found = {
        path.relative_to(ROOT).as_posix(): unsafe
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (unsafe := unsafe_in(path.read_text()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    ["eval('1')", "import pickle", "from pickle import loads", "yaml.load(x)", "run('ls', shell=True)", "torch.load(x)",
     "np.load(x)", "np.load(x, allow_pickle=True)", "os.system('ls')", "exec(x)"],
)  # fmt: skip
def test_what_executes_would_be_found(line: str):
    assert unsafe_in(line)


@pytest.mark.parametrize(
    "text",
    [
        "x: !!python/object/apply:os.system ['touch pwned']",
        "x: !!python/name:os.system",
        "a: &a [1]\nb: *a",
        "<<: {name: x}",
        "? [a, b]\n: 1",
        "name: x\nname: y",
        "[" * 2000,
        "{a: " * 2000,
        "- " * 3000 + "x",
        "%TAG ! tag:yaml.org,2002:python/\n---\n!name:os.system x",
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError):
        load_text(text)
    assert list(tmp_path.iterdir()) == []


def test_a_product_of_axes_is_bounded_before_it_is_made(grokctl: Grokctl, tmp_path: Path):
    axes = "".join(f"  {name}: {{linspace: [0.1, 0.5, 1000000]}}\n" for name in ("dropout", "beta1", "beta2"))
    spec = tmp_path / "bomb.yaml"
    spec.write_text(TINY_SPEC.replace("grid:\n", f"grid:\n{axes}"))
    result = grokctl("check", spec)
    assert result.exit_code == 65
    assert "runs" in result.stderr


SECRETS = ("RAY_AUTH_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "WANDB_API_KEY", "HF_TOKEN")


def test_secrets_are_written_nowhere(tmp_path: Path):
    """A canary in the environment is in no file and no line that a launch leaves, not even if a pack fails."""
    canary = "canary-6f1d2c"
    spec = tmp_path / "spec.yaml"
    spec.write_text(TINY_SPEC)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    secrets = dict.fromkeys(SECRETS, canary)
    done = run("launch", spec, "--local", "--out", tmp_path / "sweep", env={**secrets, **cache})
    told = run("status", tmp_path / "sweep", "--json", env=secrets)
    assert (done.returncode, told.returncode) == (0, 0), done.stderr
    assert canary not in done.stdout + done.stderr + told.stdout + told.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_the_compilers_cache_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = os.umask(0)
    try:
        kernels = Path(machine.compiling_environment()["TORCHINDUCTOR_CACHE_DIR"])
    finally:
        os.umask(before)
    assert stat.S_IMODE(kernels.stat().st_mode) == 0o700
    kernels.chmod(0o777)
    machine.compiling_environment()
    assert stat.S_IMODE(kernels.stat().st_mode) == 0o700
    monkeypatch.setattr(machine.os, "geteuid", lambda: kernels.stat().st_uid + 1)
    with pytest.raises(UserError, match="another user") as refused:
        machine.compiling_environment()
    assert refused.value.exit_code == 77


def test_weights_are_read_back_without_executing_anything(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path):
    run_id = open_sweep(finished_sweep).runs()["run_id"].iloc[0]
    assert grokctl("weights", finished_sweep, run_id, "-o", tmp_path / "w.pt").exit_code == 0
    assert torch.load(tmp_path / "w.pt", weights_only=True)


def test_clean_and_launch_delete_only_what_is_theirs(grokctl: Grokctl, own_sweep: Path, tmp_path: Path):
    """Files of the user stay wherever they lie in a sweep, whatever they are called."""
    pack = next((own_sweep / "packs").iterdir())
    mine = [own_sweep / "notes.txt", own_sweep / ".hidden", own_sweep / "traces" / "mine.txt", pack / "notes.txt"]
    mine += [pack / "segment.parquet", pack / "checkpoint-1.bin", pack / "header-00001.json", own_sweep / "x.tmp"]
    mine += [own_sweep / "figures" / "mine.png"]
    for path in mine:
        path.write_text("mine")
    assert grokctl("clean", own_sweep).exit_code == 0
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY_SPEC)
    assert grokctl("launch", spec, "--local", "--out", own_sweep).exit_code == 0
    assert [path.read_text() for path in mine] == ["mine"] * len(mine)


THESIS = "../thesis.tex"
HOSTILE: dict[str, Callable[[Header], dict[str, object]]] = {
    "segment": lambda it: {"segments": (replace(it.segments[0], path=THESIS), *it.segments[1:])},
    "beside it": lambda it: {"segments": (replace(it.segments[0], path=f"packs/{it.pack_id}/../../{THESIS}"),)},
    "of another kind": lambda it: {"segments": (replace(it.segments[0], path="spec.yaml"),)},
    "published": lambda it: {"published": (replace(it.published[0], path=THESIS), *it.published[1:])},
    "in traces": lambda it: {"published": (replace(it.published[0], path=f"traces/../{THESIS}"), *it.published[1:])},
    "staged": lambda it: {"published": (replace(it.published[0], staged=THESIS), *it.published[1:])},
    "further": lambda it: {"further": (replace(it.segments[0], path=THESIS),)},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_header_cannot_name_files_of_others(
    grokctl: Grokctl, own_sweep: Path, change: Callable[[Header], dict[str, object]]
):
    """Whoever hands on a sweep can seal any header; verbs that remove and publish obey none that leads elsewhere."""
    thesis = own_sweep.parent / "thesis.tex"
    thesis.write_text("years of work")
    for path in own_sweep.glob("packs/*/*.json"):
        if path.name.startswith(("done", "header")):
            header = read_header(path)
            path.write_bytes(encode_header(replace(header, **change(header))))
    before = contents(own_sweep.parent)
    for arguments in (("clean", own_sweep), ("launch", own_sweep, "--local"), ("status", own_sweep, "--verify")):
        told = grokctl(*arguments)
        assert (told.exit_code, "names a file that is not this pack's" in told.output) == (65, True), told.output
    now = contents(own_sweep.parent)
    assert {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)} <= {"sweep/launch.lock"}
    assert grokctl("status", own_sweep, "--repair").exit_code == 0
    assert thesis.read_text() == "years of work"


@pytest.mark.parametrize("name", ["../stolen", "/tmp/stolen", "a/b", ".", ""])
def test_a_plan_cannot_name_files_of_others(grokctl: Grokctl, own_sweep: Path, name: str):
    """An archive is called after the sweep, folders after its packs."""
    plan = json.loads((own_sweep / "plan.json").read_bytes())
    for hostile in ({"name": name}, {"packs": [{**plan["packs"][0], "pack_id": name}, *plan["packs"][1:]]}):
        changed = {**plan, **hostile}
        (own_sweep / "plan.json").write_text(json.dumps({**changed, "plan_id": plan_identity(changed)}))
        for verb in ("archive", "status", "clean"):
            told = grokctl(verb, own_sweep)
            assert (told.exit_code, "can name no file" in told.stderr) == (65, True), told.output


def test_a_link_in_the_place_of_a_folder_is_not_followed_by_a_repair(grokctl: Grokctl, own_sweep: Path, tmp_path: Path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    (own_sweep / "traces").rename(tmp_path / "traces")
    (own_sweep / "traces").symlink_to(theirs)
    assert grokctl("status", own_sweep, "--repair").exit_code in (0, 65)
    assert [path.name for path in theirs.glob("*.tex")] == ["thesis.tex"]
    assert not (own_sweep / "traces").is_symlink()


def test_a_folder_of_somebody_else_is_refused_whole(grokctl: Grokctl, tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "packs").mkdir()
    (tmp_path / "theirs" / "packs" / "data.bin").write_bytes(b"data")
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY_SPEC)
    before = contents(tmp_path)
    for arguments in (("launch", spec, "--local", "--out"), ("clean",), ("stop",), ("status",)):
        assert grokctl(*arguments, tmp_path / "theirs").exit_code in (66, 73)
    assert contents(tmp_path) == before
