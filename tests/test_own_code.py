"""A user's own task, model and metrics: they run when allowed and never else, and as runs of ours do."""

import contextlib
import difflib
import io
import json
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import Grokctl
from hypothesis import given, settings
from hypothesis import strategies as st
from launch_helpers import assert_same_traces, launch_here
from trainers_helpers import final_vector, trace, train

from orchestrator import tune
from orchestrator.errors import SpecError, UserError
from orchestrator.expand import expand
from orchestrator.jobs import verbs
from orchestrator.permits import Permits
from orchestrator.resolved import resolved_spec, spec_digest
from orchestrator.sources import sources_digest
from orchestrator.spec import load_spec, load_text
from results import open_sweep
from results.errors import DamagedError
from results.store import SweepStore
from trainers import own_code, tasks
from trainers.config import RunConfig
from trainers.errors import CodeError
from trainers.models import layout

CODE = """\
import os

import numpy as np
import torch

with open(os.environ.get("GROKCTL_TEST_MARK", os.devnull), "a") as mark:
    mark.write("x")


def task(config, rng):
    a, b = np.divmod(np.arange(49), 7)
    shift = rng.integers(7)
    return {"inputs": np.stack([a, b], 1), "targets": (a + b + shift) % 7, "subsets": {"even": a % 2 == 0}}


def init(config, generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator) / config.width**0.5

    return {"embed": normal(config.modulus, config.width), "readout": normal(config.width, 7)}


def apply(params, inputs, config):
    return torch.relu(params["embed"][inputs].sum(-2)) @ params["readout"]


def margin(seen):
    best = seen.logits.topk(2).values
    return (best[:, 0] - best[:, 1]).mean()
"""
SPEC = """\
name: mine
code: mine.py
task: {kind: code, n_examples: 49, n_tokens: 2, modulus: 7, n_classes: 7}
model: {kind: code, width: 8}
optimizer: {learning_rate: 1e-2, weight_decay: 1.0}
steps: 24
train_size: 30
metrics: [margin, val_accuracy_even]
evaluation: {growth: 2, gaps: 6}
grid: {width: [8, 4], learning_rate: [1e-2, 1e-3]}
resources: {device: cpu}
keep: {weights: final}
"""


def put(folder: Path, code: str = CODE, spec: str = SPEC) -> Path:
    (folder / "mine.py").write_text(code)
    (folder / "mine.yaml").write_text(spec)
    return folder / "mine.yaml"


HasRun = Callable[[], bool]


@pytest.fixture
def has_run(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> HasRun:
    """Whether the file was executed, in a process that had not loaded it before."""
    mark = tmp_path_factory.mktemp("mark") / "ran"
    monkeypatch.setenv("GROKCTL_TEST_MARK", str(mark))
    monkeypatch.setattr(own_code, "_LOADED", {})
    return mark.exists


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the spec, with its sweep in `sweep`, trained with --allow-code. Only to be read."""
    folder = tmp_path_factory.mktemp("own_code")
    result = launch_here(put(folder), folder / "sweep", allow_code=True)
    assert result.exit_code == 0
    return folder


# Security: nothing runs that was not allowed


def test_without_permission_no_verb_runs_the_file(
    grokctl: Grokctl, tmp_path: Path, has_run: HasRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read, hashed and searched for functions by checks and plans; that is all."""
    monkeypatch.chdir(tmp_path)
    spec = put(tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("mine.py", str(tmp_path / "mine.py")))
    for arguments in (("check", spec), ("plan", spec), ("plan", spec, "--json"), ("check", spec, "--set", "steps=9"),
                      ("submit", tmp_path / "spec.yaml", "--manifest", "slurm"), ("schema",), ("specs",)):  # fmt: skip
        result = grokctl(*arguments)
        assert result.exit_code == 0, result.output
    for arguments in (("--local",), ()):
        result = grokctl("launch", spec, "--out", tmp_path / "sweep", *arguments)
        assert result.exit_code == 77
        assert f"runs Python code of its own: {tmp_path / 'mine.py'} (sha256 " in result.stderr
        assert f"grokctl launch {spec} --allow-code" in result.stderr
    assert not (tmp_path / "sweep").exists()
    assert not has_run()
    assert not list(tmp_path.rglob("__pycache__"))


VERBS: dict[str, tuple[str, ...]] = {
    "status": (), "status --verify": (), "label": (), "label --compare": (), "diagram": (), "critical": (),
    "archive": (), "explain": ("RUN",), "weights": ("RUN",), "query": ("FROM labels",), "stop": (), "clean": (),
}  # fmt: skip


def test_what_is_done_with_a_finished_sweep_runs_nothing(
    finished: Path, grokctl: Grokctl, tmp_path: Path, has_run: HasRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(finished / "sweep", folder)
    monkeypatch.chdir(tmp_path)
    run_id = open_sweep(folder).runs()["run_id"].iloc[0]
    for words, rest in VERBS.items():
        verb, *options = words.split()
        result = grokctl(verb, folder, *(run_id if word == "RUN" else word for word in rest), *options)
        # Of widths there are no critical sizes.
        assert result.exit_code == (2 if verb == "critical" else 0), f"{words}: {result.output}"
    # A launch that has nothing to train needs no permission either, and one that has asks anew.
    assert grokctl("launch", folder, "--local").exit_code == 0
    shutil.rmtree(folder / "packs")
    shutil.rmtree(folder / "traces")
    assert grokctl("launch", folder, "--local").exit_code == 77
    assert not has_run()


def test_a_worker_asks_for_the_permission_too(finished: Path, tmp_path: Path, has_run: HasRun) -> None:
    """Nothing on the disk can grant it: a pack of a sweep that was allowed once is refused without the flag."""
    folder = tmp_path / "sweep"
    shutil.copytree(finished / "sweep", folder, ignore=shutil.ignore_patterns("packs", "traces", "weights"))
    store = SweepStore(folder)
    (pack_id, *_), attempt = store.pack_ids(), store.begin_attempt()
    assert tune.train_in_worker(str(folder), pack_id, attempt, sources_digest()) == "failed"
    failure = store.pack(pack_id).failure()
    assert failure is not None
    assert "runs Python code of its own" in failure.text
    assert not has_run()
    # A pack that has failed is left alone until the next launch.
    attempt = store.begin_attempt()
    assert tune.train_in_worker(str(folder), pack_id, attempt, sources_digest(), Permits(code=True)) == "done"
    assert has_run()


NEW_WORDS = ("code", "data", "0", "-1", "null", "[]", "{}", "mine.py", "task", "1e9", "'")


def test_no_spec_however_wrong_runs_the_file(tmp_path: Path, has_run: HasRun) -> None:
    put(tmp_path)
    check_wrong_specs(tmp_path, has_run)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def check_wrong_specs(folder: Path, has_run: HasRun, data: st.DataObject) -> None:
    """Lines of the spec lost, doubled, swapped and changed."""
    lines = SPEC.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["drop", "double", "swap", "word"]))
        if kind == "word":
            words = re.findall(r"\w+", lines[place]) or ["x"]
            new = data.draw(st.sampled_from(NEW_WORDS))
            lines[place] = lines[place].replace(data.draw(st.sampled_from(words)), new, 1)
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[place:place] = {"drop": [], "double": [lines[place]], "swap": [lines[other]]}[kind]
            lines = lines[:place] + lines[place + 1 :] if kind == "drop" and len(lines) > 1 else lines
    with contextlib.suppress(UserError):
        load_text("\n".join(lines), folder / "mine.yaml")
    assert not has_run()


def test_what_is_sent_to_a_cluster_holds_the_code_and_the_permission(tmp_path: Path, grokctl: Grokctl) -> None:
    loaded = load_spec(put(tmp_path))
    with zipfile.ZipFile(io.BytesIO(verbs.prepare(loaded, "/shared/mine", {}, ["--allow-code"]))) as sent:
        sent.extractall(tmp_path / "there")
    arguments = json.loads((tmp_path / "there" / "job.json").read_text())["arguments"]
    assert arguments[-3:] == ["--allow-code", "--set", "code=code.py"]
    # Read there, where the file has another name, it is the same sweep.
    there = load_text((tmp_path / "there" / "mine.yaml").read_text(), tmp_path / "there" / "mine.yaml",
                      {"code": str(tmp_path / "there" / "code.py")})  # fmt: skip
    assert spec_digest(resolved_spec(there.spec)) == spec_digest(resolved_spec(loaded.spec))
    refused = grokctl("submit", tmp_path / "mine.yaml", "--address", "http://head:8265", "--out", "/shared/mine")
    assert refused.exit_code == 77
    assert "--out /shared/mine --allow-code" in refused.stderr
    assert "--allow-code" not in grokctl("submit", tmp_path / "mine.yaml", "--manifest", "slurm").stdout
    assert "--allow-code" in grokctl("submit", tmp_path / "mine.yaml", "--manifest", "slurm", "--allow-code").stdout
    assert (
        grokctl("submit", tmp_path / "mine.yaml", "--manifest", "kuberay").exit_code == 65
    )  # mine.py would be missing


# As runs of ours


def test_what_it_defines_is_what_is_trained(finished: Path) -> None:
    sweep = open_sweep(finished / "sweep")
    traces = pq.read_table(finished / "sweep" / "traces").to_pandas()
    assert traces["margin"].dtype == np.float32
    assert (traces["margin"] > 0).all()
    assert traces["val_accuracy_even"].between(0, 1).all()
    runs = sweep.runs()
    assert set(runs["n_parameters"]) == {7 * 8 + 8 * 7, 7 * 4 + 4 * 7}
    assert runs["chance_accuracy"].eq(1 / 7).all()
    assert (finished / "sweep" / "code.py").read_text() == CODE
    weights = SweepStore(finished / "sweep").read_weights(runs["run_id"].iloc[0])
    assert set(weights) == {"embed", "readout"}


def configs_of(folder: Path, **changes: Any) -> list[RunConfig]:
    runs = expand(load_spec(folder / "mine.yaml").spec)
    return [c.model_copy(update=changes) for c in runs.configs(range(runs.n_runs))]


BRANCH = """\
    if params["readout"].sum() > 0:
        return torch.relu(params["embed"][inputs].sum(-2)) @ params["readout"]
"""


@pytest.mark.parametrize("kind", ["vmap", "one by one"])
def test_a_run_of_own_code_in_a_pack_equals_the_run_alone_and_goes_on_bit_for_bit(tmp_path: Path, kind: str) -> None:
    """Also where the network looks at its values, which vmap cannot batch."""
    head = "def apply(params, inputs, config):\n"
    code = CODE if kind == "vmap" else CODE.replace(head, head + BRANCH)
    put(tmp_path, code)
    own_code.load(code.encode(), str(tmp_path / "mine.py"))
    configs = [c.model_copy(update={"seed": i}) for i, c in enumerate(configs_of(tmp_path)) if c.width == 8]
    assert len(configs) == 2
    pack = train(configs, lanes=2, segment_steps=10)
    for run, config in enumerate(configs):
        alone = train([config], lanes=1)
        np.testing.assert_allclose(trace(pack, run), trace(alone, 0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(final_vector(pack, run), final_vector(alone, 0), rtol=1e-5, atol=1e-5)
    rest = train(configs, pack[0].checkpoint, lanes=2, segment_steps=10)
    for run in range(2):
        assert np.array_equal(trace(rest, run), trace(pack[1:], run))
    assert not np.array_equal(*(tasks.build(config).labels_N for config in configs))  # each seed has its table


def test_initial_weights_follow_the_seed_and_the_scale(tmp_path: Path) -> None:
    put(tmp_path)
    own_code.load(CODE.encode(), str(tmp_path / "mine.py"))
    config, *_ = configs_of(tmp_path)
    vector = layout.initial_vector(config)
    assert np.array_equal(vector, layout.initial_vector(config))
    assert np.array_equal(2 * vector, layout.initial_vector(config.model_copy(update={"init_scale": 2.0})))
    assert not np.array_equal(vector, layout.initial_vector(config.model_copy(update={"init_seed": 7})))
    assert np.array_equal(vector, layout.initial_vector(config.model_copy(update={"data_seed": 7})))


def test_another_file_is_other_runs(tmp_path: Path) -> None:
    put(tmp_path)
    before = [config.run_id for config in configs_of(tmp_path)]
    (tmp_path / "mine.py").rename(tmp_path / "other.py")
    (tmp_path / "mine.yaml").write_text(SPEC.replace("mine.py", "other.py"))
    assert [config.run_id for config in configs_of(tmp_path)] == before
    (tmp_path / "other.py").write_text(CODE + "\n# one line more\n")
    assert not set(before) & {config.run_id for config in configs_of(tmp_path)}


def test_a_sweep_goes_on_from_its_own_copy(finished: Path, tmp_path: Path) -> None:
    """Where the file is gone, by the folder alone; with another file it is another sweep."""
    spec, folder = put(tmp_path), tmp_path / "sweep"
    assert launch_here(spec, folder, allow_code=True, only="width == 8").runs_ended == 2
    (tmp_path / "mine.py").write_text(CODE + "\n# edited\n")
    with pytest.raises(UserError, match=r"code\.sha256: ") as refused:
        launch_here(spec, folder, allow_code=True)
    assert refused.value.exit_code == 73
    (tmp_path / "mine.py").unlink()
    assert launch_here(folder, folder, allow_code=True).exit_code == 0
    assert_same_traces(folder, finished / "sweep")


def test_a_copy_that_was_changed_is_not_run(finished: Path, tmp_path: Path, grokctl: Grokctl, has_run: HasRun) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(
        finished / "sweep", folder, ignore=shutil.ignore_patterns("packs", "traces", "weights", "*.parquet")
    )
    (folder / "code.py").write_text(CODE.replace("mark.write", "mark.writelines"))
    with pytest.raises(DamagedError, match=r"code\.py: is not the code that the sweep was planned with"):
        launch_here(put(tmp_path), folder, allow_code=True)
    assert not has_run()
    checked = grokctl("status", folder, "--verify")
    assert checked.exit_code == 65
    assert "code.py: not the code that was launched" in checked.stdout
    assert "code.py" in grokctl("status", folder, "--repair").stdout
    assert (folder / "code.py").read_text() == CODE
    assert len(list((folder / "quarantine").rglob("code.py"))) == 1


def test_an_archive_holds_the_code(finished: Path, tmp_path: Path, grokctl: Grokctl) -> None:
    assert grokctl("archive", finished / "sweep", "-o", tmp_path / "mine.tar").exit_code == 0
    with tarfile.open(tmp_path / "mine.tar") as archive:
        assert archive.extractfile("mine/code.py").read().decode() == CODE  # type: ignore[union-attr]


# The README's examples

README = (Path(__file__).parent.parent / "README.md").read_text()


def readme(language: str, of: str) -> str:
    """The block of the README that begins so."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if of in text]
    return str(found)


@pytest.mark.parametrize("name", ["divisors", "bilinear", "margins"])
def test_examples_of_code_in_the_readme_train(name: str, tmp_path: Path, grokctl: Grokctl) -> None:
    code, spec = readme("python", f"# {name}.py: "), readme("yaml", f"name: {name}\n")
    assert max(code.count("\n"), spec.count("\n")) <= 20
    (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / f"{name}.yaml").write_text(spec)
    result = grokctl("launch", tmp_path / f"{name}.yaml", "--local", "--allow-code", "--out", tmp_path / "sweep",
                     "--set", "steps=20")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "vmap cannot" not in result.output
    rows = pq.read_table(tmp_path / "sweep" / "traces").to_pandas()
    last = rows[rows["step"] == 20]
    assert (last["train_loss"] < rows[rows["step"] == 0]["train_loss"].to_numpy()).all()
    if name == "margins":  # the least margin is above 0 just where all examples are right
        assert ((rows["train_margin"] > 0) == (rows["train_accuracy"] == 1)).all()
    if name == "divisors":
        assert last["val_accuracy_equal"].between(0, 1).all()


def test_the_example_of_data_in_the_readme_trains(
    tmp_path: Path, grokctl: Grokctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(readme("python", "waves.parquet"), {})  # noqa: S102 (our own README)
    (tmp_path / "waves.yaml").write_text(readme("yaml", "name: waves\n"))
    result = grokctl("launch", "waves.yaml", "--local")
    assert result.exit_code == 0, result.output
    labels = open_sweep(tmp_path / "sweeps" / "waves").labels()
    assert (labels["final_train_accuracy"] > 0.5).all()
    assert set(labels["warning"]) != {"no_accuracy"}


# What is wrong is theirs


def edited(old: str, new: str) -> str:
    assert old in CODE
    return CODE.replace(old, new, 1)


READOUT = '@ params["readout"]'
WRONG: dict[str, str] = {
    "an error while it is imported": edited("import torch\n", "import torch\n1 / 0\n"),
    "what is not installed": edited("import torch\n", "import torch\nimport not_there_at_all\n"),
    "an exit": edited("import torch\n", "import torch\nraise SystemExit(3)\n"),
    "an error in a task": edited("shift = rng", "shift = undefined"),
    "a task of other arguments": edited("def task(config, rng)", "def task(config)"),
    "no dict": edited('return {"inputs"', 'return [1]\n    return {"inputs"'),
    "another key": edited('"subsets"', '"parts"'),
    "too few examples": edited("np.arange(49)", "np.arange(48)"),
    "tokens beyond": edited("np.stack([a, b], 1)", "np.stack([a, b + 1], 1)"),
    "classes beyond": edited("(a + b + shift) % 7", "a + b"),
    "targets that are no classes": edited("(a + b + shift) % 7", "(a + b) / 7"),
    "a missing subset": edited('"even"', '"odd"'),
    "a ragged array": edited("np.stack([a, b], 1)", "[[1], [1, 2]]"),
    "an error in a model": edited(READOUT, '@ params["readoot"]'),
    "shapes that do not fit": edited(READOUT, '@ params["readout"].T'),
    "too few logits": edited(READOUT, '@ params["readout"][:, :5]'),
    "no tensors": edited('"embed": normal', '"embed": 1.0 or normal'),
    "NaN from the start": edited("config.width**0.5", "0.0 * torch.inf"),
    "torch's own dice": edited("generator=generator", "generator=None"),
    "numpy's own dice": edited("rng.integers(7)", "np.random.randint(7)"),
    "dice in a forward pass": edited(READOUT, '@ torch.dropout(params["readout"], 0.5, True)'),
    "what packs do not share": edited("torch.relu(", "config.learning_rate * torch.relu("),
    "a metric that is many": edited(").mean()\n", ")\n"),
    "a metric that is none": edited("    best = ", "    return None\n    best = "),
    "an error in a metric": edited("topk(2)", "topk(200)"),
}
WRONG_UNSEEN: dict[str, str] = {
    "no Python": edited("def task(config, rng):", "def task(config, rng)"),
    "no such function": edited("def apply", "def aply"),
    "no such metric": edited("def margin", "def marjin"),
    "not UTF-8": CODE,
}
GOLDEN = Path(__file__).parent / "data" / "messages_code.txt"


def refusal(folder: Path, code: str, kind: str) -> str:
    spec = put(folder, code)
    if kind == "not UTF-8":
        (folder / "mine.py").write_bytes(b"# \xff\n" + code.encode())
    with pytest.raises((CodeError, SpecError)) as refused:
        launch_here(spec, folder / re.sub(r"\W", "_", kind), allow_code=True)
    return str(refused.value).replace(f"{folder}/", "")


def messages(folder: Path) -> str:
    every = {**WRONG_UNSEEN, **WRONG}
    return "\n".join(f"== {kind}\n{refusal(folder, code, kind)}\n" for kind, code in every.items())


def test_messages_about_code_are_the_golden_ones(tmp_path: Path) -> None:
    """File, line, message, in one line and without a trace of ours."""
    changed = difflib.unified_diff(GOLDEN.read_text().splitlines(), messages(tmp_path).splitlines(), lineterm="", n=1)
    lines = "\n".join(changed)
    assert not lines, f"{lines}\nAccept with: python tests/test_own_code.py"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        GOLDEN.write_text(messages(Path(name)))
