"""What `make test` has no time for: real clusters that lose a raylet, a node with notice, a node that falls asleep and
wakes up; that run out of memory; that drop messages.

`python -m pytest tests/campaigns/cluster_rows.py`
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster_helpers import LOSSY, LocalCluster, local_cluster, violations
from launch_helpers import commits, files_of, freeze, launch_here, no_debris, traces, wait_until
from test_cluster_faults import LONG, deaths, undisturbed

from orchestrator.plan import Plan
from orchestrator.status import read_status
from results.store import SweepStore
from results.verify import verify

LOW = {"RAY_memory_usage_threshold": "0.01"}
"""More of the memory is in use, so Ray kills every worker."""
LONGER = LONG.replace("steps: 1500", "steps: 8000")
"""Packs that outlive what happens to them on a quiet machine, too."""


def test_a_pack_that_a_node_has_no_memory_for_goes_on_elsewhere_with_half_its_lanes(tmp_path: Path):
    folder, alone = tmp_path / "sweep", tmp_path / "undisturbed"
    assert launch_here(freeze(alone, segment_s=1e9), alone).exit_code == 0
    spec = freeze(folder, segment_s=1e9)
    store = SweepStore(folder)
    planned = Plan.from_json(store.read_plan()).by_id
    with local_cluster(0) as cluster:
        low = cluster.add_node(LOW)
        with cluster.launch(spec, folder) as launch:
            wait_until(lambda: bool(store.read_plan()["amendments"]), launch, every_s=0.1)
            cluster.lose_node(low)
            cluster.add_node()
            said, _ = launch.communicate()
    assert launch.returncode == 0, said
    (entry,) = store.read_plan()["amendments"]
    assert entry["reason"].startswith("killed by Ray, whose node was out of memory with 2 lanes; 1 from here on")
    assert entry["reason"] in said
    assert read_status(folder).state == "finished"
    assert verify(folder) == []
    assert no_debris(folder)
    rows, expected = traces(folder), traces(alone)
    assert rows[["run_id", "step"]].equals(expected[["run_id", "step"]])
    others = ~rows["run_id"].isin(planned[entry["replaced"]].run_ids)
    assert others.any()
    assert rows[others].equals(expected[others])


def test_a_control_plane_that_drops_messages_changes_no_bits(tmp_path: Path):
    folder, alone = tmp_path / "sweep", tmp_path / "undisturbed"
    assert launch_here(freeze(alone), alone).exit_code == 0
    spec = freeze(folder)
    with local_cluster(2, RAY_testing_rpc_failure=LOSSY) as cluster, cluster.launch(spec, folder) as launch:
        said, _ = launch.communicate()
    assert launch.returncode == 0, said
    assert violations(folder, alone) == []


def at_work(folder: Path) -> set[int]:
    """The processes that the packs were trained by last."""
    store = SweepStore(folder)
    return {progress["pid"] for it in store.pack_ids() if (progress := store.pack(it).read_progress())}


def on_each(folder: Path, cluster: LocalCluster, *nodes: Any) -> bool:
    """Whether each of these nodes trains a pack, and no other node does."""
    pids, workers = at_work(folder), [{*cluster.workers(node)} for node in nodes]
    return pids <= set().union(*workers) and all(pids & here for here in workers)


def test_what_a_killed_raylet_a_sleeping_node_and_a_drained_one_leave_goes_on_elsewhere(tmp_path: Path):
    expected = undisturbed(tmp_path / "undisturbed", LONGER, 0.2)
    folder = tmp_path / "sweep"
    spec = freeze(folder, LONGER, segment_s=0.2)
    with local_cluster(2) as cluster:
        with cluster.launch(spec, folder) as launch:
            asleep, lost = cluster.nodes
            wait_until(lambda: on_each(folder, cluster, asleep, lost), launch, every_s=0.1)
            wait_until(lambda: commits(folder) >= 2, launch)
            sleepers = {*cluster.workers(asleep)}
            cluster.freeze(asleep)
            cluster.kill_raylet(lost)
            drained, kept = cluster.add_node(), cluster.add_node()
            wait_until(lambda: on_each(folder, cluster, drained, kept), launch, every_s=0.1)
            cluster.add_node()
            cluster.drain_node(drained, notice_s=0.5)
            said, _ = launch.communicate()
        assert launch.returncode == 0, said
        assert violations(folder, expected) == []
        # A node that was taken away with notice is no death; the others are one each.
        assert sorted(line["preempted"] for line in deaths(folder)) == [False, False, True]

        # What wakes up finds its pack done by another, and changes nothing. (How far it believes to be it may say.)
        before = files_of(folder)
        assert sleepers <= {*cluster.thaw()}
        wait_until(lambda: not sleepers & {*cluster.workers(asleep)}, every_s=0.1)
        changed = {name for name, what in files_of(folder).items() if before.get(name) != what}
        assert {Path(name).name for name in changed} <= {"progress.json"}
        assert violations(folder, expected) == []
