"""What a launch makes of workers that die: tried again while a pack commits, given up when it does not."""

from pathlib import Path

import pytest
from launch_helpers import SPEC, freeze

from orchestrator.plan import Plan
from orchestrator.slots import Demand
from orchestrator.status import read_status
from orchestrator.trials import DEATHS_ALLOWED, Trials, in_short
from orchestrator.worker import run_pack
from results.pack_log import read_log
from results.store import SweepStore

SEGFAULT = """\
The actor died unexpectedly before finishing this task.
\tclass_name: ResourceTrainable
\tpid: 4711
The actor is dead because its owner process died or its worker process crashed.
Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2."""
MEMORY = "1 worker(s) were killed due to the node running low on memory. Memory on the node was 9 GB used\nMore words."


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    freeze(tmp_path / "sweep", segment_s=0.05)
    store = SweepStore(tmp_path / "sweep")
    return Trials(store=store, attempt=store.begin_attempt())


def commit(trials: Trials, pack_id: str) -> None:
    """One more segment."""
    assert run_pack(trials.store.root, pack_id, trials.attempt, should_stop=lambda: True) == "drained"


def test_a_pack_that_dies_without_a_commit_is_given_up_and_status_says_why(trials: Trials):
    poison, other = trials.store.pack_ids()
    trials.begun(poison)
    trials.begun(other)
    tried = [trials.died(poison, SEGFAULT) for _ in range(DEATHS_ALLOWED + 1)]
    assert tried == [True] * DEATHS_ALLOWED + [False]
    assert trials.at_work == {other}
    (failed,) = read_status(trials.store.root).failed
    assert failed.pack_id == poison
    assert failed.error.startswith("its worker died 3 times in a row without a commit: The actor is dead because")
    failure = trials.store.pack(poison).failure()
    assert failure is not None
    assert SEGFAULT in failure.text
    assert len(trials.notes) == DEATHS_ALLOWED


def test_a_pack_that_commits_between_its_deaths_goes_on_for_ever(trials: Trials):
    pack_id = trials.store.pack_ids()[0]
    for _ in range(2):
        assert all([trials.died(pack_id, SEGFAULT) for _ in range(DEATHS_ALLOWED)])
        commit(trials, pack_id)
    assert trials.died(pack_id, SEGFAULT)
    assert trials.store.pack(pack_id).failure() is None
    deaths = [line["deaths"] for line in read_log(trials.store.pack(pack_id).files.folder) if line["event"] == "died"]
    assert deaths == [1, 2, 1], "there was no folder for a log before the first commit"


def test_a_node_that_is_taken_away_with_notice_counts_for_nothing(trials: Trials):
    pack_id = trials.store.pack_ids()[0]
    assert all([trials.died(pack_id, SEGFAULT, is_preempted=True) for _ in range(9)])
    assert trials.store.pack(pack_id).failure() is None


def test_a_worker_that_ray_killed_for_memory_goes_on_with_half_the_lanes_once(trials: Trials):
    pack_id = trials.store.pack_ids()[0]
    assert trials.died(pack_id, MEMORY)
    (entry,) = trials.store.read_plan()["amendments"]
    assert (entry["replaced"], "killed by Ray" in entry["reason"]) == (pack_id, True)
    smaller = trials.store.current_pack(pack_id)
    plan = Plan.from_json(trials.store.read_plan())
    assert plan.by_id[smaller].settings.lanes == 1
    tried = [trials.died(pack_id, MEMORY) for _ in range(DEATHS_ALLOWED + 1)]
    assert tried == [True] * DEATHS_ALLOWED + [False], "and never in an endless loop"
    (failed,) = read_status(trials.store.root).failed
    assert failed.pack_id == smaller
    assert failed.error.endswith("Memory on the node was 9 GB used")


def test_memory_after_a_commit_changes_no_plan(trials: Trials):
    """Another number of lanes would change bits that are committed."""
    pack_id = trials.store.pack_ids()[0]
    commit(trials, pack_id)
    assert trials.died(pack_id, MEMORY)
    assert trials.store.read_plan()["amendments"] == []


def test_a_launch_that_was_taken_over_judges_nobody(trials: Trials):
    pack_id = trials.store.pack_ids()[0]
    trials.store.begin_attempt()
    assert not trials.died(pack_id, MEMORY)
    assert trials.store.read_plan()["amendments"] == []
    assert not trials.store.pack(pack_id).files.folder.exists()


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "no reason is known"),
        ("a\nlast words\n\n", "last words"),
        (SEGFAULT, "The actor is dead because its owner process died or its worker process crashed."),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_of_what_ray_says_the_telling_line_is_repeated(reason: str, told: str):
    assert in_short(reason) == told


def test_each_pack_asks_for_its_own_threads_and_the_plans_share_of_a_gpu(tmp_path: Path):
    freeze(tmp_path / "sweep", SPEC)
    plan = Plan.from_json(SweepStore(tmp_path / "sweep").read_plan())
    assert plan.demand(plan.packs[0]) == Demand(cpus=1, gpus=0.0)
    shared = Plan.from_json({**plan.to_json(), "slots": {**plan.slots, "gpus_per_pack": 0.25}})
    assert shared.demand(plan.packs[0]) == Demand(cpus=1, gpus=0.25)
    # Packs that were begun on CPUs, in a plan that was made anew for GPUs.
    mixed = Plan.from_json({**plan.to_json(), "slots": {**plan.slots, "gpus_per_pack": 0.25, "device": "cuda"}})
    assert mixed.demand(plan.packs[0]) == Demand(cpus=1, gpus=0.0)
