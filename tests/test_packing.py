"""Packs hold runs of one shape and similar train sizes, every run once, and all slots finish at about the same time."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.bands import PADDING_LIMIT, find_bands, shape_groups
from orchestrator.costs import FormulaCost
from orchestrator.errors import UserError
from orchestrator.expand import expand
from orchestrator.packing import (
    COMPILE_S,
    GOOD_SEGMENTS,
    MAX_FILES,
    MAX_PACKS,
    MAX_SEGMENTS,
    PackingOptions,
    cut,
    lower_bound,
    makespan,
    pack_id,
    schedule_length,
)
from orchestrator.run_table import RunTable
from orchestrator.slots import Slots
from orchestrator.spec import load_spec, load_text
from trainers.config import RunConfig, shape_key
from trainers.trace import Engine, PackSettings

SLOTS = Slots(device="cpu", slots=2, cpus_per_pack=1, gpus_per_pack=0.0, has_compiler=False)
PLAIN = "name: t\ntask: {modulus: 31}\nmodel: {width: 8}\nsteps: 1000\ntrain_size: 300\n"


@dataclass(frozen=True)
class Cost:
    """A run-step costs its share of the width, and the dispatch is shared by the lanes."""

    lanes: int = 8
    scale: float = 1.0
    calibrated: bool = False
    checkpoint_mb: float = 0.001

    def preferred_lanes(self, config: RunConfig, engine: Engine) -> int:
        return self.lanes

    def seconds_per_run_step(self, config: RunConfig, lanes: int, engine: Engine) -> float:
        speed = {"plain": 1.0, "eager": 1.0, "compiled": 3.0}[engine]
        return self.scale * (config.width * config.train_size * 1e-6 + 1e-3 / lanes) / speed

    def memory_bytes(self, config: RunConfig, lanes: int) -> float:
        return 1e9 + 1e6 * config.width * lanes

    def checkpoint_bytes(self, config: RunConfig, lanes: int) -> float:
        return self.checkpoint_mb * 1e6


def table_of(text: str) -> RunTable:
    return expand(load_text(PLAIN + text).spec)


def cut_table(table: RunTable, slots: Slots = SLOTS, cost: Cost = Cost(), **options: object) -> list:
    return cut(table, slots, cost, PackingOptions(**options))  # type: ignore[arg-type]


MIXED = """
where: batch_size <= train_size
grid:
  width: [4, 8]
  train_size: [100, 300, 310, 600]
  batch_size: [null, 300, 512]
  dropout: [0.0, 0.1, 0.2]
  last_layer_learning_rate: [null, 0.0, 1e-2]
  learning_rate: [1e-3, 1e-2]
"""


def test_shape_groups_are_those_of_shape_key():
    table = table_of(MIXED)
    expected: dict[object, list[int]] = {}
    for row in range(table.n_runs):
        expected.setdefault(shape_key(table.config(row)), []).append(row)
    assert [group.tolist() for group in shape_groups(table)] == list(expected.values())


def test_every_run_is_in_one_pack_with_runs_of_its_shape():
    table = table_of(MIXED + "seeds: 3\n")
    packs = cut_table(table)
    assert Counter(np.concatenate([pack.indices for pack in packs]).tolist()) == Counter(range(table.n_runs))
    for pack in packs:
        assert len({shape_key(config) for config in table.configs(pack.indices)}) == 1


def test_padding_of_full_batches_is_bounded():
    table = table_of("grid: {train_size: {range: [20, 900, 7]}}\nseeds: 2\n")
    for pack in cut_table(table):
        sizes = [config.train_size for config in table.configs(pack.indices)]
        assert max(sizes) * len(sizes) <= PADDING_LIMIT * sum(sizes)
        assert sizes == sorted(sizes, reverse=True)


def test_minibatches_are_not_padded_so_all_train_sizes_share_packs():
    table = table_of("batch_size: 16\ngrid: {train_size: [100, 300, 900]}\nseeds: 8\n")
    assert len(cut_table(table)) == SLOTS.slots


def test_similar_sizes_are_padded_where_that_fills_lanes_and_not_where_they_are_full():
    sizes = "grid: {train_size: [500, 510]}\n"
    assert [len(band.indices) for band in find_bands(table_of(sizes + "seeds: 2\n"), Cost())] == [4]
    # 12 lanes are as good as 8, so runs of one size fill them by themselves.
    assert [len(band.indices) for band in find_bands(table_of(sizes + "seeds: 12\n"), Cost(scale=1000))] == [12, 12]


def test_all_lanes_of_a_pack_are_busy_to_the_end():
    for n_runs in (5, 9, 11, 13, 17, 33):
        for pack in cut_table(table_of(f"seeds: {n_runs}\n"), cost=Cost(scale=100)):
            rounds = -(-len(pack.indices) // pack.settings.lanes)
            assert rounds * pack.settings.lanes - len(pack.indices) <= 1


@pytest.mark.parametrize("has_compiler", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 4, 8, 16, 32, 64])
def test_double_descent_ends_within_a_tenth_of_the_lower_bound(slots: int, has_compiler: bool):
    table, cost = expand(load_spec("double_descent").spec), FormulaCost(device="cpu")
    wanted = replace(SLOTS, slots=slots, has_compiler=has_compiler)
    packs = cut(table, wanted, cost, PackingOptions())
    bound = lower_bound(table, wanted, cost)
    assert 1.0 <= makespan((pack.estimated_s for pack in packs), slots) / bound <= 1.1
    # A drain waits for the end of a segment.
    assert max(pack.estimated_s / pack.n_segments for pack in packs) < 70


def test_no_cut_gets_below_the_longest_run():
    table = table_of("grid: {width: [4, 400]}\nseeds: 1\n")
    cost = Cost()
    alone = 1000 * cost.seconds_per_run_step(table.config(1), 1, "eager")
    assert lower_bound(table, replace(SLOTS, slots=64), cost) == pytest.approx(alone)
    work = 1000 * sum(cost.seconds_per_run_step(table.config(row), 12, "eager") for row in (0, 1))
    assert lower_bound(table, replace(SLOTS, slots=1), cost) == pytest.approx(work)


def test_equal_runs_fill_all_slots_evenly():
    packs = cut_table(table_of("seeds: 64\n"))
    assert len(packs) % SLOTS.slots == 0
    assert {len(pack.indices) for pack in packs} == {64 // len(packs)}
    assert {pack.settings.lanes for pack in packs} == {8}


def test_a_dear_shape_is_split_so_that_no_slot_waits_for_it():
    # Alone, the wide runs would take ten times as long as all others together.
    table = table_of("grid: {width: [4, 8, 120]}\nseeds: 32\n")
    slots = replace(SLOTS, slots=4)
    packs = cut_table(table, slots, Cost(scale=10))
    total = sum(pack.estimated_s for pack in packs)
    assert makespan((pack.estimated_s for pack in packs), 4) < 1.15 * total / 4
    assert [pack.estimated_s for pack in packs] == sorted((pack.estimated_s for pack in packs), reverse=True)


def test_few_runs_still_use_every_slot():
    assert len(cut_table(table_of("seeds: 4\n"), replace(SLOTS, slots=4), Cost(scale=1000))) == 4


def test_short_sweeps_are_not_cut_to_crumbs():
    # Starting a pack costs more than all these runs.
    assert len(cut_table(table_of("seeds: 12\n"), replace(SLOTS, slots=12), Cost(scale=1e-3))) == 1


def test_lanes_of_the_spec_are_used():
    packs = cut_table(table_of("seeds: 40\n"), lanes=3)
    assert {pack.settings.lanes for pack in packs} == {3}


@pytest.mark.parametrize(
    ("has_compiler", "scale", "engine"), [(False, 100.0, "eager"), (True, 100.0, "compiled"), (True, 0.01, "eager")]
)
def test_compiling_needs_a_compiler_and_enough_work(has_compiler: bool, scale: float, engine: str):
    packs = cut_table(table_of("seeds: 16\n"), replace(SLOTS, has_compiler=has_compiler), Cost(scale=scale))
    assert {pack.settings.engine for pack in packs} == {engine}
    assert all((pack.estimated_s > COMPILE_S) == (engine == "compiled" or scale > 1) for pack in packs)


def test_the_engine_of_the_spec_is_used():
    packs = cut_table(table_of("seeds: 2\n"), engine="plain")
    assert {pack.settings.engine for pack in packs} == {"plain"}


def test_segments_last_about_as_long_as_asked():
    for pack in cut_table(table_of("seeds: 8\n"), cost=Cost(scale=50), segment_s=15.0):
        assert 10 < pack.estimated_s / pack.n_segments < 20
        assert pack.n_segments == -(-1000 // pack.settings.segment_steps)


def test_segments_of_long_packs_are_a_minute_at_most_as_long_as_they_are_not_too_many():
    for pack in cut_table(table_of("seeds: 1\n"), cost=Cost(scale=1000)):  # 40 minutes
        assert 0.9 * GOOD_SEGMENTS < pack.n_segments < 1.1 * GOOD_SEGMENTS
    spec = "steps: 1000000\nseeds: 8\n"
    for pack in cut(expand(load_text(PLAIN.replace("steps: 1000\n", "") + spec).spec), SLOTS, Cost(), PackingOptions()):
        assert pack.estimated_s / pack.n_segments < 65
    for pack in cut_table(table_of("seeds: 8\n"), cost=Cost(scale=1e6)):
        assert 0.9 * MAX_SEGMENTS < pack.n_segments <= MAX_SEGMENTS


def test_a_segment_lasts_forty_times_as_long_as_its_checkpoint_costs():
    # 1 GB takes 5 s to write at 200 MB/s.
    for pack in cut_table(table_of("seeds: 8\n"), cost=Cost(scale=1000, checkpoint_mb=1000)):
        assert pack.estimated_s / pack.n_segments > 0.9 * 40 * 5


def test_a_pack_has_no_more_lanes_than_memory():
    # A worker takes 1 GB, and a lane 8 MB.
    for free_gb, lanes in ((1.05, 6), (1.02, 2), (1.009, 1), (9.0, 8)):
        packs = cut_table(table_of("seeds: 16\n"), replace(SLOTS, pack_memory_bytes=free_gb * 1e9))
        assert max(pack.settings.lanes for pack in packs) <= lanes
    packs = cut_table(table_of("seeds: 16\n"), replace(SLOTS, pack_memory_bytes=1.02e9), lanes=4)
    assert {pack.settings.lanes for pack in packs} == {2}


def test_what_fits_no_memory_is_an_error_with_a_way_out():
    with pytest.raises(UserError, match=r"width 8 on 300 examples needs about 1\.0 GB") as caught:
        cut_table(table_of("seeds: 16\n"), replace(SLOTS, pack_memory_bytes=1.001e9))
    assert "batch_size" in str(caught.value.hint)


def test_long_packs_are_cut_as_long_as_lanes_stay_full():
    packs = cut_table(table_of("seeds: 64\n"), cost=Cost(scale=1000))
    assert len(packs) == 8
    assert {len(pack.indices) for pack in packs} == {8}


def most_files(packs: list) -> int:
    """Published if a file holds no more runs than it must."""
    return sum(-(-len(pack.indices) // pack.publish_runs) for pack in packs)


@pytest.mark.parametrize("rest", ["", "stop: {val_accuracy: 0.99}\n"])
def test_many_runs_publish_at_most_2000_files(rest: str):
    # A run that may stop early can end in any segment.
    table = table_of("grid: {learning_rate: {geomspace: [1e-4, 1e-2, 100]}}\nseeds: 800\n" + rest)
    assert 1000 < most_files(cut_table(table, cost=Cost(lanes=16))) <= MAX_FILES


def test_few_runs_are_published_when_they_end():
    assert {pack.publish_runs for pack in cut_table(table_of("seeds: 800\n"))} == {1}


def test_packs_are_no_more_than_a_launch_can_schedule():
    packs = cut_table(table_of("grid: {width: [4, 8]}\nseeds: 8000\n"), replace(SLOTS, slots=500), Cost(scale=100))
    assert 200 < len(packs) <= MAX_PACKS


@settings(max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 8))
def test_schedule_length_is_that_of_lanes_that_refill(steps: list[int], lanes: int):
    waiting, busy, now = list(steps), [], 0
    while waiting or busy:
        while waiting and len(busy) < lanes:
            busy.append(waiting.pop(0))
        passed = min(busy)
        now += passed
        busy = [left - passed for left in busy if left > passed]
    assert schedule_length(np.array(steps), lanes) == now


def test_pack_ids_name_what_decides_the_bits():
    plain = PackSettings(lanes=2, engine="eager", threads=1, segment_steps=10, device="cpu")
    ids = {
        pack_id(runs, settings, dtype)
        for runs in (["a", "b"], ["b", "a"])
        for settings in (plain, replace(plain, lanes=4), replace(plain, device="cuda"))
        for dtype in ("float32", "float64")
    }
    assert len(ids) == 12
    assert pack_id(["a", "b"], plain, "float32") == "ef062dd6e252a586"
