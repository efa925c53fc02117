"""What the papers' figures show, on sweeps whose traces are made up."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import TINY_SPEC
from figure_helpers import Behaviour, Floats, groks, made_up, rise
from matplotlib.figure import Figure

from orchestrator.papers import training_sets
from orchestrator.tables import label_ended
from results.agreement import fleiss_kappa
from results.classify import ClassifierSettings
from results.figures import FIGURES, find_figure
from results.figures.curves import APART
from results.figures.davies2022_fig6 import bumps, count_of
from results.figures.power2022_fig2 import variants
from results.figures.sheet import VAL
from results.figures.times import censored_median, fit_slope
from results.palette import FAINT, INK
from results.sweep import Sweep, open_sweep
from trainers.config import RunConfig
from trainers.metrics.measures import Reading
from trainers.tasks import build

MakeUp = Callable[..., Sweep]


@pytest.fixture
def sweep_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeUp:
    def make(spec: str, behaviour: Behaviour = groks, **overrides: str) -> Sweep:
        return made_up(spec, tmp_path / "sweep", behaviour, monkeypatch, overrides)

    return make


def test_kappa_is_one_where_seeds_agree_and_nought_where_they_agree_by_chance() -> None:
    agree = pd.DataFrame({"x": [0, 0, 1, 1], "phase": ["a", "a", "b", "b"]})
    assert fleiss_kappa(agree, ["x"]) == pytest.approx(1)
    pairs = [("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]
    chance = pd.DataFrame([{"x": i, "phase": p} for i, pair in enumerate(pairs) for p in pair])
    assert fleiss_kappa(chance, ["x"]) == pytest.approx(0)
    assert math.isnan(fleiss_kappa(agree.drop_duplicates(), ["x"]))


def test_kappa_is_that_of_a_worked_example() -> None:
    """14 raters, 10 subjects, 5 categories: .210 (the example of Wikipedia's page on Fleiss' kappa)."""
    table = ["0 0 0 0 14", "0 2 6 4 2", "0 0 3 5 6", "0 3 9 2 0", "2 2 8 1 1"]
    table += ["7 7 0 0 0", "3 2 6 3 0", "2 5 3 2 2", "6 5 2 1 0", "0 2 2 3 7"]
    rows = [
        {"subject": subject, "phase": category}
        for subject, counts in enumerate(table)
        for category, count in enumerate(counts.split())
        for _ in range(int(count))
    ]
    assert fleiss_kappa(pd.DataFrame(rows), ["subject"]) == pytest.approx(0.210, abs=5e-4)


def test_liu_diagrams_put_the_fast_capable_decoder_at_the_upper_right(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        confused = config.weight_decay > 1
        train = rise(steps, math.inf if confused else 100)
        return {"train_accuracy": train, "val_accuracy": rise(steps, math.inf)}

    figure = find_figure("liu2022_fig6b").draw(sweep_of("quickstart", behaviour, steps="2000"))
    low, high = figure.axes[0].get_ylim()
    assert low > high, "decay grows downwards"
    words = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert {"memorization", "confusion"} <= set(words)
    assert "grokking" not in words


def test_the_transformers_phases_have_a_small_sweep_over_both_axes(sweep_of: MakeUp) -> None:
    asked = find_figure("liu2022_fig7")
    figure = asked.draw(sweep_of(asked.small, steps="2000"))
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("learning_rate", "weight_decay")


def test_liu_diagrams_say_how_far_seeds_agree(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        fast = config.learning_rate > 1e-3
        return {"train_accuracy": rise(steps, 10), "val_accuracy": rise(steps, 20 if fast else math.inf)}

    figure = find_figure("liu2022_fig6a").draw(sweep_of("liu2022_fig6a_addition_rates", behaviour, steps="2000"))
    assert "kappa between seeds 1.00" in " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def test_huang_figures_have_a_panel_for_each_train_size(tmp_path: Path, sweep_of: MakeUp) -> None:
    spec = tmp_path / "tiny.yaml"
    sizes = TINY_SPEC.replace("  learning_rate: [1e-3, 1e-2]", "  train_size: [20, 30, 40]")
    spec.write_text(sizes.replace("y: learning_rate", "y: train_size").replace("train_size: 30\n", ""))
    figure = find_figure("huang2024_fig6").draw(sweep_of(str(spec)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split(":")[0] for title in titles if title] == [f"train_size = {size}" for size in (20, 30, 40)]


def words_of(figure: Figure) -> str:
    """All text of header and panels."""
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return " ".join([*(text.get_text() for text in figure.texts), *titles, *inside]).replace("\n", " ")


def key_of(figure: Figure) -> list[str]:
    keys = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    return [text.get_text() for key in keys for text in key.get_texts()]


def tiny(tmp_path: Path, grid: str, **changes: str) -> str:
    """The path of a spec with this grid."""
    text = TINY_SPEC[: TINY_SPEC.index("grid:")]
    text = text.replace("train_size: 30\n", "") if "train_size" in grid else text
    for old, new in changes.items():
        text = text.replace(old, new)
    spec = tmp_path / "tiny.yaml"
    spec.write_text(f"{text}grid: {grid}\nseeds: 3\nresources: {{device: cpu}}\n")
    return str(spec)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("davies2022_fig3", ["width"]),
        ("davies2022_fig5", ["width"]),
        ("huang2024_fig3", ["width", "train_size"]),
        ("huang2024_fig6", ["width", "train_size"]),
        ("power2022_fig1", ["task", "train_size"]),
        ("varma2023_ungrokking", ["weight_decay", "train_size"]),
    ],
)
def test_means_over_seeds_are_of_runs_that_differ_in_seeds_alone(
    name: str, axes: list[str], tmp_path: Path, sweep_of: MakeUp
) -> None:
    grid = "{width: [4, 8], train_size: [20, 30], weight_decay: [0.1, 1.0]}"
    others = [f"{axis} (2 values)" for axis in ("width", "train_size", "weight_decay") if axis not in axes]
    words = f"runs at the same {' and '.join(axes)} also differ in {', '.join(others)}, which the figure"
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        find_figure(name).draw(sweep_of(tiny(tmp_path, grid)))


def test_a_mean_over_all_runs_needs_a_sweep_over_seeds_alone(tmp_path: Path, sweep_of: MakeUp) -> None:
    sweep = sweep_of(tiny(tmp_path, "{width: [4, 8]}"))
    with pytest.raises(ValueError, match=r"^runs differ in width \(2 values\), which"):
        find_figure("davies2022_fig6").draw(sweep)


def test_dynamics_of_other_settings_have_panels_of_their_own(tmp_path: Path, sweep_of: MakeUp) -> None:
    sweep = sweep_of(tiny(tmp_path, "{width: [4, 8], weight_decay: [0.1, 1.0]}"))
    figure = find_figure("huang2024_fig2").draw(sweep)
    assert "width 4, train_size 30, weight_decay 0.1:" in words_of(figure)
    assert [len(axes.lines) for axes in figure.axes[:4]] == [2 * 3 + 1] * 4


def test_seeds_agree_within_a_setting(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        learned = config.width == 8
        return {"train_accuracy": rise(steps, 10), "val_accuracy": rise(steps, 20 if learned else math.inf)}

    grid = "{learning_rate: [1e-3, 1e-2], weight_decay: [0.1, 1.0], width: [4, 8]}"
    figure = find_figure("liu2022_fig6b").draw(sweep_of(tiny(tmp_path, grid), behaviour, steps="2000"))
    words = words_of(figure)
    assert "pooled over width (2 values)" in words
    assert "kappa between seeds 1.00" in words


def test_dynamics_name_the_phases_of_each_cell(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        late = config.steps * (0.5 if config.seed else math.inf)
        return {"train_accuracy": rise(steps, 10), "val_accuracy": rise(steps, late)}

    sweep = sweep_of(tiny(tmp_path, "{width: [4, 8]}"), behaviour, steps="20000")
    figure = find_figure("huang2024_fig2").draw(sweep)
    assert "width 4, train_size 30: grokking 2, memorization 1" in words_of(figure)
    assert all(len(axes.lines) == 2 * 3 + 1 for axes in figure.axes[:2]), "two accuracies for each seed, and chance"


def test_the_figure_of_random_labels_counts_pairs(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        return {"train_accuracy": rise(steps, 10, high=config.width / 10)}

    spec = tiny(tmp_path, "{width: [4, 8]}", **{"modular, op: a + b": "random_labels"})
    figure = find_figure("huang2024_fig4").draw(sweep_of(spec, behaviour))
    line = next(line for line in figure.axes[0].lines if line.get_linestyle() == "-")
    assert list(line.get_ydata()) == [12, 24]


def test_only_random_labels_are_counted_as_memory(tmp_path: Path, sweep_of: MakeUp) -> None:
    with pytest.raises(ValueError, match="has a rule"):
        find_figure("huang2024_fig4").draw(sweep_of(tiny(tmp_path, "{width: [4, 8]}")))


def test_norms_carry_a_dot_where_validation_passes_a_half(tmp_path: Path, sweep_of: MakeUp) -> None:
    figure = find_figure("huang2024_fig9").draw(sweep_of(tiny(tmp_path, "{width: [4, 8]}"), groks, steps="1000"))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 3
    assert all(500 <= dot.get_xdata()[0] < 600 for dot in dots)


def test_runs_that_never_generalize_are_drawn_as_censored(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        late = math.inf if config.train_size == 15 else 100 + config.seed
        return {"train_accuracy": rise(steps, 10), "val_accuracy": rise(steps, late)}

    sweep = sweep_of(tiny(tmp_path, "{train_size: [15, 30, 40]}"), behaviour, steps="1000")
    panel = find_figure("power2022_fig1").draw(sweep).axes[0]
    triangles = [line for line in panel.lines if line.get_marker() == "^"]
    assert sum(len(line.get_xdata()) for line in triangles) == 3
    medians = next(line for line in panel.lines if line.get_linestyle() == "-")
    assert len(medians.get_xdata()) == 2, "no median where half of the runs are censored"


def test_pope_says_between_which_steps_validation_rises(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Floats]:
        loss = np.where(steps > 500, 1e-3, 5.0)
        if config.learning_rate > 1e-3:
            return {"val_accuracy": np.clip(steps / 1000, 0.01, 1), "val_loss": loss, "train_loss": loss}
        return {"val_accuracy": 0.02, "val_loss": loss, "train_loss": loss}

    sweep = sweep_of(tiny(tmp_path, "{learning_rate: [1e-3, 1e-2]}"), behaviour, steps="1000")
    words = words_of(find_figure("pope2023_arms").draw(sweep))
    assert "validation ends at 2%" in words
    assert "10 to 90 %: steps 1" in words


def test_a_median_with_censored_runs_is_known_while_half_got_there() -> None:
    assert censored_median([5.0, 1.0, math.inf]) == 5
    assert censored_median([1.0, math.inf]) == math.inf
    assert censored_median([1.0, 3.0]) == 2


def test_the_slope_is_found_though_half_of_the_runs_are_censored() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(np.linspace(30.0, 60.0, 11), 20)
    times = np.exp(12 - 0.12 * x + 0.4 * rng.standard_normal(len(x)))
    budget = float(np.median(times))
    seen = np.where(times <= budget, times, np.inf)
    found = fit_slope(x, seen, budget)
    assert found is not None
    assert abs(found.slope + 0.12) < 3 * found.slope_se < 0.06
    dropped = fit_slope(x[np.isfinite(seen)], times[np.isfinite(seen)], math.inf)
    assert dropped is not None
    assert dropped.slope > found.slope + 0.02, "leaving censored runs out would make the slope look shallow"


def test_no_slope_is_fitted_to_too_few_runs() -> None:
    assert fit_slope(np.array([1.0, 2, 3]), np.array([5.0, 4, np.inf]), 10) is None


def test_a_constant_further_metric_is_no_hyperparameter(tmp_path: Path, sweep_of: MakeUp) -> None:
    spec = tiny(tmp_path, "{width: [4, 8]}", **{"steps: 40": "steps: 40\nmetrics: [full_accuracy]"})
    sweep = sweep_of(spec, lambda config, steps: {"full_accuracy": 0.5})
    assert "full_accuracy" not in sweep.labels().columns
    (sweep.store.root / "runs.parquet").unlink()  # as while the first launch is at work
    labels = label_ended(open_sweep(sweep.store.root), ClassifierSettings())
    assert labels[["train_fraction", "chance_accuracy"]].notna().all(axis=None)
    assert set(sweep.traces()["full_accuracy"]) == {0.5}


def test_division_counts_right_answers_by_subset(sweep_of: MakeUp) -> None:
    """Of 465 validation examples mod 31 some 15 are 0 / b; the sizes are read off the accuracies."""

    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        subsets = build(config).subsets
        is_val = np.isin(np.arange(len(subsets["zero"])), build(config).val_V)
        sizes = {name: int((mask & is_val).sum()) for name, mask in subsets.items()}
        right = {name: np.minimum(np.arange(len(steps)), n) / n for name, n in sizes.items()}
        return {f"val_accuracy_{name}": values for name, values in right.items()}

    sweep = sweep_of("davies2022_fig6_first_steps_small", behaviour)
    panel = find_figure("davies2022_fig6").draw(sweep).axes[0]
    zero = next(line for line in panel.lines if line.get_color() == APART[0])
    assert list(zero.get_ydata()[:5]) == pytest.approx([0, 1, 2, 3, 4])


def test_the_early_bump_is_the_most_right_answers(sweep_of: MakeUp) -> None:
    """0 / b is right from step 40 on, all others are below chance from step 60 to 600, and more is right in the end."""

    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        right = np.select([steps < 40, steps < 60, steps < 600], [10, 30, 15], 60) / 465
        rest = np.select([steps < 60, steps < 600], [0.05, 0.01], 0.1)
        return {"val_accuracy": right, "val_accuracy_zero": rise(steps, 40, 0.0), "val_accuracy_rest": rest}

    sweep = sweep_of("davies2022_fig6_first_steps_small", behaviour)
    found = bumps(sweep, sweep.labels())
    assert len(found) == 2
    for bump in found:
        assert bump.right == 30
        assert bump.zero_right == bump.zeros
        assert 40 <= bump.step < 60 <= bump.below_from < 70
        assert 600 <= bump.below_to < 640


def test_counts_are_the_least_that_make_shares() -> None:
    assert count_of(np.array([0.0, 1 / 48, 17 / 48]), 1000) == 48
    assert count_of(np.array([0.5, 1.0]), 1000) == 2
    assert count_of(np.array([np.pi / 4]), 20) == 20


def test_heat_maps_mark_where_training_gets_to_ninety_percent(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        loss = 1.0 + config.width / steps.clip(1)
        fitted = rise(steps, 100 if config.width > 10 else math.inf)
        return {"train_accuracy": fitted, "val_accuracy": 0.1, "train_loss": loss, "val_loss": loss}

    figure = find_figure("davies2022_fig3").draw(sweep_of("davies2022_fig3_model_wise_small", behaviour))
    marks = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert len(marks) == 5, "of the ten widths those above 10"
    assert all(95 < mark < 115 for mark in marks)


def test_ends_are_smoothed_over_width(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        return {"train_accuracy": 1.0, "val_accuracy": 0.9 if config.width > 10 else 0.1, "val_loss": 2.0}

    panel = find_figure("davies2022_fig5").draw(sweep_of("davies2022_fig3_model_wise_small", behaviour)).axes[0]
    line = next(line for line in panel.lines if line.get_linestyle() == "-" and line.get_color() == VAL)
    values = list(line.get_ydata())
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.1, abs=0.02)
    assert values[-1] == pytest.approx(0.9, abs=0.02)
    assert any(0.2 < value < 0.8 for value in values), "a step is smoothed"


def test_the_spectrum_is_shown_before_and_after(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        def power(at_five: float) -> Reading:
            values = np.where(np.arange(1, 16) == 5, at_five, 1.0)
            return Reading("embedding_power", None, np.arange(1, 16), values)

        readings = [(0, power(1.0)), (100, power(1.0)), (config.steps, power(100.0))]
        return {**groks(config, steps), "measures": readings}

    panels = find_figure("nanda2022_fourier").draw(sweep_of("nanda2022_fourier_modular_addition_small", behaviour)).axes
    before, after = ([bar.get_height() for bar in panel.patches] for panel in panels[:2])
    assert before == pytest.approx([1 / 15] * 15)
    assert after[4] == pytest.approx(100 / 114)


def test_other_seeds_are_runs_of_the_same_setting(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        power = Reading("embedding_power", None, np.arange(1, 4), np.ones(3))
        gini = Reading("embedding_gini", None, None, np.array([config.width / 10]))
        return {**groks(config, steps), "measures": [(0, power), (0, gini), (config.steps, gini)]}

    spec = tiny(tmp_path, "{width: [4, 8]}", **{"steps: 40": "steps: 2000\nmeasures: {names: [fourier]}"})
    figure = find_figure("nanda2022_fourier").draw(sweep_of(spec, behaviour))
    assert [line.get_ydata()[-1] for line in figure.axes[3].lines] == [0.8] * 3
    assert re.search("shown: seed [012], width 8, grokking", words_of(figure))
    assert key_of(figure) == ["training loss", "validation loss", "Gini coefficient: this run", "other seeds"]


def test_sequences_show_both_kinds_of_data_and_each_token(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        late = 100 if config.fresh else 400
        losses = {"train_loss": rise(steps, 50, 2.0, 0.5), "val_loss": rise(steps, late, 2.0, 0.5)}
        accuracies = {"train_accuracy": rise(steps, 50), "val_accuracy": rise(steps, late)}
        readings = [
            (step, Reading("val_token_loss", None, np.arange(3), np.array([1.0, 2.0, 3.0]) + config.seed))
            for step in (0, config.steps)
        ]
        return {**losses, **accuracies, "measures": readings}

    sweep = sweep_of("nanda2022_digit_addition", behaviour, steps="1000")
    figure = find_figure("nanda2022_digit_addition").draw(sweep)
    finite, infinite, *tokens = figure.axes[:4]
    assert "infinite data" in infinite.get_title(loc="left")
    assert "infinite data" not in finite.get_title(loc="left")
    ends = {
        title: next(text.get_text().splitlines()[1] for text in panel.texts)
        for title, panel in (("finite", finite), ("infinite", infinite))
    }
    assert ends["finite"].startswith("step 4")
    assert ends["infinite"].startswith("step 1")
    for panel in tokens:
        assert [list(line.get_ydata()) for line in panel.lines] == [[1, 1], [2, 2], [3, 3]], "of the first seed"


def test_varma_draws_accuracy_over_the_later_size(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        kept = 1.0 if config.train_size > 150 else 0.03
        return {"train_accuracy": 1.0, "val_accuracy": np.where(steps > 2000, kept, 1.0)}

    figure = find_figure("varma2023_ungrokking").draw(sweep_of("varma2023_ungrokking_small", behaviour))
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in lines] == [pytest.approx([0.03] * 3 + [1.0] * 3)] * 2


def test_the_key_names_bands_and_only_dots_that_are_drawn(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        return {"train_accuracy": 1.0, "val_accuracy": 1.0}

    figure = find_figure("varma2023_ungrokking").draw(sweep_of("varma2023_ungrokking_small", behaviour))
    key = key_of(figure)
    assert "95 % interval of the mean over seeds" in key
    assert "a run that is undecided" not in key


def test_delays_stand_in_a_panel_for_each_way_of_training(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        late = 100 if config.fixed_norm else 2000 if config.weight_decay else math.inf
        return {"train_accuracy": rise(steps, 100), "val_accuracy": rise(steps, late)}

    sweep = sweep_of("omnigrok2022_fixed_norm_small", behaviour)
    figure = find_figure("omnigrok2022_fixed_norm").draw(sweep)
    words = words_of(figure)
    assert all(arm in words for arm in ("norm held fixed", "free, decay 0:", "free, decay 1:"))
    triangles = {
        axes.get_title(loc="left").split(":")[0]: sum(
            len(line.get_xdata()) for line in axes.lines if line.get_marker() == "^"
        )
        for axes in figure.axes[:3]
    }
    never = len(sweep.runs(fixed_norm=False, weight_decay=0))
    assert triangles == {"norm held fixed": 0, "free, decay 0": never, "free, decay 1": 0}
    assert never, "the sweep has runs that never generalize"


def test_progression_has_a_row_for_each_setting(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        return {"train_accuracy": config.learning_rate * 100, "val_accuracy": 0.01}

    figure = find_figure("huang2024_fig5").draw(sweep_of("huang2024_fig5_progression", behaviour, steps="1000"))
    shown = {
        panel.get_title(loc="left").split(":")[0]: {round(float(line.get_ydata()[-1]), 9) for line in panel.lines[:5]}
        for panel in figure.axes[0:4:2]
    }
    assert shown == {"training, learning_rate 0.001": {0.1}, "training, learning_rate 0.003": {0.3}}


def test_the_best_seed_stands_for_a_size(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        good = config.split_mlp and config.seed == 1
        return {"train_accuracy": 1.0, "val_accuracy": 0.9 if good else 0.1}

    figure = find_figure("huang2024_fig10").draw(sweep_of("huang2024_fig10_split_small", behaviour))
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert [set(line.get_ydata()) for line in lines] == [{0.1}, {0.9}]


def test_representations_are_timed_against_the_theory(tmp_path: Path, sweep_of: MakeUp) -> None:
    """Linear from step 1,000 on, in runs with more than half of the pairs."""

    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        rng = np.random.default_rng(0)
        bent, linear = rng.uniform(-0.5, 0.5, (10, 1)), np.linspace(-1, 1, 10)[:, None]
        learns = config.train_size > 27
        kept = [(step, "embed.weight", linear if learns and step >= 1000 else bent) for step in (0, 100, 1000, 10000)]
        return {"full_accuracy": 1.0 if learns else config.train_size / 55, "snapshots": kept}

    sweep = sweep_of("liu2022_fig4_representation_quality", behaviour)
    training = training_sets(sweep)
    run = sweep.labels(train_size=15, seed=0).iloc[0]
    pairs = training(run["run_id"])
    assert len(set(pairs)) == 15
    assert all(0 <= i <= j < 10 for i, j in pairs)
    timed = find_figure("liu2022_fig4").draw(sweep, training).axes[1]
    assert sum(len(line.get_xdata()) for line in timed.lines if line.get_marker() == "^") == 5 * 5
    measured, foretold = find_figure("liu2022_fig3").draw(sweep, training).axes[:2]
    medians = [
        next(line.get_ydata() for line in panel.lines if line.get_linestyle() == "-") for panel in (measured, foretold)
    ]
    assert medians[0] == pytest.approx(medians[1], abs=0.2), (
        "a bent embedding foretells its training set, a linear one all"
    )
    both = find_figure("liu2022_fig5").draw(sweep, training).axes[1]
    assert len({line.get_color() for line in both.lines if line.get_linestyle() == "-"}) == 2


def test_figures_of_training_sets_say_that_they_need_them(sweep_of: MakeUp, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        find_figure("liu2022_fig5").draw(sweep_of(tiny(tmp_path, "{width: [4, 8]}")))


def test_the_neurons_that_grow_are_told_from_the_rest(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        def read(step: int) -> list[tuple[int, Reading]]:
            norms = np.where(np.isin(np.arange(config.width), (3, 7)), 1.0 + step / 1000, 1.0 - step / 20000)
            size = Reading("subnetwork_size", None, None, np.array([2.0 if step else float(config.width)]))
            return [(step, Reading("neuron_norms", "layers.0.weight", np.arange(config.width), norms)), (step, size)]

        return {**groks(config, steps), "measures": [*read(0), *read(config.steps)]}

    figure = find_figure("merrill2023_parity").draw(sweep_of("merrill2023_sparse_parity", behaviour))
    neurons = [line for line in figure.axes[1].lines if line.get_color() == VAL]
    assert [list(line.get_ydata()) for line in neurons] == [pytest.approx([1.0, 10.3])] * 2
    faint, dark = (
        [list(line.get_ydata()) for line in figure.axes[2].lines if line.get_color() == color] for color in (FAINT, INK)
    )
    assert faint == [[1000, 2]] * 5
    assert dark == [[2]] * 5, "from where the train set is fitted"


def test_components_are_shown_at_stages(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        angles = np.linspace(0, 2 * np.pi, 31, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles), *np.zeros((2, 31))], axis=1)
        kept = [(step, "embed.weight", circle) for step in (0, 50, 2500, 5000)]
        return {**groks(config, steps), "snapshots": kept}

    figure = find_figure("liu2022_fig1").draw(sweep_of("liu2022_fig7_transformer_small", behaviour))
    titles = [axes.get_title(loc="left") for axes in figure.axes[:4]]
    assert titles == [
        "start:\nstep 0",
        "training at 90 %:\nstep 50",
        "validation at 90 %:\nstep 2,500",
        "end:\nstep 5,000",
    ]
    places = np.array([text.xy for text in figure.axes[3].texts if text.get_text().isdigit()])
    assert np.linalg.norm(places, axis=1) == pytest.approx([1.0] * 31)


def test_the_run_of_lowest_dimension_is_shown_and_each_decay_has_a_colour(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        dimension = np.array([20.0 - 5 * config.weight_decay - config.seed])
        readings = [(step, Reading("effective_dimension", None, np.arange(1), dimension)) for step in (0, config.steps)]
        kept = [(step, "embed.weight", np.eye(31, 4)) for step in (0, config.steps)]
        learned = groks(config, steps) if config.weight_decay else {"train_accuracy": rise(steps, 50)}
        return {**learned, "measures": readings, "snapshots": kept}

    sweep = sweep_of("liu2022_fig7_transformer_small", behaviour, steps="500")
    subtitles = [" ".join(text.get_text().split()) for text in find_figure("liu2022_fig1").draw(sweep).texts]
    assert any("seed 9" in text and "lowest effective dimension of 20 that" in text for text in subtitles), subtitles
    figure = find_figure("liu2022_fig7_dimension").draw(sweep)
    dimensions, accuracies = figure.axes[:2]
    ends = {line.get_color(): line.get_ydata()[-1] for line in dimensions.lines if line.get_linewidth() > 1}
    assert list(ends.values()) == pytest.approx([20 - 4.5, 17.5 - 4.5, 10 - 4.5])
    drawn = {line.get_color() for line in accuracies.lines if len(line.get_xdata()) > 2}
    assert drawn == {*ends, FAINT}


def test_dimensions_of_many_settings_have_no_mean(tmp_path: Path, sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        return {"measures": [(0, Reading("effective_dimension", None, np.arange(1), np.array([9.0])))]}

    measures = {"steps: 40": "steps: 40\nmeasures: {names: [effective_dimension]}"}
    spec = tiny(tmp_path, "{weight_decay: [0, 0.1, 0.2, 0.3, 0.5, 1, 2]}", **measures)
    figure = find_figure("liu2022_fig7_dimension").draw(sweep_of(spec, behaviour))
    assert {line.get_linewidth() for line in figure.axes[0].lines} == {0.6}
    assert "7 settings, a line a run" in words_of(figure)


def test_the_plane_shows_what_the_decoder_answers(sweep_of: MakeUp) -> None:
    """A decoder that tells the half planes left and right of the origin apart."""

    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        weights = {
            "embed.weight": np.random.default_rng(0).uniform(-1, 1, (11, 2)),
            "decoder.0.weight": np.array([[1.0, 0.0]]),
            "decoder.0.bias": np.zeros(1),
            "decoder.1.weight": np.array([[-1.0], [1.0]]),
            "decoder.1.bias": np.zeros(2),
        }
        return {**groks(config, steps), "weights": weights}

    figure = find_figure("liu2022_fig2").draw(sweep_of("liu2022_fig2_embeddings", behaviour))
    (image,) = figure.axes[0].images
    left, right, *_ = image.get_extent()
    columns = np.linspace(left, right, image.get_array().shape[1])
    assert (image.get_array()[0] == (columns > 0)).all()


def test_dropout_is_named_with_its_time(sweep_of: MakeUp) -> None:
    def behaviour(config: RunConfig, steps: Floats) -> Mapping[str, Any]:
        late = 1000 / config.dropout if config.dropout else math.inf
        return {"train_accuracy": 1.0, "val_accuracy": rise(steps, late)}

    figure = find_figure("liu2022_fig7_dropout").draw(sweep_of("liu2022_fig7_dropout", behaviour))
    named = [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
    assert named[0] == "dropout 0: not within the budget"
    assert [text.split(":")[0] for text in named] == ["dropout 0", "dropout 0.1", "dropout 0.3", "dropout 0.5"]
    assert named[-1].startswith("dropout 0.5: step 2,")


def test_variants_of_the_optimizer_are_named_by_what_they_change(sweep_of: MakeUp) -> None:
    figure = find_figure("power2022_fig2_optimizers").draw(sweep_of("power2022_fig2_optimizers_small", steps="100"))
    keys = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
    named = {text.get_text() for key in keys for text in key.get_texts()}
    assert {"full batch", "learning_rate 0.01", "dropout 0.1", "weight_decay 1", "none of these"} < named
    assert "weight_decay 1, decay_towards init" in named


def test_settings_that_half_of_the_variants_share_are_said() -> None:
    grid = [{"learning_rate": rate, "weight_decay": decay} for rate in (0.1, 0.2) for decay in (0.0, 1.0)]
    assert variants(grid)[1] == "learning_rate 0.1, weight_decay 1"
    assert variants([{"batch_size": size} for size in (None, 64, 64)]) == ["full batch", *["none of these"] * 2]


def test_each_figure_of_the_paper_is_in_the_readme() -> None:
    readme = (Path(__file__).resolve().parent.parent / "README.md").read_text()
    for figure in FIGURES:
        row = next(line for line in readme.splitlines() if line.startswith(f"| {figure.source} | `{figure.name}` |"))
        assert all(f"`{spec}`" in row for spec in (figure.spec, figure.small) if spec is not None)
