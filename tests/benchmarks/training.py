"""How fast packs train, against one run at a time: transformers and Liu's toy.

A pack's side is what `launch` starts on this machine: one process a core, each with one thread and a pack of its own,
or one process on the GPU. The baseline is `baseline.py`, in one process, with one thread and with all cores, whichever
is faster.
"""

from collections.abc import Callable, Iterator
from typing import Literal

from benchmarks import baseline
from benchmarks.crew import Crew, Make, gather
from benchmarks.harness import Row, Setting, interleave
from benchmarks.peak import peak_flops
from orchestrator.machine import cpu_count
from trainers import cost
from trainers.config import RunConfig
from trainers.trace import Engine

GOALS = {8: (8, 3), 32: (7, 2.5), 128: (6, 2)}
"""By width: against the eager run, against the compiled one."""
TOY_GOALS = {200: 4, 64: 15}
PEAK_GOAL = 0.65


def transformer(width: int, seed: int = 0) -> RunConfig:
    """Nanda's form and settings on 3,000 of 12,769 sums mod 113, under the default schedule."""
    return RunConfig(
        width=width, train_size=3000, steps=30_000, weight_decay=1.0, beta2=0.98, warmup_steps=10, seed=seed
    )


def toy(width: int, seed: int = 0) -> RunConfig:
    """Liu's addition of 10 symbols, as regression (2022, figure 6b)."""
    return RunConfig(
        task_kind="toy_addition", model="toy", modulus=10, train_size=45, width=width, depth=2, loss="mse",
        learning_rate=1e-4, embedding_learning_rate=1e-3, embedding_weight_decay=0.0, weight_decay=1.0, steps=30_000,
        seed=seed,
    )  # fmt: skip


def pack_step(config: RunConfig, lanes: int, engine: Engine, device: str) -> tuple[Callable[[], object], int]:
    """The step that `train_pack` runs, on full lanes."""
    from trainers import engine as engines
    from trainers import lanes as tensors_of
    from trainers.batches import Batches
    from trainers.trace import PackSettings

    on: Literal["cpu", "cuda"] = "cuda" if device == "cuda" else "cpu"
    engines.prepare(PackSettings(lanes=lanes, engine=engine, threads=1, segment_steps=1, device=on))
    configs = [config.model_copy(update={"seed": seed}) for seed in range(lanes)]
    tensors = tensors_of.empty(configs, lanes, device)
    for lane, run in enumerate(configs):
        tensors.put(lane, run)
    batch = Batches(tensors, configs, [0] * lanes).at([0] * lanes)
    step = engines.make_step(tensors, batch, config, engine)
    return lambda: step(batch), lanes


def single_transformer(width: int, compiled: bool, device: str) -> tuple[Callable[[], object], int]:
    return baseline.transformer_step(width, device=device, compiled=compiled), 1


def single_toy(width: int, compiled: bool, device: str) -> tuple[Callable[[], object], int]:
    return baseline.toy_step(width, device=device, compiled=compiled), 1


def rows(setting: Setting) -> Iterator[Row]:
    flops = peak_flops(setting.device, threads=cpu_count(), repeats=setting.repeats())
    for width, goals in GOALS.items():
        yield from _transformer_rows(setting, width, goals, flops)
    for width, goal in TOY_GOALS.items():
        yield from _toy_rows(setting, width, goal)


def _transformer_rows(setting: Setting, width: int, goals: tuple[float, float], peak: float) -> Iterator[Row]:
    config, on_gpu = transformer(width), setting.device == "cuda"
    where = "the GPU" if on_gpu else "all cores"
    crews = {
        "compiled pack": _packs(setting, config, "compiled"),
        "eager pack": _packs(setting, config, "eager"),
        **_singles(setting, single_transformer, width, threads=[1] if on_gpu else sorted({1, cpu_count()})),
    }
    found = measure(setting, crews)
    name = f"p=113, D=3000, 1 layer, width {width}"
    for kind, goal in zip(("eager", "compiled"), goals, strict=True):
        best = max((side for side in found if side.startswith(f"{kind} run")), key=found.__getitem__)
        yield Row(
            comparison=f"{name}: pack on {where} against the {kind} run",
            ours=found["compiled pack"],
            baseline=found[best],
            unit="run-steps/s",
            goal=goal,
            beside=f"{_starts(crews, 'compiled pack', best)}; uncompiled pack {found['eager pack']:,.0f} run-steps/s",
        )
    yield Row(
        comparison=f"{name}: share of the peak of torch.mm on {where}",
        ours=found["compiled pack"] * cost.flops_per_step(config) / peak,
        goal=PEAK_GOAL if width == 128 else None,
        beside=f"{cost.flops_per_step(config) / 1e9:.2g} GFLOP a run-step by formula; peak {peak / 1e9:.0f} GFLOP/s",
    )


def _toy_rows(setting: Setting, width: int, goal: float) -> Iterator[Row]:
    crews = {
        "compiled pack": _packs(setting, toy(width), "compiled", members=1),
        "eager pack": _packs(setting, toy(width), "eager", members=1),
        **_singles(setting, single_toy, width, threads=[1]),
    }
    found = measure(setting, crews)
    where = "the GPU" if setting.device == "cuda" else "one core"
    yield Row(
        comparison=f"Liu's toy, decoder {width} wide: pack on {where} against the eager run",
        ours=found["compiled pack"],
        baseline=found["eager run, 1 thread"],
        unit="run-steps/s",
        goal=goal,
        beside=f"{_starts(crews, 'compiled pack')}; uncompiled pack {found['eager pack']:,.0f}, "
        f"compiled run {found['compiled run, 1 thread']:,.0f} run-steps/s",
    )


def measure(setting: Setting, crews: dict[str, Crew]) -> dict[str, float]:
    """Run-steps per second of each crew, in turns; then the crews go."""
    seconds = 0.05 if setting.quick else 1.0 if setting.device == "cuda" else 2.0
    try:
        return interleave(
            {name: lambda crew=crew: crew.rate(seconds) for name, crew in crews.items()}, setting.repeats()
        )
    finally:
        for crew in crews.values():
            crew.dismiss()


def _packs(setting: Setting, config: RunConfig, engine: Engine, members: int | None = None) -> Crew:
    members = members or (1 if setting.device == "cuda" else cpu_count())
    lanes = 2 if setting.quick else cost.preferred_lanes(config, engine, setting.device)
    engine = "eager" if setting.quick else engine
    return gather(
        pack_step, members=members, threads=1, device=setting.device, config=config, lanes=lanes, engine=engine
    )


def _singles(setting: Setting, make: Make, width: int, threads: list[int]) -> dict[str, Crew]:
    kinds = {"eager run": False, "compiled run": not setting.quick}
    return {
        f"{kind}, {count} thread{'s' if count > 1 else ''}": gather(
            make, members=1, threads=count, device=setting.device, width=width, compiled=compiled
        )
        for kind, compiled in kinds.items()
        for count in threads
    }


def _starts(crews: dict[str, Crew], *names: str) -> str:
    return "start, compiling included: " + ", ".join(f"{name} {crews[name].start_s:.0f} s" for name in names)
