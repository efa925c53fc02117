"""Ray Tune as its users run it, in a process of its own: one trial a run, or its own logs of many runs.

`python -m benchmarks.tune_side trials SETTINGS COUNT SKIP` trains COUNT runs and prints the seconds from the end of
trial number SKIP to the end of the last, a trial. `... logs SWEEP REPEATS` writes the rows of a sweep as Tune logs them
and prints how large they are and how long reading takes, on both sides. Both print one line of JSON, the last.
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BEST = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
STEPS = 100


def train_one(config: dict[str, float]) -> dict[str, float]:
    """Liu et al.'s toy as a user would write it: 100 steps on 45 of the 55 sums, then both accuracies."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(int(config["seed"]))
    pairs = torch.combinations(torch.arange(10), with_replacement=True)
    pairs = pairs[torch.randperm(len(pairs))]
    sums, vectors = pairs.sum(1), torch.randn(19, 30)
    embed = nn.Embedding(10, 1)
    decoder = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 30))
    optimizer = torch.optim.AdamW(
        [
            {"params": embed.parameters(), "lr": 1e-3, "weight_decay": 0.0},
            {"params": decoder.parameters(), "lr": config["learning_rate"], "weight_decay": config["weight_decay"]},
        ],
        fused=True,
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(decoder(embed(pairs[:45]).sum(1)), vectors[sums[:45]]).backward()
        optimizer.step()
    with torch.no_grad():
        right = torch.cdist(decoder(embed(pairs).sum(1)), vectors).argmin(1) == sums
    return {"train_accuracy": right[:45].float().mean().item(), "val_accuracy": right[45:].float().mean().item()}


@contextlib.contextmanager
def local_ray() -> Iterator[Path]:
    """A Ray of this machine's cores, and a folder that both leave behind nothing of."""
    import ray

    folder = Path(tempfile.mkdtemp(prefix="grokctl-bench-", dir="/tmp"))
    try:
        ray.init(
            address="local",
            num_cpus=len(os.sched_getaffinity(0)),
            include_dashboard=False,
            _temp_dir=str(folder / "ray"),
        )
        yield folder
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def seconds_per_trial(settings: str, count: int, skip: int) -> float:
    from ray import tune

    class Trial(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.asked = config

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.asked = new_config
            return True

        def step(self) -> dict[str, Any]:
            return {**train_one(self.asked), "ended_at": time.time(), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Without this one each trial ends with an error, and its actor is not used again."""

        def load_checkpoint(self, checkpoint: Any) -> None:
            """Nothing to go on from."""

    def trial(config: dict[str, Any]) -> None:
        tune.report({**train_one(config), "ended_at": time.time()})

    space = {
        "learning_rate": tune.loguniform(1e-4, 1e-2),
        "weight_decay": tune.uniform(0, 10),
        "seed": tune.grid_search(list(range(count))),
    }
    with local_ray() as folder:
        is_best = settings == "best"
        results = tune.Tuner(
            Trial if is_best else trial,
            param_space=space,
            tune_config=tune.TuneConfig(reuse_actors=True if is_best else None),
            run_config=tune.RunConfig(storage_path=str(folder / "results"), **({"verbose": 0} if is_best else {})),
        ).fit()
        ends = sorted(result.metrics["ended_at"] for result in results)
        assert len(ends) == count
    return (ends[-1] - ends[skip - 1]) / (count - skip)


def logs(sweep: Path, repeats: int) -> dict[str, float]:
    """The rows of every run of a sweep through Tune's own loggers, and both readers on them in turns."""
    from ray import tune
    from ray.train._internal.storage import StorageContext
    from ray.tune.experiment import Trial
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

    from benchmarks.harness import interleave, seconds
    from results import open_sweep

    traces = open_sweep(sweep).traces()
    axes = ["width", "learning_rate", "weight_decay", "seed"]
    metrics = ["step", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "param_norm"]

    class Replay(tune.Trainable):
        """Gives the rows of one run; Tune adds what it adds to every result."""

        def setup(self, config: dict[str, Any]) -> None:
            self.rows: Iterator[dict[str, Any]] = iter(())

        def step(self) -> dict[str, Any]:
            return next(self.rows)

    with local_ray() as folder:
        trials = []
        for run_id, rows in traces.groupby("run_id"):
            config = rows[axes].iloc[0].to_dict()
            storage = StorageContext(storage_path=str(folder / "results"), experiment_dir_name="made_up")
            trial = Trial("replay", stub=True, config=config, storage=storage, trial_id=str(run_id))
            trial.init_local_path()
            replay = Replay(config)
            replay.rows = iter(rows[metrics].to_dict("records"))
            loggers = [JsonLoggerCallback(), CSVLoggerCallback()]
            for logger in loggers:
                logger.log_trial_start(trial)
            for iteration in range(1, len(rows) + 1):
                result = {**replay.train(), "config": config}
                for logger in loggers:
                    logger.log_trial_result(iteration, trial, result)
            for logger in loggers:
                logger.log_trial_end(trial)
            trial.update_last_result(result)
            # What Tune's syncer does with a trial's files.
            shutil.copytree(trial.local_path, Path(trial.storage.trial_fs_path), dirs_exist_ok=True)
            trials.append(trial)
        place = folder / "results" / "made_up"

        def read_tune() -> int:
            # The trials are handed over, so no state is read, which would add to Tune's time.
            frames = tune.ExperimentAnalysis(str(place / "experiment_state.json"), trials=trials).trial_dataframes
            return sum(map(len, frames.values()))

        def read_ours() -> int:
            return len(open_sweep(sweep).traces(columns=["run_id", *metrics, *axes]))

        assert read_tune() == read_ours() == len(traces)
        sides = {"tune": lambda: seconds(read_tune), "ours": lambda: seconds(read_ours)}
        return {
            "rows": len(traces),
            "bytes": sum(path.stat().st_size for path in place.rglob("*") if path.is_file()),
            **interleave(sides, repeats),
        }


def ask(*arguments: object) -> Any:
    """The answer of this module, run as a program."""
    import subprocess

    settings = BEST if "best" in arguments else {}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tune_side", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **QUIET, **settings},
    )
    if done.returncode:
        raise RuntimeError(f"Ray Tune's side failed: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    answer = logs(Path(rest[0]), int(rest[1])) if command == "logs" else seconds_per_trial(rest[0], *map(int, rest[1:]))
    print(json.dumps(answer))
