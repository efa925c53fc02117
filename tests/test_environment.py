"""Going on elsewhere changes the last bits: refused before anything is trained, or accepted and on record."""

from pathlib import Path
from typing import Any

import pytest
from launch_helpers import files_of, freeze, launch_here, no_debris

from orchestrator import worker
from orchestrator.environment import DECIDES_BITS, HARDWARE, agreed, differences, moved, variety
from orchestrator.errors import UserError
from orchestrator.permits import Permits
from orchestrator.plan import Plan
from orchestrator.status import read_status, status_text
from orchestrator.worker import device_fingerprint, run_pack, try_pack
from results.store import SweepStore
from results.verify import verify


def begun(folder: Path) -> Path:
    """A sweep that was stopped after its first commit; its spec."""
    spec = freeze(folder)
    store = SweepStore(folder)
    assert run_pack(folder, store.pack_ids()[0], store.begin_attempt(), should_stop=lambda: True) == "drained"
    return spec


def move_elsewhere(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """From here on this machine is another one."""
    here = device_fingerprint
    monkeypatch.setattr(worker, "device_fingerprint", lambda settings: {**here(settings), **changes})


def test_a_fingerprint_says_all_that_decides_bits(tmp_path: Path):
    folder = tmp_path / "sweep"
    begun(folder)
    packs = [SweepStore(folder).pack(pack_id) for pack_id in SweepStore(folder).pack_ids()]
    headers = [header for pack in packs if (header := pack.newest_header())]
    for header in headers:
        for fingerprint in header.fingerprints.values():
            assert set(DECIDES_BITS) <= fingerprint.keys()
            assert fingerprint["threads"] == 1


@pytest.mark.parametrize("name", DECIDES_BITS)
def test_going_on_in_another_environment_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sweep"
    spec = begun(folder)
    before = files_of(folder)
    move_elsewhere(monkeypatch, **{name: "another"})
    with pytest.raises(UserError, match=f"{name}: .* -> another") as refused:
        launch_here(spec, folder)
    assert refused.value.exit_code == 78
    assert "--accept-environment" in str(refused.value)
    assert {n: stat for n, stat in files_of(folder).items() if n != "launch.lock"} == {
        n: stat for n, stat in before.items() if n != "launch.lock"
    }


def test_consent_is_kept_in_the_headers_and_told_by_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sweep"
    spec = begun(folder)
    assert read_status(folder).environments == ()
    move_elsewhere(monkeypatch, torch="9.9", host="elsewhere")
    assert launch_here(spec, folder, accept_environment=True).exit_code == 0
    store = SweepStore(folder)
    headers = [header for pack_id in store.pack_ids() if (header := store.pack(pack_id).newest_header())]
    consents = [f.get("accepted") for header in headers for f in header.fingerprints.values()]
    assert [it for it in consents if it] == [[f"torch: {device_fingerprint(_settings(folder))['torch']} -> 9.9"]]
    (line,) = read_status(folder).environments
    assert "9.9 (2 attempts)" in line  # one went on, one began the other pack
    assert line in status_text(read_status(folder))
    assert verify(folder) == []
    assert no_debris(folder)


def _settings(folder: Path) -> Any:
    return Plan.from_json(SweepStore(folder).read_plan()).packs[0].settings


def test_what_does_not_decide_bits_is_recorded_and_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "sweep"
    spec = begun(folder)
    move_elsewhere(monkeypatch, host="elsewhere", python="3.99", sources="edited")
    assert launch_here(spec, folder).exit_code == 0
    assert read_status(folder).environments == ()


def test_a_worker_on_another_machine_refuses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On a cluster the launch cannot know where a pack will go on."""
    folder = tmp_path / "sweep"
    begun(folder)
    store = SweepStore(folder)
    pack_id = next(pack_id for pack_id in store.pack_ids() if store.pack(pack_id).newest_header())
    move_elsewhere(monkeypatch, device="another")
    attempt = store.begin_attempt()
    assert try_pack(folder, pack_id, attempt, lambda: False) == "failed"
    assert "begun in another environment" in read_status(folder).failed[0].error
    assert try_pack(folder, pack_id, attempt, lambda: False, Permits(environment=True)) == "done"


def test_what_an_older_version_did_not_write_down_is_no_difference():
    assert differences({"torch": "1"}, {"torch": "1", "numpy": "2"}) == []
    assert differences({}, {"torch": "1"}) == []
    assert variety([{"torch": "1"}, {}]) == []


@pytest.mark.parametrize("name", DECIDES_BITS)
def test_on_a_cluster_a_pack_goes_on_on_other_hardware_and_no_other_software(name: str, tmp_path: Path):
    before = {"torch": "2", "device": "EPYC", **{other: "same" for other in DECIDES_BITS}}
    now = {**before, name: "another"}
    if name in HARDWARE:
        assert agreed(before, now, accept="hardware")["accepted"] == [f"{name}: same -> another"]
    else:
        with pytest.raises(UserError, match=f"{name}: same -> another"):
            agreed(before, {**now, "device": "Xeon"}, accept="hardware")
    assert agreed(before, before, accept="hardware") == before


def test_a_pack_that_moved_to_another_kind_of_node_is_recorded_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sweep"
    begun(folder)
    store = SweepStore(folder)
    attempt = store.begin_attempt()
    here = device_fingerprint(_settings(folder))["device"]
    move_elsewhere(monkeypatch, device="another CPU")
    for pack_id in store.pack_ids():
        assert try_pack(folder, pack_id, attempt, lambda: False, Permits(environment="hardware")) == "done"
    headers = [header for pack_id in store.pack_ids() if (header := store.pack(pack_id).newest_header())]
    assert moved(headers) == [f"device: {here} -> another CPU"]
    (line,) = read_status(folder).environments
    assert "another CPU (2 attempts)" in line
    assert verify(folder) == []
