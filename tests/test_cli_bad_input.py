"""Whatever a user hands over: a clear message, the documented exit code, no traceback, nothing lost or overwritten."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY_SPEC, Grokctl, invoke
from test_cli_verbs import contents

from results.store import SweepStore

BOMB = "".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)]
)

BAD_SPECS = {
    "a YAML syntax error": (TINY_SPEC.replace("width: [4, 8]", "width: [4, 8"), "not YAML"),
    "two documents": (TINY_SPEC + "---\n" + TINY_SPEC, "second document"),
    "a key twice": (TINY_SPEC + "steps: 50\n", "steps"),
    "an unknown key": (TINY_SPEC.replace("steps:", "setps:"), "steps"),
    "a wrong type": (TINY_SPEC.replace("steps: 40", "steps: many"), "steps"),
    "a bool for a number": (TINY_SPEC.replace("steps: 40", "steps: true"), "steps"),
    "NaN": (TINY_SPEC.replace("weight_decay: 1.0", "weight_decay: .nan"), "weight_decay"),
    "an empty axis": (TINY_SPEC.replace("width: [4, 8]", "width: []"), "grid.width"),
    "a training set above the table": (TINY_SPEC.replace("train_size: 30", "train_size: 50"), "train_size"),
    "heads that do not divide the width": (TINY_SPEC.replace("heads: 1", "heads: 3"), "heads"),
    "a grid of 10^12 runs": (
        TINY_SPEC.replace(
            "width: [4, 8]",
            "\n  ".join(
                f"{name}: {{linspace: [0.1, 0.5, 1000]}}" for name in ("dropout", "beta1", "beta2", "momentum")
            ),
        ),
        "runs",
    ),
    "an alias bomb": (BOMB + TINY_SPEC, "alias"),
    "a call in an expression": (TINY_SPEC.replace("op: a + b", "op: __import__('os').system('touch pwned')"), "op"),
    "a call in a filter": (TINY_SPEC + "where: print(width) > 3\n", "where"),
    "nothing at all": ("", "mapping"),
    "a list": ("- a\n- b\n", "mapping"),
    "a name that is a path": (TINY_SPEC.replace("name: tiny", "name: ../tiny"), "name"),
}


def assert_refused(result: object, code: int, *words: str) -> None:
    exit_code, errors = result.exit_code, result.stderr  # type: ignore[attr-defined]
    assert exit_code == code, errors
    assert "Traceback" not in errors
    for word in words:
        assert word in errors


@pytest.mark.parametrize("kind", BAD_SPECS)
@pytest.mark.parametrize("command", [("check",), ("plan",), ("launch", "--local")])
def test_bad_spec(
    kind: str, command: tuple[str, ...], grokctl: Grokctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, word = BAD_SPECS[kind]
    spec = tmp_path / "bad.yaml"
    spec.write_text(text)
    result = grokctl(command[0], spec, *command[1:])
    assert_refused(result, 65, f"{spec}:", word)
    assert list(contents(tmp_path)) == ["bad.yaml"]


def test_place_of_a_problem_is_shown(grokctl: Grokctl, tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text(TINY_SPEC.replace("steps: 40", "steps: true").replace("heads: 1", "haeds: 1"))
    errors = grokctl("check", spec).stderr
    assert f"{spec}:4:38: model.haeds" in errors
    assert f"{spec}:6:8: steps" in errors
    assert "did you mean" in errors
    assert "    steps: true\n           ^" in errors


def test_missing_file(grokctl: Grokctl, tmp_path: Path) -> None:
    assert_refused(grokctl("check", tmp_path / "no.yaml"), 66, "no.yaml")


def test_unknown_shipped_name(grokctl: Grokctl) -> None:
    assert_refused(grokctl("launch", "no_such_spec"), 66, "no_such_spec")


def test_a_folder_for_a_spec(grokctl: Grokctl, tmp_path: Path) -> None:
    assert_refused(grokctl("check", tmp_path), 66, "folder")


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01\0\0\0", b"name: \xff\xfe\xfa"], ids=["NUL", "not UTF-8"])
def test_binary_file(data: bytes, grokctl: Grokctl, tmp_path: Path) -> None:
    spec = tmp_path / "binary.yaml"
    spec.write_bytes(data)
    assert_refused(grokctl("check", spec), 65, "binary")


def test_folder_of_another_spec(grokctl: Grokctl, own_sweep: Path, tmp_path: Path) -> None:
    before = contents(own_sweep)
    other = tmp_path / "other.yaml"
    other.write_text(TINY_SPEC.replace("weight_decay: 1.0", "weight_decay: 2.0"))
    result = grokctl("launch", other, "--local", "--out", own_sweep)
    assert_refused(result, 73, "weight_decay", "1.0 -> 2.0")
    assert contents(own_sweep) == before


def test_folder_of_nobody(grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    result = grokctl("launch", tiny_spec, "--local", "--out", folder)
    assert_refused(result, 73, "thesis.tex")
    assert list(contents(folder)) == ["thesis.tex"]


def test_file_in_place_of_the_folder(grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("mine")
    assert_refused(grokctl("launch", tiny_spec, "--local", "--out", target), 73)
    assert_refused(grokctl("launch", tiny_spec, "--local", "--out", target / "below"), 73)
    assert target.read_text() == "mine"


def test_second_launch_while_the_first_is_at_work(grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    store = SweepStore(tmp_path / "sweep")
    with store.lock():
        store.begin_attempt()
        result = grokctl("launch", tiny_spec, "--local", "--out", tmp_path / "sweep")
    assert_refused(result, 75, f"pid {os.getpid()}", "attempt 1")


def drop_root_rights() -> None:
    """From here on root needs permission bits like everybody else (PR_CAPBSET_DROP of CAP_DAC_OVERRIDE)."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)


def test_no_permission_to_write(tiny_spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir(mode=0o555)
    result = subprocess.run(
        [Path(sys.executable).parent / "grokctl", "launch", tiny_spec, "--local", "--out", folder / "sweep"],
        capture_output=True,
        text=True,
        preexec_fn=drop_root_rights,
    )
    assert result.returncode == 77, result.stderr
    assert "Permission denied" in result.stderr
    assert "--out" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["status", "stop", "label", "diagram", "clean"])
def test_folder_that_is_no_sweep(verb: str, grokctl: Grokctl, tmp_path: Path) -> None:
    assert_refused(grokctl(verb, tmp_path), 66, "not the folder of a sweep")
    assert_refused(grokctl(verb, tmp_path / "nothing"), 66, f"there is no file or folder {tmp_path / 'nothing'}")
    assert contents(tmp_path) == {}


def test_a_table_for_a_folder(grokctl: Grokctl, tmp_path: Path) -> None:
    table = tmp_path / "tg.csv"
    table.write_text("step,train_accuracy,val_accuracy\n1,0,0\n")
    for arguments in ((table, "run"), (table,)):
        result = grokctl("explain", *arguments)
        assert_refused(result, 66, f"explain takes the folder of a sweep, {table} is a file")
        assert f"`grokctl label {table}` labels it" in result.stderr
    assert_refused(grokctl("status", table), 66, f"{table} is a file, not the folder of a sweep")


def test_traces_that_are_not_there(grokctl: Grokctl, tmp_path: Path) -> None:
    nothing = tmp_path / "nosuch.csv"
    assert_refused(grokctl("label", nothing, "--map", "step=epoch"), 66, f"there is no file or folder {nothing}")


@pytest.mark.parametrize("verb", ["status", "stop", "label", "diagram", "clean"])
@pytest.mark.parametrize("damage", ["edited", "truncated", "emptied"])
def test_damaged_plan(verb: str, damage: str, grokctl: Grokctl, own_sweep: Path) -> None:
    plan = own_sweep / "plan.json"
    text = plan.read_text()
    plan.write_text({"edited": text.replace('"lanes": ', '"lanes": 1'), "truncated": text[:500], "emptied": ""}[damage])
    before = contents(own_sweep)
    assert_refused(grokctl(verb, own_sweep), 65, "plan.json")
    assert contents(own_sweep) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("launch",),
        ("launch", "x.yaml", "--nope"),
        ("nope",),
        ("launch", "x.yaml", "--max-hours", "soon"),
        ("launch", "x.yaml", "--set", "steps"),
        ("query", "somewhere"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert_refused(invoke(*arguments), 2)


@pytest.mark.parametrize(
    ("only", "why"),
    [
        ("open('/etc/passwd')", "--only"),
        ("'width <= 32'", "names no hyperparameter"),  # quotes that a shell left there
        ("task + 1 > 2", "text cannot be calculated with"),
        ("width == 999", "selects none of"),
    ],
)
def test_filters_for_only_that_select_nothing_one_could_mean(
    only: str, why: str, grokctl: Grokctl, tiny_spec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "sweep"
    result = grokctl("launch", tiny_spec, "--local", "--out", out, "--only", only)
    assert_refused(result, 2, f"--only {only}", why)
    assert not (out / "plan.json").exists()


def test_local_and_address_exclude_each_other(grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    result = grokctl("launch", tiny_spec, "--local", "--address", "auto", "--out", tmp_path / "sweep")
    assert_refused(result, 2, "--local", "--address")


@pytest.mark.parametrize("option", ["0", "-1", "nan"])
def test_max_hours_that_leave_no_time(option: str, grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    result = grokctl("launch", tiny_spec, "--local", "--max-hours", option, "--out", tmp_path / "sweep")
    assert_refused(result, 2, "--max-hours")
    assert not (tmp_path / "sweep").exists()


def test_an_empty_address_starts_no_local_ray(grokctl: Grokctl, tiny_spec: Path) -> None:
    result = grokctl("launch", tiny_spec, "--address", "", "--out", tiny_spec.parent / "sweep")
    assert result.exit_code == 2
    assert "--address is empty" in result.output
    assert not (tiny_spec.parent / "sweep").exists()
