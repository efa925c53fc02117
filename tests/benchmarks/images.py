"""A multilayer perceptron of 4 x 400 on 2000 images of MNIST's size, full batch: packs against a single run.

At this size the matrix products alone fill a core, in the single run too, so what is left to gain is small; the share
of the peak says how small. The pixels are random: a dense product takes as long on any numbers.
"""

import functools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from images_helpers import mlp, part, write_images

from benchmarks import baseline
from benchmarks.crew import Crew, gather
from benchmarks.harness import Row, Setting, interleave
from benchmarks.peak import peak_flops
from orchestrator.machine import cpu_count
from trainers import cost, engine, lanes
from trainers.batches import Batches
from trainers.trace import PackSettings

WIDTH, DEPTH, IMAGES, SIDE, CLASSES = 400, 4, 2000, 28, 10


def flops_per_step(images: int) -> float:
    """Useful ones of one run: every product forward, by weights, and by inputs but for the first layer's."""
    first, hidden, last = SIDE**2 * WIDTH, (DEPTH - 1) * WIDTH**2, WIDTH * CLASSES
    return 2.0 * images * (3 * (first + hidden + last) - first)


def single(images: int, device: str) -> tuple[Callable[[], object], int]:
    return baseline.image_mlp_step(images, device=device), 1


def pack(folder: Path, images: int, n_lanes: int, device: str) -> tuple[Callable[[], object], int]:
    """The step of a full pack."""
    import torch

    on: Literal["cpu", "cuda"] = "cuda" if device == "cuda" else "cpu"
    engine.prepare(
        PackSettings(lanes=n_lanes, engine="eager", threads=torch.get_num_threads(), segment_steps=1, device=on)
    )
    configs = [mlp(folder, width=WIDTH, depth=DEPTH, train_size=images, val_size=1, seed=i) for i in range(n_lanes)]
    held = lanes.empty(configs, n_lanes, device)
    for lane, config in enumerate(configs):
        held.put(lane, config)
    batch = Batches(held, configs, [0] * n_lanes).at([0] * n_lanes)
    step = engine.make_step(held, batch, configs[0], "eager")
    return functools.partial(step, batch), n_lanes


def rows(setting: Setting) -> Iterator[Row]:
    images, turn_s = (100, 0.1) if setting.quick else (IMAGES, 1.5)
    cores = cpu_count() if setting.device == "cpu" else 1
    with tempfile.TemporaryDirectory(prefix="grokctl-bench-") as name, ExitStack() as stack:
        pool = part(images, side=SIDE, n_classes=CLASSES)
        folder = write_images(Path(name), pool=pool, val=part(CLASSES, side=SIDE, n_classes=CLASSES))
        example = mlp(folder, width=WIDTH, depth=DEPTH, train_size=images, val_size=1)
        packs = {"folder": folder, "images": images, "n_lanes": cost.preferred_lanes(example, "eager", setting.device)}

        def crew(make: Callable[..., Any], members: int, threads: int, **arguments: Any) -> Crew:
            gathered = gather(make, members=members, threads=threads, device=setting.device, **arguments)
            stack.callback(gathered.dismiss)
            return gathered

        crews = {"pack": crew(pack, cores, 1, **packs), "single 1": crew(single, 1, 1, images=images)}
        if cores > 1:
            crews["one process"] = crew(pack, 1, cores, **packs)
            crews["single all"] = crew(single, 1, cores, images=images)
        sides = {name: functools.partial(crew.rate, turn_s) for name, crew in crews.items()}
        sides["peak"] = functools.partial(peak_flops, setting.device, threads=cores, repeats=1)
        found = interleave(sides, setting.repeats())
    best = max(found["single 1"], found.get("single all", 0))
    other = f"; in one process with {cores} threads {found['one process']:.3g}" if cores > 1 else ""
    yield Row(
        comparison=f"MLP {DEPTH} x {WIDTH} on {images} images, full batch",
        ours=found["pack"],
        baseline=best,
        unit="run-steps/s",
        beside=f"{cores} processes of {packs['n_lanes']} lanes{other}; single run: better of 1 and {cores} threads. "
        f"Start {crews['pack'].start_s:.0f} s. The goal is 1.5x, or the share of the peak in the next row",
    )
    percent = 100 * flops_per_step(images) / found["peak"]
    yield Row(
        comparison="the same, share of the peak of torch.mm",
        ours=percent * found["pack"],
        unit="%",
        goal=None if setting.quick else 70.0,
        beside=f"useful operations by formula; the single run has {percent * best:.0f} %",
    )
