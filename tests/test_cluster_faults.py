"""One sweep on a real cluster of two nodes on this machine, of which everything is lost in turn.

A cluster takes ten seconds to start, so this is one test. `tests/campaigns/cluster.py` does more of it, and names the
tests of each kind of loss.
"""

import random
from pathlib import Path
from typing import Any

from campaigns.cluster import MATRIX
from cluster_helpers import finished_files, local_cluster, violations
from launch_helpers import SPEC, commits, freeze, launch_here, wait_until

from orchestrator.status import read_status
from results.pack_log import read_log

LONG = SPEC.replace("steps: 60", "steps: 1500").replace("lanes: 2", "lanes: 2, engine: eager")


def test_the_cases_of_the_matrix_are_there():
    for case in {case for cases in MATRIX.values() for case in cases}:
        file, name = case.split("::")
        assert f"\ndef {name}(" in (Path(__file__).parent / file).read_text(), case


def undisturbed(folder: Path, text: str, segment_s: float) -> Path:
    assert launch_here(freeze(folder, text, segment_s=segment_s), folder).exit_code == 0
    return folder


def test_a_sweep_that_loses_a_worker_a_node_the_driver_and_the_head_ends_with_the_same_bits(tmp_path: Path):
    expected = undisturbed(tmp_path / "undisturbed", LONG, 0.2)
    folder, rng = tmp_path / "sweep", random.Random(0)
    spec = freeze(folder, LONG, segment_s=0.2)
    with local_cluster(2) as cluster:
        with cluster.launch(spec, folder) as launch:
            wait_until(lambda: commits(folder) >= 2, launch)
            wait_until(lambda: cluster.kill_worker(rng), launch)
            seen = commits(folder)
            wait_until(lambda: commits(folder) >= seen + 2, launch)
            cluster.lose_node(cluster.nodes[0])
            seen = commits(folder)
            wait_until(lambda: commits(folder) >= seen + 2, launch)
            launch.kill()
            assert launch.wait() == -9
        assert read_status(folder).state == "unfinished"
        before = finished_files(folder)
        with cluster.launch(spec, folder) as launch:
            seen = commits(folder)
            wait_until(lambda: commits(folder) >= seen + 2, launch)
            cluster.lose_head()
            said, _ = launch.communicate()
        assert launch.returncode == 69, said
        assert "the Ray cluster is lost" in said
        assert "Traceback" not in said
        assert "state-dump" not in said
    assert read_status(folder).state == "unfinished"
    assert deaths(folder)
    with local_cluster(1) as cluster, cluster.launch(spec, folder) as launch:
        said, _ = launch.communicate()
    assert launch.returncode == 0, said
    assert violations(folder, expected) == []
    assert {name: identity for name, identity in finished_files(folder).items() if name in before} == before


def deaths(folder: Path) -> list[dict[str, Any]]:
    """What the launches noted of workers that died."""
    return [line for path in folder.glob("packs/*") for line in read_log(path) if line["event"] == "died"]
