"""Packs against one Ray Tune trial a run: what one more short run costs, a warm launch, and the logs of both.

Both train Liu et al.'s toy (decoder 32 wide) for 100 steps and are evaluated at the end; grokctl's runs at steps 0, 1
and 10 too, and then they are labelled and drawn. On grokctl's side the cost of one more run is the difference between
whole launches, each with its own Ray; on Tune's it is the time from one trial's end to the last one's, so starts are
left out of both.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from benchmarks.harness import Row, Setting, interleave, seconds
from benchmarks.made_up import MadeUpSweep
from benchmarks.tune_side import ask
from orchestrator import launch
from results import open_sweep

SPEC = """\
name: short_runs
task: {{kind: toy_addition, modulus: 10}}
model: {{kind: toy, width: 32, depth: 2}}
loss: mse
optimizer: {{kind: adamw, embedding_learning_rate: 1e-3, embedding_weight_decay: 0.0}}
steps: 100
evaluation: {{growth: 10, gaps: 1}}
train_size: 45
grid:
  learning_rate: {{geomspace: [1e-4, 1e-2, 16]}}
  weight_decay: {{linspace: [0, 10, 16]}}
seeds: {seeds}
resources: {{device: cpu}}
diagram: {{x: learning_rate, y: weight_decay}}
"""
RUNS = 256
MORE_SEEDS = 4
"""The larger launch has so many times 256 runs more."""


def rows(setting: Setting) -> Iterator[Row]:
    if setting.device != "cpu":
        yield Row(
            comparison="256 short runs against Ray Tune", beside="runs this short are for the CPU: use --device cpu"
        )
        return
    with tempfile.TemporaryDirectory(prefix="grokctl-bench-") as folder:
        yield from _short_runs(setting, Path(folder))
        yield from _logs(setting, Path(folder))


def _short_runs(setting: Setting, folder: Path) -> Iterator[Row]:
    beyond: list[float] = []
    count, skip = (4, 2) if setting.quick else (80, 16)

    def timed(seeds: int) -> float:
        spec, out = folder / f"{seeds}.yaml", Path(tempfile.mkdtemp(dir=folder))
        spec.write_text(SPEC.format(seeds=seeds))
        took = seconds(lambda: launch(spec, out=out / "sweep", console=Console(quiet=True)))
        runs = open_sweep(out / "sweep").runs()
        assert (runs["outcome"] == "ended").all()
        if seeds == 1:
            slots = open_sweep(out / "sweep").plan["slots"]["slots"]
            beyond.append(took - runs["wall_s"].sum() / slots)
        return took

    sides = {
        "256": lambda: timed(1),
        "more": lambda: timed(1 + MORE_SEEDS),
        "best": lambda: float(ask("trials", "best", count, skip)),
    }
    found = interleave(sides, setting.repeats(3))
    marginal = (found["more"] - found["256"]) / (MORE_SEEDS * RUNS)
    defaults = float(ask("trials", "defaults", *((3, 2) if setting.quick else (20, 4))))
    launches = (
        f"launches of {RUNS * (1 + MORE_SEEDS)} and {RUNS} runs take {found['more']:.1f} and {found['256']:.1f} s"
    )
    for name, other, goal in (("best settings", found["best"], 20.0), ("defaults", defaults, 200.0)):
        yield Row(
            comparison=f"one more run of 100 steps, against a trial of Ray Tune with its {name}",
            ours=marginal * 1e3,
            baseline=other * 1e3,
            unit="ms/run",
            lower_is_better=True,
            goal=None if setting.quick else goal,
            beside=launches,
        )
    yield Row(
        comparison=f"a warm launch of {RUNS} runs of 100 steps, beyond its step time",
        ours=statistics.median(beyond),
        unit="s",
        lower_is_better=True,
        goal=None if setting.quick else 20.0,
        beside="with the start and end of Ray, evaluation, commits, labels and the diagram",
    )


def _logs(setting: Setting, folder: Path) -> Iterator[Row]:
    n_runs = 10 if setting.quick else 200
    made_up = MadeUpSweep(folder / "made_up", n_runs, n_runs)
    made_up.commit_all()
    found = ask("logs", made_up.root, setting.repeats())
    of = f"{n_runs} runs, {found['rows']:,} rows"
    yield Row(
        comparison=f"a DataFrame of all traces, {of}, against Tune's logs",
        ours=found["ours"],
        baseline=found["tune"],
        unit="s",
        lower_is_better=True,
        goal=None if setting.quick else 50.0,
        beside="trial_dataframes of ExperimentAnalysis; both with all metrics and hyperparameters",
    )
    yield Row(
        comparison="size of the same, against Tune's JSON and CSV",
        ours=made_up.bytes_published() / found["rows"],
        baseline=found["bytes"] / found["rows"],
        unit="bytes/row",
        lower_is_better=True,
        goal=None if setting.quick else 10.0,
    )
