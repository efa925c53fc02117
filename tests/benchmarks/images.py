"""A multilayer perceptron of 4 x 400 on 2000 images of MNIST's size, full batch: packs against a single run.

At this size the matrix products alone fill a core, in the single run too, so what is left to gain is small; the share
of the peak says how small. The pixels are random: a dense product takes as long on any numbers.
"""

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from images_helpers import mlp, part, write_images
from torch import nn

from benchmarks.harness import Row, Setting, interleave
from benchmarks.peak import peak_flops
from benchmarks.turns import Work, rate, workers
from orchestrator.machine import cpu_count
from trainers import cost, engine, lanes
from trainers.batches import Batches

WIDTH, DEPTH, IMAGES, SIDE, CLASSES = 400, 4, 2000, 28, 10


def flops_per_step(images: int) -> float:
    """Useful ones of one run: every product forward, by weights, and by inputs but for the first layer's."""
    first, hidden, last = SIDE**2 * WIDTH, (DEPTH - 1) * WIDTH**2, WIDTH * CLASSES
    return 2.0 * images * (3 * (first + hidden + last) - first)


def single_run(images: int, device: str) -> Work:
    """What users write: Sequential, AdamW(fused=True), the batch on the device once, no evaluation."""
    sizes = [SIDE**2, *[WIDTH] * DEPTH, CLASSES]
    layers: list[nn.Module] = []
    for i in range(DEPTH + 1):
        layers += [nn.Linear(*sizes[i : i + 2]), nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    inputs, labels = torch.rand(images, SIDE**2, device=device), torch.randint(CLASSES, (images,), device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def step() -> int:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        return _done(1, device)

    return step


def pack(folder: Path, images: int, n_lanes: int, threads: int, device: str) -> Work:
    """The step of a full pack."""
    torch.set_num_threads(threads)
    configs = [mlp(folder, width=WIDTH, depth=DEPTH, train_size=images, val_size=1, seed=i) for i in range(n_lanes)]
    held = lanes.empty(configs, n_lanes, device)
    for lane, config in enumerate(configs):
        held.put(lane, config)
    batch = Batches(held, configs, [0] * n_lanes).at([0] * n_lanes)
    step = engine.make_step(held, batch, configs[0], "eager")

    def work() -> int:
        step(held, batch)
        return _done(n_lanes, device)

    return work


def _done(run_steps: int, device: str) -> int:
    if device == "cuda":
        torch.cuda.synchronize()
    return run_steps


def with_threads(threads: int, work: Work, seconds: float) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return rate(work, seconds)
    finally:
        torch.set_num_threads(before)


def rows(setting: Setting) -> Iterator[Row]:
    images, turn_s = (100, 0.1) if setting.quick else (IMAGES, 1.5)
    cores = cpu_count() if setting.device == "cpu" else 1
    with tempfile.TemporaryDirectory(prefix="grokctl-bench-") as name:
        pool = part(images, side=SIDE, n_classes=CLASSES)
        folder = write_images(Path(name), pool=pool, val=part(CLASSES, side=SIDE, n_classes=CLASSES))
        n_lanes = cost.preferred_lanes(
            mlp(folder, width=WIDTH, depth=DEPTH, train_size=images, val_size=1), setting.device
        )
        single = single_run(images, setting.device)
        with workers(cores, pack, folder, images, n_lanes, 1, setting.device) as side_by_side:
            sides = {"pack": lambda: side_by_side(turn_s)}
            for threads in {1, cores}:
                sides[f"single {threads}"] = functools.partial(with_threads, threads, single, turn_s)
            if cores > 1:
                together = pack(folder, images, n_lanes, cores, setting.device)
                together()
                sides["one process"] = functools.partial(with_threads, cores, together, turn_s)
            sides["peak"] = lambda: peak_flops(setting.device, threads=cores, repeats=1)
            found = interleave(sides, setting.repeats())
    best = max(found[f"single {threads}"] for threads in {1, cores})
    other = f"; in one process with {cores} threads {found['one process']:.3g}" if cores > 1 else ""
    yield Row(
        comparison=f"MLP {DEPTH} x {WIDTH} on {images} images, full batch",
        ours=found["pack"],
        baseline=best,
        unit="run-steps/s",
        beside=f"{cores} processes of {n_lanes} lanes{other}; single run: the better of 1 and {cores} threads. "
        "The goal is 1.5x, or the share of the peak in the next row",
    )
    percent = 100 * flops_per_step(images) / found["peak"]
    yield Row(
        comparison="the same, share of the peak of torch.mm",
        ours=percent * found["pack"],
        unit="%",
        goal=None if setting.quick else 70.0,
        beside=f"useful operations by formula; the single run has {percent * best:.0f} %",
    )
