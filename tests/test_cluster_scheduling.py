"""Where packs go on a real cluster of nodes that differ, with GPUs that are declared and not there.

A cluster takes ten seconds to start, and so does each launch, so this is one test.
"""

import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cluster_helpers import LocalCluster, finished_files, local_cluster, violations
from launch_helpers import SLOTS, SPEC, freeze, launch_here, wait_until

from orchestrator.status import read_status
from results.store import SweepStore

SHARED = SPEC.replace("device: cpu, lanes: 2", "device: cpu, lanes: 2, engine: eager, gpus_per_pack: 0.5")
SHARED = SHARED.replace("width: [4, 6]", "width: [4, 5, 6]").replace("steps: 60", "steps: 1000")
"""Three packs, of which two fit on a GPU."""
HALVES = replace(SLOTS, gpus_per_pack=0.5)
LONG = SPEC.replace("steps: 60", "steps: 6000000").replace("lanes: 2", "engine: eager")
"""So long that more slots are worth more packs."""


def demand(cluster: LocalCluster) -> list[dict[str, float]]:
    """What an autoscaler is told that packs wait for."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    reply = autoscaler_pb2.GetClusterResourceStateReply()
    reply.ParseFromString(GcsClient(address=cluster.address).get_cluster_resource_state())
    gangs = reply.cluster_resource_state.pending_gang_resource_requests
    return [dict(request.resources_bundle) for gang in gangs for request in gang.requests]


def kill_whoever_trains(folder: Path, pack_id: str) -> None:
    """kill -9, each time anew, as a deterministic crash would."""
    progress = SweepStore(folder).pack(pack_id).read_progress()
    if progress:
        with suppress(ProcessLookupError):
            os.kill(progress["pid"], 9)


def test_packs_wait_for_nodes_with_gpus_share_them_and_one_that_kills_its_workers_is_given_up(tmp_path: Path):
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "sweep"
    assert launch_here(freeze(undisturbed, SHARED, segment_s=1e9, slots=HALVES), undisturbed).exit_code == 0
    spec = freeze(folder, SHARED, segment_s=1e9, slots=HALVES)
    poison, *others = SweepStore(folder).pack_ids()
    with local_cluster(1, cpus=2) as cluster:
        (without,) = cluster.nodes

        # No node has a GPU, which an autoscaler can see and mend.
        with cluster.launch(spec, folder) as launch:
            wait_until(lambda: len(demand(cluster)) == len(others) + 1, launch, every_s=0.1)
            assert {(wanted["CPU"], wanted["GPU"]) for wanted in demand(cluster)} == {(1, 0.5)}
            assert cluster.workers() == []
            shared = cluster.add_node(num_cpus=3, num_gpus=1)
            most, lately = 0, deque[int](maxlen=5)
            while launch.poll() is None:
                # For half a second: on a loaded machine a killed worker is still there when the next one begins.
                lately.append(len(cluster.workers(shared)))
                most = max(most, min(lately) if len(lately) == 5 else 0)
                assert cluster.workers(without) == [], "there is no GPU"
                kill_whoever_trains(folder, poison)
                threading.Event().wait(0.1)
            said, _ = launch.communicate()
        assert "a pack asks for 1 cores and 0.5 GPUs on one machine; Ray has 2 and 0" in said
        assert most == 2, "two share a GPU, and a third does not fit although it has a core"

        # One pack is poison: it is given up, and the others are done.
        assert launch.returncode == 1, said
        (failed,) = read_status(folder).failed
        assert failed.pack_id == poison
        assert "its worker died 3 times in a row without a commit" in failed.error
        assert read_status(folder).packs["done"] == len(others)
        before = finished_files(folder)
        with cluster.launch(spec, folder) as launch:
            said, _ = launch.communicate()
        assert launch.returncode == 0, said
        assert violations(folder, undisturbed) == []
        assert {name: identity for name, identity in finished_files(folder).items() if name in before} == before

        # What was planned for two slots is cut for the five of both nodes; when the time is over, nobody waits.
        long = freeze(tmp_path / "long", LONG)
        planned = len(SweepStore(tmp_path / "long").pack_ids())
        with cluster.launch(long, tmp_path / "long", "--replan", "--max-hours", 0.0001) as launch:
            said, _ = launch.communicate()
        assert launch.returncode == 0, said
        assert "hours are over" in said
        assert f"{planned} packs that had not started were cut anew into" in said
        plan = SweepStore(tmp_path / "long").read_plan()
        assert plan["slots"]["slots"] == 5
        assert len(plan["packs"]) > planned
