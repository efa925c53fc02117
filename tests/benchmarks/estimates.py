"""What the planner foretells of shipped specs, against what their packs take: time and memory.

Of each spec the pack of the median estimate is trained for some seconds, with the lanes, the engine and the evaluations
that the plan gives it, in as many processes side by side as the machine has slots. Tracing, compiling and commits are
left out of both sides. Specs whose packs have the shape of an earlier one's are passed over, and so are those that ask
for a folder of the user's. The machine's own calibration is used if there is one (`grokctl doctor --calibrate`).
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.crew import gather
from benchmarks.harness import FAILED, Row, Setting, interleave
from orchestrator import shipped
from orchestrator.calibration import stored_cost
from orchestrator.costs import FormulaCost
from orchestrator.errors import UserError
from orchestrator.machine import find_slots
from orchestrator.packing import Slots
from orchestrator.plan import PlannedPack, make_plan
from orchestrator.spec import load_spec
from trainers.config import RunConfig, shape_key
from trainers.cost import evaluations_per_step
from trainers.trace import PackSettings

GOAL = 0.25


@dataclass(frozen=True, kw_only=True)
class Found:
    """Of one pack: estimate over measurement."""

    time: float
    memory: float


def rows(setting: Setting) -> Iterator[Row]:
    found = {}
    for name, pack, slots, cost in chosen_packs(setting):
        try:
            found[name] = each = measure(pack, slots, cost, setting)
        except EOFError:  # the others are worth a quarter of an hour
            yield Row(comparison=f"{name}: {FAILED}", beside="the process of its pack ended")
            continue
        yield Row(
            comparison=f"{name}: estimate over measurement, time of a step",
            ours=each.time,
            beside=f"memory {each.memory:.2f}",
        )
    errors = {name: abs(each.time - 1) for name, each in found.items()}
    yield Row(
        comparison=f"time of a step, foretold by the plan: median error of {len(errors)} packs",
        ours=100 * statistics.median(errors.values()),
        unit="%",
        lower_is_better=True,
        goal=None if setting.quick else 100 * GOAL,
        beside=f"worst: {max(errors, key=errors.__getitem__)}",
    )
    yield Row(
        comparison="peak memory of a worker over its estimate, the worst pack",
        ours=max(1 / each.memory for each in found.values()),
        lower_is_better=True,
        goal=None if setting.quick else 1.05,
    )


def chosen_packs(setting: Setting) -> Iterator[tuple[str, PlannedPack, Slots, FormulaCost]]:
    """One pack of each spec that has another shape than those before."""
    seen = set()
    for name in ("quickstart",) if setting.quick else shipped.names():
        try:
            loaded = load_spec(name, {})
            slots = find_slots(loaded.spec.resources)
            cost = stored_cost(slots)
            packs = make_plan(loaded, slots, cost).packs
        except UserError:  # a folder of images that is not there
            continue
        pack = packs[len(packs) // 2]
        shape = (shape_key(pack.config(0)), pack.settings.engine, pack.settings.lanes)
        if shape not in seen:
            seen.add(shape)
            yield name, pack, slots, cost


def measure(pack: PlannedPack, slots: Slots, cost: FormulaCost, setting: Setting) -> Found:
    settings = pack.settings
    configs = pack.configs()[: settings.lanes]
    crew = gather(pack_step, members=slots.slots, threads=settings.threads, device=slots.device,
                  configs=configs, settings=settings)  # fmt: skip
    seconds = 0.05 if setting.quick else 2.0
    try:
        rate = interleave({"pack": lambda: crew.rate(seconds) / slots.slots}, setting.repeats(3))["pack"]
        longest = max((at_start(config) for config in configs), key=lambda config: config.train_size)
        foretold = cost.seconds_per_run_step(longest, settings.lanes, settings.engine)
        return Found(time=foretold * rate, memory=1e6 * pack.memory_mb / crew.peak_bytes())
    finally:
        crew.dismiss()


def at_start(config: RunConfig) -> RunConfig:
    """As if the run stayed on the examples that it starts with: so many are measured."""
    return config.model_copy(update={"train_size": config.sizes_of_member[0].size, "train_size_before": ""})


def pack_step(configs: list[RunConfig], settings: PackSettings, device: str) -> tuple[Callable[[], object], int]:
    """A step of full lanes, with an evaluation of all of them as often as the schedule has one in the mean."""
    from trainers import engine
    from trainers import lanes as tensors_of
    from trainers.batches import Batches

    engine.prepare(settings)
    tensors = tensors_of.empty(configs, settings.lanes, device)
    for lane, run in enumerate(configs):
        tensors.put(lane, run)
    everyone, done, due = list(range(len(configs))), [0] * len(configs), [1.0]
    batches = Batches(tensors, configs, done)
    program = engine.make_step(tensors, batches.at(done), configs[0], settings.engine)

    def step() -> None:
        program(batches.at(done))
        done[:] = [steps + 1 for steps in done]
        due[0] += evaluations_per_step(configs[0])
        if due[0] >= 1:
            due[0] -= 1
            engine.evaluate(tensors, everyone, configs[0], settings.engine).tolist()

    return step, len(configs)
