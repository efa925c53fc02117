"""Is the cluster still there? Told by a port and by its list of nodes; none of these tests starts a Ray."""

import socket

import pytest

from orchestrator.errors import ClusterLostError
from orchestrator.head import Head


def test_a_head_that_answers_is_alive():
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", 0.0, lambda: True)
        head.look()
        head._patience_s = 1e9  # the looking took time
        head.require_alive()


def test_a_head_that_is_gone_is_waited_for_and_then_lost():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    patient, impatient = Head(address, 1e9, lambda: True), Head(address, 0.0, lambda: True)
    for head in (patient, impatient):
        head.look()
    patient.require_alive()
    with pytest.raises(ClusterLostError, match=f"its head at {address} has not answered for 0 s") as lost:
        impatient.require_alive()
    assert lost.value.exit_code == 69
    assert "launch again" in (lost.value.hint or "")


def test_without_its_own_node_a_launch_can_start_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", 1e9, lambda: False)
        head.require_alive()
        head.look()
        with pytest.raises(ClusterLostError, match="the Ray node that this launch runs on is dead"):
            head.require_alive()


def test_a_head_that_was_left_while_it_was_asked_says_nothing():
    def gone():
        raise RuntimeError("Ray has not been started yet")

    with socket.create_server(("127.0.0.1", 0)) as server:
        head = Head(f"127.0.0.1:{server.getsockname()[1]}", 1e9, gone)
        with pytest.raises(RuntimeError):
            head.look()
        head.stop()
        head.look()
