"""What this machine can lend to packs: slots, memory, a compiler and a place for what it compiles."""

import os
from pathlib import Path

import pytest
from launch_helpers import SLOTS, SPEC, launch_here

from orchestrator import machine, worker
from orchestrator.costs import FormulaCost
from orchestrator.errors import UserError
from orchestrator.expand import expand
from orchestrator.machine import Node, find_slots, free_memory, slots_of, slots_of_nodes
from orchestrator.packing import PackingOptions, cut
from orchestrator.plan import make_plan
from orchestrator.plan_summary import plan_text, summarize
from orchestrator.spec import load_text
from orchestrator.spec_model import Resources
from results import open_sweep

COST = FormulaCost(device="cpu")
BIG = """\
name: big
task: {modulus: 113}
model: {width: 128}
steps: 50000
train_size: 3000
grid: {seed: {range: [0, 16, 1]}}
"""


def test_memory_is_shared_out_to_slots():
    slots = slots_of(Resources(device="cpu"), cpus=4, gpus=0, free_bytes=8e9)
    assert (slots.slots, slots.pack_memory_bytes) == (4, pytest.approx(0.8 * 2e9))
    gpu = slots_of(Resources(gpus_per_pack=0.5), cpus=4, gpus=1, free_bytes=8e9, free_gpu_bytes=40e9)
    assert (gpu.device, gpu.slots, gpu.pack_memory_bytes) == ("cuda", 2, pytest.approx(0.8 * 20e9))
    assert slots_of(Resources(), cpus=4, gpus=0).pack_memory_bytes is None


def test_this_machine_has_memory():
    free = free_memory()
    assert free is not None
    assert 1e7 < free <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert find_slots(Resources(device="cpu")).pack_memory_bytes


@pytest.mark.parametrize("limited", ["job", "job/step"])
def test_the_limits_of_control_groups_count_up_to_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: str
):
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    read_text = Path.read_text
    own = "0::/job/step\n"
    monkeypatch.setattr(Path, "read_text", lambda p: own if p == Path("/proc/self/cgroup") else read_text(p))
    for group in ("job", "job/step"):
        folder = tmp_path / group
        folder.mkdir()
        (folder / "memory.max").write_text("5000000\n" if group == limited else "max\n")
        (folder / "memory.current").write_text("4000000\n")
        (folder / "memory.stat").write_text("anon 1000000\ninactive_file 3000000\n")
    assert free_memory() == 4e6


def test_lanes_are_fewer_where_memory_is_short_and_a_plan_tells_what_it_needs():
    table = expand(load_text(BIG).spec)
    plenty = cut(table, SLOTS, COST, PackingOptions())
    short = slots_of(Resources(device="cpu"), cpus=2, gpus=0, free_bytes=2e9)
    for pack in cut(table, short, COST, PackingOptions()):
        assert pack.memory_bytes <= 0.8e9
        assert pack.settings.lanes < plenty[0].settings.lanes
    plan = make_plan(load_text(BIG), short, COST)
    total = summarize(plan)
    assert 800 < total.memory_mb <= 1600
    assert f"memory    about {total.memory_mb / 1e3:.1f} GB" in plan_text(plan)


def test_too_little_memory_for_one_run_says_what_to_do():
    short = slots_of(Resources(device="cpu"), cpus=2, gpus=0, free_bytes=1e9)
    with pytest.raises(UserError, match="width 128 on 3,000 examples") as caught:
        make_plan(load_text(BIG), short, COST)
    assert caught.value.exit_code == 78


def test_compiling_is_announced_where_it_repays_itself():
    with_compiler = slots_of(Resources(device="cpu"), cpus=2, gpus=0)
    plan = make_plan(load_text(BIG), with_compiler, COST)
    assert {pack.settings.engine for pack in plan.packs} == {"compiled"}
    assert summarize(plan).shapes_to_compile == 1
    assert "compiling 1 shape, about 25 s each the first time" in plan_text(plan)
    assert "compiling" not in plan_text(make_plan(load_text(SPEC), with_compiler, COST))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing on the path but a few programs that are no compilers."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def test_without_a_compiler_everything_still_runs(no_compiler: None, tmp_path: Path):
    plan = make_plan(load_text(BIG), find_slots(Resources(device="cpu")), COST)
    assert {pack.settings.engine for pack in plan.packs} == {"eager"}
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    assert launch_here(spec, tmp_path / "sweep").exit_code == 0
    assert set(open_sweep(tmp_path / "sweep").runs()["outcome"]) == {"ended"}


def test_a_spec_that_insists_on_compiling_needs_a_compiler(no_compiler: None):
    spec = load_text(SPEC.replace("device: cpu", "device: cpu, engine: compiled"))
    with pytest.raises(UserError, match="needs a C\\+\\+ compiler"):
        make_plan(spec, find_slots(Resources(device="cpu")), COST)


def test_a_worker_without_a_compiler_says_so(no_compiler: None):
    with pytest.raises(UserError, match="no C\\+\\+ compiler") as caught:
        worker._prepare_to_compile()
    assert caught.value.exit_code == 78


def test_kernels_lie_in_the_users_cache_unless_the_environment_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(worker, "find_compiler", lambda: "/usr/bin/c++")
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    worker._prepare_to_compile()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "grokctl" / "inductor")
    assert os.environ["TORCHINDUCTOR_COMPILE_THREADS"] == "1"
    assert (tmp_path / "grokctl" / "inductor").stat().st_mode & 0o77 == 0
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    worker._prepare_to_compile()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "/elsewhere"


@pytest.mark.parametrize(
    ("share", "packs"),
    [(None, 2), (0.5, 4), (0.4, 4), (0.25, 8), (1, 2), (2, 1), (3, 0), (0.01, 16)],
)
def test_packs_share_a_gpu_and_no_pack_is_spread_over_two(share: float | None, packs: int):
    """Two GPUs and 16 cores. Of .4 of a GPU two fit on each, not five on both."""
    assert Node(cpus=16, gpus=2).packs(1, 1.0 if share is None else share) == packs


def test_the_slots_of_a_cluster_are_those_of_its_nodes():
    """Cores on one node and GPUs on another are no slot; a head often has neither."""
    nodes = [Node(cpus=0, gpus=0), Node(cpus=8, gpus=1), Node(cpus=3, gpus=4), Node(cpus=64, gpus=0)]
    assert slots_of_nodes(Resources(gpus_per_pack=0.5), nodes).slots == 2 + 3
    assert slots_of_nodes(Resources(device="cpu", cpus_per_pack=4), nodes).slots == 2 + 0 + 16
    assert slots_of_nodes(Resources(), []).slots == 1, "an autoscaler starts nodes when it sees demand"


def test_a_pack_must_fit_on_the_node_with_the_least_memory_for_each():
    nodes = [Node(cpus=1, gpus=0, memory_bytes=1e9), Node(cpus=8, gpus=0, memory_bytes=16e9), Node(cpus=0, gpus=0)]
    assert slots_of_nodes(Resources(device="cpu"), nodes).pack_memory_bytes == pytest.approx(0.8 * 1e9)
    big_only = slots_of_nodes(Resources(device="cpu", cpus_per_pack=4), nodes)
    assert (big_only.slots, big_only.pack_memory_bytes) == (2, pytest.approx(0.8 * 8e9))


def test_one_and_a_half_gpus_are_refused():
    spec = SPEC.replace("device: cpu", "device: cpu, gpus_per_pack: 1.5")
    with pytest.raises(UserError, match=r"1.5 GPUs cannot be shared out: give a fraction up to 1, or a whole number"):
        load_text(spec)
    assert load_text(spec.replace("1.5", "2")).spec.resources.gpus_per_pack == 2
