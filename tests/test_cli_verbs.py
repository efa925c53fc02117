"""What each verb prints, writes and leaves alone, on a finished sweep."""

import hashlib
import json
import resource
from pathlib import Path

import duckdb
import jsonschema
import pandas as pd
import pytest
import torch
import yaml
from conftest import Grokctl

from orchestrator import shipped
from results import open_sweep
from results.store import SweepStore


def contents(folder: Path) -> dict[str, str]:
    """sha256 of every file under a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def some_run(folder: Path) -> str:
    return str(open_sweep(folder).runs()["run_id"].iloc[0])


def test_check_counts_the_runs(grokctl: Grokctl, tiny_spec: Path) -> None:
    result = grokctl("check", tiny_spec)
    assert result.exit_code == 0
    assert "4 runs, no problems" in result.stdout


def test_check_takes_overrides_into_account(grokctl: Grokctl, tiny_spec: Path) -> None:
    result = grokctl("check", tiny_spec, "--set", "train_size=31", "--set", "dropout=2")
    assert result.exit_code == 65
    assert "--set dropout=2" in result.stderr
    assert "train_size" not in result.stderr


def test_plan_writes_nothing(grokctl: Grokctl, tiny_spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_spec.parent)
    before = contents(tiny_spec.parent)
    result = grokctl("plan", tiny_spec)
    assert result.exit_code == 0
    assert "runs      4 (160 run-steps)" in result.stdout
    assert contents(tiny_spec.parent) == before


def test_plan_as_json_holds_every_run(grokctl: Grokctl, tiny_spec: Path) -> None:
    plan = json.loads(grokctl("plan", tiny_spec, "--json").stdout)
    run_ids = [run_id for pack in plan["packs"] for run_id in pack["runs"]["run_id"]]
    assert len(set(run_ids)) == 4
    assert plan["name"] == "tiny"


def test_launching_a_finished_sweep_again_changes_nothing(grokctl: Grokctl, own_sweep: Path, tiny_spec: Path) -> None:
    before = contents(own_sweep)
    result = grokctl("launch", tiny_spec, "--local", "--out", own_sweep)
    assert result.exit_code == 0
    assert contents(own_sweep) == before


def test_status_of_a_finished_sweep(grokctl: Grokctl, finished_sweep: Path) -> None:
    result = grokctl("status", finished_sweep)
    assert result.exit_code == 0
    assert "state  finished" in result.stdout
    assert json.loads(grokctl("status", finished_sweep, "--json").stdout)["runs"]["ended"] == 4


def test_status_verify_finds_a_flipped_bit(grokctl: Grokctl, own_sweep: Path) -> None:
    whole = grokctl("status", own_sweep, "--verify")
    assert whole.exit_code == 0
    assert "as they were committed" in whole.stdout
    victim = next((own_sweep / "traces").glob("*.parquet"))
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    result = grokctl("status", own_sweep, "--verify")
    assert result.exit_code == 65
    assert victim.name in result.stdout


def test_stop_without_a_launch_leaves_nothing_behind(grokctl: Grokctl, own_sweep: Path) -> None:
    before = contents(own_sweep)
    result = grokctl("stop", own_sweep)
    assert result.exit_code == 0
    assert "nothing to stop" in result.stdout
    assert contents(own_sweep) == before


def test_stop_asks_the_launch_at_work(grokctl: Grokctl, own_sweep: Path) -> None:
    store = SweepStore(own_sweep)
    with store.lock():
        result = grokctl("stop", own_sweep)
        assert result.exit_code == 0
        assert "end at its next commits" in result.stdout
        assert store.stop_requested()


def test_label_again_with_another_threshold(grokctl: Grokctl, own_sweep: Path) -> None:
    picture = (own_sweep / "figures" / "phase_diagram.png").read_bytes()
    result = grokctl("label", own_sweep, "--set", "classifier.theta=0.05")
    assert result.exit_code == 0
    labels = open_sweep(own_sweep).labels()
    assert len(labels) == 4
    assert not labels["phase"].eq("confusion").any()
    assert all(json.loads(text)["theta"] == 0.05 for text in labels["thresholds"])
    assert (own_sweep / "figures" / "phase_diagram.png").read_bytes() != picture


def test_label_with_unchanged_knobs_gives_the_same_bytes(grokctl: Grokctl, own_sweep: Path) -> None:
    before = contents(own_sweep)
    assert grokctl("label", own_sweep).exit_code == 0
    assert contents(own_sweep) == before


def test_label_compare_tells_and_writes_nothing(grokctl: Grokctl, own_sweep: Path) -> None:
    before = contents(own_sweep)
    result = grokctl("label", own_sweep, "--set", "classifier.theta=0.05", "--compare")
    assert result.exit_code == 0
    assert "of 4 runs change their phase" in result.stdout
    assert "confusion ->" in result.stdout
    assert contents(own_sweep) == before


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_label_into_a_file(grokctl: Grokctl, own_sweep: Path, tmp_path: Path, suffix: str) -> None:
    before = contents(own_sweep)
    target = tmp_path / f"labels.{suffix}"
    assert grokctl("label", own_sweep, "-o", target).exit_code == 0
    written = pd.read_parquet(target) if suffix == "parquet" else pd.read_csv(target)
    assert list(written["phase"]) == list(open_sweep(own_sweep).labels()["phase"])
    assert contents(own_sweep) == before


@pytest.mark.parametrize("setting", ["theta=0.5", "classifier.thta=0.5", "classifier.theta=7", "classifier.theta"])
def test_label_refuses_what_is_no_knob(grokctl: Grokctl, own_sweep: Path, setting: str) -> None:
    before = contents(own_sweep)
    result = grokctl("label", own_sweep, "--set", setting)
    assert result.exit_code == 2
    assert "theta" in result.stderr
    assert contents(own_sweep) == before


def test_label_while_a_launch_is_at_work(grokctl: Grokctl, own_sweep: Path) -> None:
    with SweepStore(own_sweep).lock():
        assert grokctl("label", own_sweep, "--set", "classifier.theta=0.05").exit_code == 75


def test_diagram_over_other_axes(grokctl: Grokctl, own_sweep: Path) -> None:
    result = grokctl("diagram", own_sweep, "--x", "learning_rate", "--y", "seed")
    assert result.exit_code == 0
    figure = own_sweep / "figures" / "phase_diagram_learning_rate_seed.png"
    assert str(figure) in result.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_diagram_swaps_axes_when_one_is_given(grokctl: Grokctl, own_sweep: Path) -> None:
    assert grokctl("diagram", own_sweep, "--x", "learning_rate").exit_code == 0
    assert (own_sweep / "figures" / "phase_diagram_learning_rate_width.png").exists()


def test_diagram_into_a_file(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    before = contents(finished_sweep)
    assert grokctl("diagram", finished_sweep, "-o", tmp_path / "picture.svg").exit_code == 0
    assert "<svg" in (tmp_path / "picture.svg").read_text()
    assert contents(finished_sweep) == before


def test_diagram_of_what_is_no_column(grokctl: Grokctl, finished_sweep: Path) -> None:
    result = grokctl("diagram", finished_sweep, "--x", "wdth")
    assert result.exit_code == 2
    assert "width" in result.stderr


def test_diagram_without_labels(grokctl: Grokctl, own_sweep: Path) -> None:
    (own_sweep / "labels.parquet").unlink()
    result = grokctl("diagram", own_sweep)
    assert result.exit_code == 66
    assert "grokctl label" in result.stderr


def test_query_answers_and_leaves_the_sweep_alone(grokctl: Grokctl, own_sweep: Path) -> None:
    before = contents(own_sweep)
    result = grokctl("query", own_sweep, "SELECT count(DISTINCT run_id) AS n FROM traces WHERE width = 8")
    assert result.exit_code == 0
    assert result.stdout.split() == ["n", "2"]
    assert grokctl("query", own_sweep, "DROP VIEW labels").exit_code == 2
    assert contents(own_sweep) == before


def test_weights_are_a_plain_state_dict(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    run_id, target = some_run(finished_sweep), tmp_path / "run.pt"
    assert grokctl("weights", finished_sweep, run_id, "-o", target).exit_code == 0
    state = torch.load(target, weights_only=True)
    kept = SweepStore(finished_sweep).read_weights(run_id)
    assert {name: tensor.shape for name, tensor in state.items()} == {name: kept[name].shape for name in kept}
    n_parameters = open_sweep(finished_sweep).runs(run_id=run_id)["n_parameters"].item()
    assert sum(tensor.numel() for tensor in state.values()) == n_parameters


def test_weights_replace_no_file(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.pt"
    target.write_text("mine")
    assert grokctl("weights", finished_sweep, some_run(finished_sweep), "-o", target).exit_code == 73
    assert target.read_text() == "mine"


def test_weights_that_a_full_disk_cuts_short_leave_no_file(
    grokctl: Grokctl, finished_sweep: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
    try:
        result = grokctl("weights", finished_sweep, some_run(finished_sweep), "-o", tmp_path / "run.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == 74, result.output
    assert list(tmp_path.iterdir()) == []


def test_weights_of_a_run_that_is_not_there(grokctl: Grokctl, finished_sweep: Path) -> None:
    assert grokctl("weights", finished_sweep, "0123456789abcdef").exit_code == 66


def test_weights_by_the_beginning_of_an_id(grokctl: Grokctl, finished_sweep: Path, tmp_path: Path) -> None:
    run_id = some_run(finished_sweep)
    result = grokctl("weights", finished_sweep, run_id[:6], "-o", tmp_path / "run.pt")
    assert result.exit_code == 0, result.output
    kept = SweepStore(finished_sweep).read_weights(run_id)
    assert torch.load(tmp_path / "run.pt", weights_only=True).keys() == kept.keys()
    result = grokctl("weights", finished_sweep, "", "-o", tmp_path / "other.pt")
    assert (result.exit_code, "4 runs' ids begin with ''" in result.stderr) == (2, True)


def test_weights_that_a_sweep_does_not_keep(grokctl: Grokctl, tiny_spec: Path, tmp_path: Path) -> None:
    tiny_spec.write_text(tiny_spec.read_text().replace("keep: {weights: final}\n", ""))
    folder = tmp_path / "sweep"
    assert grokctl("launch", tiny_spec, "--local", "--out", folder, "--set", "steps=4").exit_code == 0
    result = grokctl("weights", folder, some_run(folder)[:8])
    assert result.exit_code == 66
    assert "the sweep keeps none; with `keep: {weights: final}` in its spec it would" in result.stderr


def test_clean_keeps_the_results(grokctl: Grokctl, own_sweep: Path) -> None:
    sweep = open_sweep(own_sweep)
    traces, labels = sweep.traces(), sweep.labels()
    result = grokctl("clean", own_sweep)
    assert result.exit_code == 0
    assert result.stdout.startswith("removed ")
    assert grokctl("clean", own_sweep).stdout == "nothing to remove\n"
    pd.testing.assert_frame_equal(open_sweep(own_sweep).traces(), traces)
    pd.testing.assert_frame_equal(open_sweep(own_sweep).labels(), labels)


def test_explain_one_phase_and_all(grokctl: Grokctl) -> None:
    one = grokctl("explain", "semi-grokking")
    assert one.exit_code == 0
    assert one.stdout.startswith("semi-grokking\n")
    everything = grokctl("explain").stdout
    assert one.stdout.strip() in everything
    assert "ungrokking\n" in everything


def test_explain_a_warning(grokctl: Grokctl) -> None:
    result = grokctl("explain", "chance_unknown")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "chance_unknown")
    assert "chance counts as 0" in result.stdout
    assert grokctl("explain", "was_grokking").exit_code == 0


def test_explain_in_any_case_and_with_what_was_meant(grokctl: Grokctl) -> None:
    assert grokctl("explain", "Grokking").stdout == grokctl("explain", "grokking").stdout
    for given, meant in (("groking", "grokking"), ("Semi_Grokking", "semi-grokking"), ("fel_again", "fell_again")):
        result = grokctl("explain", given)
        assert result.exit_code == 2
        assert f"no phase or warning is called {given!r}; did you mean {meant!r}?" in result.stderr


def test_explain_a_phase_that_is_none(grokctl: Grokctl) -> None:
    result = grokctl("explain", "grooking")
    assert result.exit_code == 2
    assert "semi-grokking" in result.stderr


def test_specs_lists_each_with_its_question(grokctl: Grokctl) -> None:
    listed = grokctl("specs").stdout.splitlines()
    assert [line.split()[0] for line in listed] == shipped.names()
    assert all(len(line.split()) > 3 for line in listed)


def test_specs_copies_and_replaces_nothing(grokctl: Grokctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert grokctl("specs", "quickstart", "--copy").exit_code == 0
    assert (tmp_path / "quickstart.yaml").read_text() == shipped.read("quickstart")
    (tmp_path / "quickstart.yaml").write_text("mine")
    assert grokctl("specs", "quickstart", "--copy").exit_code == 73
    assert (tmp_path / "quickstart.yaml").read_text() == "mine"


def test_specs_prints_what_launch_takes(grokctl: Grokctl) -> None:
    assert grokctl("specs", "quickstart").stdout == shipped.read("quickstart")


def test_specs_suggests_a_name(grokctl: Grokctl) -> None:
    result = grokctl("specs", "quikstart")
    assert result.exit_code == 66
    assert "Did you mean quickstart?" in result.stderr


def test_schema_accepts_what_is_shipped_and_refuses_what_is_not_a_spec(grokctl: Grokctl) -> None:
    schema = json.loads(grokctl("schema").stdout)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for name in shipped.names():
        assert list(validator.iter_errors(parsed(shipped.read(name)))) == []
    assert not validator.is_valid({"name": "x", "setps": 3})


def parsed(text: str) -> object:
    from orchestrator.yaml_source import parse_yaml

    return parse_yaml(text, "spec").data


def test_traces_are_read_by_pandas_and_duckdb_as_they_lie(finished_sweep: Path) -> None:
    frame = pd.read_parquet(finished_sweep / "traces")
    assert set(frame["width"]) == {4, 8}
    n = duckdb.sql(f"SELECT count(*) FROM '{finished_sweep}/traces/*.parquet'").fetchall()
    assert n == [(len(frame),)]
    assert yaml.safe_load((finished_sweep / "spec.yaml").read_text())["name"] == "tiny"
