"""Which seed makes runs replicates of one another: statistics over seeds are over independent runs."""

import numpy as np
import numpy.typing as npt
import pandas as pd

SEED_COLUMNS = ("seed", "data_seed", "init_seed")


def replicate_seeds(runs: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Of each run the seed by which replicates differ: that of the data where it varies, since train sets of one
    data_seed nest and share their luck at every size; else that of the initial weights. Without a column of seeds each
    run is a replicate of its own. A data_seed or init_seed that is not given is the seed.
    """
    names = [name for name in SEED_COLUMNS if name in runs.columns]
    if not names:
        return np.arange(len(runs)).astype(object)
    seed = runs["seed"] if "seed" in names else pd.Series(0, runs.index)
    of_data, of_weights = (
        runs[name].astype(object).where(runs[name].notna(), seed) if name in names else seed.astype(object)
        for name in ("data_seed", "init_seed")
    )
    chosen = of_data if of_data.nunique(dropna=False) > 1 else of_weights
    return chosen.to_numpy(dtype=object)


def with_replicate_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with those in the column `seed`; as they are if that is where they stand already."""
    if not {"data_seed", "init_seed"} & set(runs.columns):
        return runs
    seeds = pd.Series(replicate_seeds(runs), runs.index).infer_objects()
    return runs.assign(seed=seeds)
