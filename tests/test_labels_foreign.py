"""Traces of other tools: every export of the same four runs gets the same labels, and what can't be read says why."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Grokctl
from label_traces import eval_steps, learns, sweep
from test_labels_neighbours import grid, sharp

from results.classify import ClassifierSettings, label_runs
from results.foreign import ForeignError, read_foreign, units
from results.foreign.names import crossing_split, meaning_of
from results.foreign.units import LOSS_AGREEMENT

DATA = Path(__file__).resolve().parent / "data" / "foreign"
RUNS = {
    "width16_n520_seed2": "comprehension",
    "width32_n460_seed1": "grokking",
    "width3_n340_seed7": "confusion",
    "width8_n340_seed7": "memorization",
}
STEPS = eval_steps()


def phases(*paths, **options) -> dict[str, str]:
    labels = read_foreign([Path(path) for path in paths], **options).label(ClassifierSettings())
    return dict(zip(labels["run_id"], labels["phase"], strict=True))


def write(path: Path, **columns) -> Path:
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def curves(*, n_runs=1, scale=1.0):
    """Steps, training and validation accuracy of grokking runs, one after the other."""
    train, val = learns(300)(STEPS), learns(10_000)(STEPS)
    return np.tile(STEPS, n_runs), np.tile(train * scale, n_runs), np.tile(val * scale, n_runs)


# Formats


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ("long_percent.csv", "long"),
        ("wandb_charts", "W&B export of charts"),
        ("losses.csv", "long"),
        ("tidy_semicolons.csv", "tidy"),
    ],
)
def test_every_export_of_the_same_runs_gets_the_same_labels(source, shape):
    foreign = read_foreign([DATA / source], classes=31)
    assert foreign.understood.shape == shape
    assert phases(DATA / source, classes=31) == RUNS


def test_a_wide_table_has_a_column_a_run_and_metric():
    foreign = read_foreign([DATA / "wide.parquet"], classes=31)
    labels = foreign.label(ClassifierSettings())
    assert foreign.understood.shape == "wide"
    assert labels["phase"].tolist() == ["comprehension", "grokking", "memorization", "confusion"]


def test_tensorboard_names_run_and_set_in_the_file():
    assert phases(DATA / "tensorboard", classes=31) == {
        run: phase for run, phase in RUNS.items() if phase in ("grokking", "memorization")
    }
    files = sorted((DATA / "tensorboard").glob("*width32*"))
    assert phases(*files, classes=31) == {"width32_n460_seed1": "grokking"}


def test_tensorboard_runs_in_folders_of_their_own(tmp_path):
    for run in ("fast", "slow"):
        (tmp_path / run).mkdir()
        for tag, values in zip(("acc_train", "acc_test"), curves()[1:], strict=True):
            write(tmp_path / run / f"{tag}.csv", **{"Wall time": STEPS / 9, "Step": STEPS, "Value": values})
    assert phases(tmp_path, classes=113) == {"fast": "grokking", "slow": "grokking"}


def test_a_history_has_training_and_validation_in_different_rows():
    foreign = read_foreign([DATA / "wandb_history.csv"], classes=31)
    assert foreign.label(ClassifierSettings())["phase"].tolist() == ["grokking"]
    assert any("logged at different steps" in remark for remark in foreign.understood.remarks)


def test_runs_logged_apart_are_joined_and_the_others_stay_as_they_are(tmp_path):
    """Of `apart` training is logged more often; `beside` is logged at once. What a row lacks is the run's last value
    before it, or else the first behind it, and never another run's."""
    nan = np.nan
    rows = [
        ("apart", 4, 0.4, nan, nan), ("beside", 2, 0.2, 0.1, nan), ("apart", 1, 0.1, nan, nan),
        ("apart", 6, nan, 0.9, 7), ("apart", 3, nan, 0.8, nan), ("beside", 1, nan, 0.3, 5),
        ("apart", 2, 0.2, nan, nan), ("bare", 1, 0.5, 0.5, nan),
    ]  # fmt: skip
    names = ["run", "step", "train_acc", "val_acc", "width"]
    path = write(tmp_path / "x.csv", **dict(zip(names, zip(*rows, strict=True), strict=True)))
    foreign = read_foreign([path], classes=9)
    expected = [
        ("apart", 3, 0.2, 0.8, 7), ("apart", 6, 0.4, 0.9, 7), ("bare", 1, 0.5, 0.5, nan), ("beside", 1, nan, 0.3, 5),
        ("beside", 2, 0.2, 0.1, 5),
    ]  # fmt: skip
    names[:4] = ["run_id", "step", "train_accuracy", "val_accuracy"]
    pd.testing.assert_frame_equal(foreign.traces[names], pd.DataFrame(expected, columns=names), check_dtype=False)
    assert any("(1 runs)" in remark for remark in foreign.understood.remarks)


def test_runs_that_were_logged_apart_are_joined_all_at_once(tmp_path, monkeypatch):
    n_runs, n_rows, n_columns = 300, 6, 10
    joined, calls = units._joined, []
    monkeypatch.setattr(units, "_joined", lambda long, *rest: calls.append(len(long)) or joined(long, *rest))
    step = np.tile(np.arange(n_rows), n_runs)
    is_val = step % 2 == 1
    settings = {f"hp{i}": np.where(step == 1, i, np.nan) for i in range(n_columns)}
    accuracies = {"train_acc": np.where(is_val, np.nan, 1), "val_acc": np.where(is_val, 1, np.nan)}
    path = write(tmp_path / "x.csv", run=np.repeat(np.arange(n_runs), n_rows), step=step, **accuracies, **settings)
    traces = read_foreign([path], classes=9).traces
    assert calls == [n_runs * n_rows]
    assert len(traces) == n_runs * n_rows / 2
    assert (traces[[*settings]].iloc[-1] == np.arange(n_columns)).all()


def test_labels_are_those_of_the_same_rows_in_our_own_form():
    own = pd.read_csv(DATA / "long_percent.csv").rename(columns={"experiment": "run_id", "iteration": "step"})
    own["train_accuracy"], own["val_accuracy"] = own.pop("Train Acc (%)") / 100, own.pop("Test Acc (%)") / 100
    own = own.rename(columns={"n_train": "train_size", "p": "modulus"})
    ours, theirs = label_runs(own), read_foreign([DATA / "long_percent.csv"]).label(ClassifierSettings())
    names = ["run_id", "phase", "t_train", "t_val", "t_onset", "confidence", "train_size", "seed"]
    pd.testing.assert_frame_equal(ours[names], theirs[names], check_dtype=False)


def test_both_passes_where_train_sizes_are_known(tmp_path):
    traces, runs = sweep(grid(sharp), n_rows=60)
    table = traces.merge(runs.drop(columns=["outcome"]))
    table = table.rename(columns={"train_size": "n_train", "train_accuracy": "acc", "val_accuracy": "val_acc"})
    path = write(tmp_path / "sweep.csv", **{name: table[name] for name in table if name != "steps"})
    labels = read_foreign([path]).label(ClassifierSettings())
    low = labels[labels["train_size"] == 2000]
    assert (set(low["phase"]), set(low["pass"])) == ({"ungrokking"}, {2})


def test_keras_calls_training_accuracy_just_accuracy(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "keras.csv", epoch=step, accuracy=train, loss=1 - train, val_accuracy=val, val_loss=1 - val)
    foreign = read_foreign([path], classes=113)
    assert foreign.label(ClassifierSettings())["phase"].tolist() == ["grokking"]
    assert foreign.understood.columns["train_accuracy"] == "accuracy"
    assert any("steps are epochs" in remark for remark in foreign.understood.remarks)


def test_runs_are_told_apart_by_their_hyperparameters(tmp_path):
    step, train, val = curves(n_runs=2)
    seed = np.repeat([3, 5], len(STEPS))
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val, seed=seed, grad_norm=val * 7)
    assert phases(path, classes=113) == {"seed=3": "grokking", "seed=5": "grokking"}


def test_runs_may_lie_in_files_of_their_own(tmp_path):
    step, train, val = curves()
    for name in ("a", "b"):
        write(tmp_path / f"{name}.csv", step=step, train_acc=train, val_acc=val)
    assert phases(tmp_path, classes=113) == {"a": "grokking", "b": "grokking"}


def test_validation_is_preferred_to_test(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val, test_acc=0 * val)
    foreign = read_foreign([path], classes=113)
    assert foreign.understood.columns["val_accuracy"] == "val_acc"
    assert "left aside for val_accuracy: test_acc" in foreign.understood.remarks


def test_missing_rows_and_irregular_steps(tmp_path):
    draw = np.random.default_rng(0)
    step, train, val = curves()
    keep = draw.uniform(size=len(step)) < 0.6
    val = np.where(draw.uniform(size=len(step)) < 0.2, np.nan, val)
    frame = pd.DataFrame({"step": step, "train_acc": train, "val_acc": val})[keep].sample(frac=1, random_state=0)
    path = tmp_path / "x.csv"
    frame.to_csv(path, index=False, na_rep="NaN")
    assert phases(path, classes=113) == {"run": "grokking"}


@pytest.mark.parametrize(
    ("name", "split", "kind"),
    [
        ("train/acc", "train", "accuracy"), ("trainAcc", "train", "accuracy"), ("acc_val", "val", "accuracy"),
        ("Held-out accuracy", "val", "accuracy"), ("eval/loss", "val", "loss"), ("test cross-entropy", "val", "loss"),
        ("loss", "", "loss"), ("weight norm", "", "norm"), ("param_norm", "", "norm"), ("trainErr", "train", "error"),
        ("test_error_rate", "val", "error"), ("top1 val err", "val", "error"), ("val_acc_err", "val", "accuracy"),
    ],
)  # fmt: skip
def test_names_of_metrics(name, split, kind):
    assert (meaning_of(name).split, meaning_of(name).kind) == (split, kind)


@pytest.mark.parametrize(
    "name", ["grad_norm", "lr", "step", "epoch", "train_size", "_runtime", "accelerator", "val_mean_squared_error"]
)
def test_other_names_are_no_metrics(name):
    assert meaning_of(name) is None


# Units


@pytest.mark.parametrize(("train_scale", "val_scale"), [(1, 100), (100, 1)])
def test_a_share_beside_a_percentage_is_told_by_the_guess_that_runs_start_with(tmp_path, train_scale, val_scale):
    step, train, val = curves()
    train, val = (np.maximum(accuracy, 1 / 23) for accuracy in (train, val))
    path = write(tmp_path / "x.csv", step=step, train_acc=train * train_scale, val_acc=val * val_scale)
    assert phases(path, classes=23) == {"run": "grokking"}
    remark = next(r for r in read_foreign([path], classes=23).understood.remarks if "percentages" in r)
    assert remark.endswith("are shares)")


@pytest.mark.parametrize("classes", [None, 23])
@pytest.mark.parametrize(("train_start", "val_end"), [(1, 3), (0.5, 95), (0, 95)])
def test_a_unit_that_nothing_tells_is_asked_for(tmp_path, classes, train_start, val_end):
    train, val = np.linspace(train_start, 1, 9), np.linspace(0, val_end, 9)
    path = write(tmp_path / "x.csv", step=range(9), train_acc=train, val_acc=val)
    with pytest.raises(ForeignError, match=f"'train_acc' never exceeds 1, .* 'val_acc' goes up to {val_end}") as error:
        read_foreign([path], classes=classes)
    assert "Give both in one unit" in error.value.hint
    named = write(tmp_path / "y.csv", step=range(9), **{"train_acc (%)": train, "val_acc": val})
    assert read_foreign([named]).traces["train_accuracy"].max() == 0.01


def test_validation_that_may_be_all_right_or_at_chance_is_asked_for(tmp_path):
    """Logged from late on: 0.9 is a guess among 113 in per cent, or nearly all as a share."""
    path = write(tmp_path / "x.csv", step=[2000, 4000], train_acc=[100, 100], val_acc=[0.9, 0.9])
    with pytest.raises(ForeignError, match=r"'val_acc' never exceeds 0\.9"):
        read_foreign([path], classes=113)


def test_a_column_without_a_number_says_nothing_of_units(tmp_path):
    path = write(tmp_path / "x.csv", step=range(9), train_acc=[None] * 9, val_acc=np.linspace(0, 1, 9))
    assert read_foreign([path]).traces["val_accuracy"].max() == 1


def test_validation_that_gets_nothing_right_is_zero_in_any_unit(tmp_path):
    step, train, _ = curves(scale=100)
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=0 * train)
    assert phases(path, classes=113) == {"run": "memorization"}


@pytest.mark.parametrize("scale", [1, 100])
@pytest.mark.parametrize("given", [{}, {"train_accuracy": "train_error", "val_accuracy": "test_err"}])
def test_errors_are_one_minus_accuracy_and_that_is_said(tmp_path, scale, given):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_error=scale * (1 - train), test_err=scale * (1 - val))
    foreign = read_foreign([path], given=given, classes=113)
    assert "1 - train_error is train accuracy, 1 - test_err is val accuracy" in foreign.understood.remarks[-1]
    right = write(tmp_path / "y.csv", step=step, train_acc=train, val_acc=val)
    pd.testing.assert_frame_equal(foreign.traces, read_foreign([right], classes=113).traces)


def test_errors_of_several_runs_in_a_wide_table(tmp_path):
    step, train, val = curves()
    names = ("train_error_a", "train_error_b", "val_error_a", "val_error_b")
    values = (1 - train, 1 - train, 1 - val, 1 - train)
    path = write(tmp_path / "x.csv", step=step, **dict(zip(names, values, strict=True)))
    assert phases(path, classes=113) == {"a": "grokking", "b": "comprehension"}


def test_accuracies_are_preferred_to_errors(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_err=1 - train, train_acc=train, val_acc=val)
    foreign = read_foreign([path], classes=113)
    assert foreign.understood.columns["train_accuracy"] == "train_acc"
    assert foreign.label(ClassifierSettings())["phase"].tolist() == ["grokking"]


def test_errors_in_one_file_and_accuracies_in_another_are_refused(tmp_path):
    step, train, val = curves()
    write(tmp_path / "a.csv", step=step, train_acc=train, val_acc=val)
    write(tmp_path / "b.csv", step=step, train_err=1 - train, val_err=1 - val)
    with pytest.raises(ForeignError, match="train_acc in one file and train_err in another"):
        read_foreign([tmp_path])


def test_percentages_are_recognized_together(tmp_path):
    step, train, _ = curves(scale=100)
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=np.full(len(step), 0.9))
    foreign = read_foreign([path], classes=113)
    assert any("accuracies are percentages" in remark for remark in foreign.understood.remarks)
    label = foreign.label(ClassifierSettings()).iloc[0]
    assert (label["phase"], label["final_val_accuracy"]) == ("memorization", pytest.approx(0.009))


def test_losses_alone_are_read_against_a_guess_and_are_less_sure():
    labels = read_foreign([DATA / "losses.csv"], classes=31).label(ClassifierSettings())
    assert labels["warning"].str.contains("from_losses").all()
    assert labels["why"].str.startswith("With 1 - loss / ln(classes)").all()
    assert labels["confidence"].max() <= LOSS_AGREEMENT
    assert "from_losses" not in read_foreign([DATA / "long_percent.csv"]).label(ClassifierSettings())["warning"].max()


@pytest.mark.parametrize("name", ["val_acc", "val_accuracy_of_nothing", None])
def test_losses_count_where_an_accuracy_has_no_number(tmp_path, name):
    losses = pd.read_csv(DATA / "losses.csv")
    lacking = losses.assign(train_acc=0.5, **({name: np.nan} if name else {}))
    lacking.to_csv(tmp_path / "x.csv", index=False)
    foreign = read_foreign([tmp_path / "x.csv"], classes=31)
    assert (
        f"no row has a number for {name or 'val accuracy'}: accuracies are left aside" in foreign.understood.remarks[0]
    )
    assert phases(tmp_path / "x.csv", classes=31) == phases(DATA / "losses.csv", classes=31)
    with pytest.raises(ForeignError, match="no row has a number for") as error:
        read_foreign([tmp_path / "x.csv"])
    assert "--classes K" in error.value.hint


def test_losses_that_no_cross_entropy_begins_with_are_doubted(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_loss=0.2 * (1 - train), val_loss=0.2 * (1 - val))
    assert any("cross entropy in nats?" in remark for remark in read_foreign([path], classes=113).understood.remarks)


def test_a_loss_that_became_no_number_is_divergence(tmp_path):
    step, train, val = curves()
    loss = np.where(step > 20_000, np.nan, 1 - train)
    path = tmp_path / "x.csv"
    pd.DataFrame({"step": step, "train_acc": train, "val_acc": val, "train_loss": loss}).to_csv(path, na_rep="NaN")
    assert phases(path, classes=113) == {"run": "diverged"}


def test_the_budget_may_be_given(tmp_path):
    step, train, _ = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=0.01 + 0 * train)
    assert phases(path, classes=113) == {"run": "memorization"}
    assert phases(path, classes=113, budget=200_000) == {"run": "undecided"}


def test_a_budget_below_the_last_step_is_refused(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val)
    assert phases(path, classes=113, budget=step[-1]) == {"run": "grokking"}
    with pytest.raises(ForeignError, match=r"--budget 100 lies below the last step, 50,000 \(run 'run'\)"):
        read_foreign([path], classes=113, budget=100)


@pytest.mark.parametrize(("per_step", "delta", "is_short"), [(1, 1000, False), (0.01, 1000, True), (0.01, 10, False)])
def test_runs_shorter_than_a_delay_are_pointed_at(tmp_path, per_step, delta, is_short):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step * per_step, train_acc=train, val_acc=val)
    foreign = read_foreign([path], classes=113)
    labels = foreign.label(ClassifierSettings(delta_steps=delta))
    told = [remark for remark in foreign.understood.remarks if "--set classifier.delta_steps=STEPS" in remark]
    assert (labels["phase"].tolist(), len(told)) == ((["comprehension"], 1) if is_short else (["grokking"], 0))
    assert all("they go to step 500 at most" in remark for remark in told)


# Crossing times


def test_crossing_times_are_labelled_by_lius_rule():
    foreign = read_foreign([DATA / "crossings_liu.csv"])
    labels = foreign.label(ClassifierSettings())
    assert labels["liu_phase"].tolist() == [
        "confusion", "confusion", "memorization", "memorization", "grokking", "grokking", "grokking", "comprehension",
        "comprehension", "comprehension", "undefined",
    ]  # fmt: skip
    assert labels["t_val"].isna().sum() == 4
    assert labels["learning_rate" if "learning_rate" in labels else "decoder_lr"].iloc[0] == 1e-5
    assert labels["weight_decay"].iloc[1] == 5
    assert any("7 crossings at or above budget - 1" in remark for remark in foreign.understood.remarks)


def test_crossing_times_with_a_budget_and_other_thresholds(tmp_path):
    path = write(tmp_path / "x.csv", t_train=[10, 20, 30, -1], t_val=[1200, 999, np.nan, 5], name=list("abcd"))
    foreign = read_foreign([path], budget=1000)
    assert foreign.label(ClassifierSettings())["liu_phase"].tolist() == ["memorization"] * 3 + ["undefined"]
    foreign = read_foreign([path], budget=2000)
    strict = foreign.label(ClassifierSettings(delta_steps=1191))
    assert strict["liu_phase"].tolist() == ["comprehension", "comprehension", "memorization", "undefined"]
    assert strict["run_id"].tolist() == list("abcd")
    assert strict["why"][0].endswith("a delay of 1,190, fewer than 1,191.")


def test_a_largest_value_that_may_mean_never_is_pointed_at(tmp_path):
    path = write(tmp_path / "x.csv", steps_train=[10, 20, 9999, 9999], steps_test=[30, 9999, 9999, 9999])
    foreign = read_foreign([path])
    foreign.label(ClassifierSettings())
    assert any("--budget 10000" in remark for remark in foreign.understood.remarks)


@pytest.mark.parametrize("name", ["t_train", "train_steps", "steps_to_90_train", "step(train)", "iter train acc"])
def test_names_of_crossing_times(name):
    assert crossing_split(name) == "train"


# What can't be understood


@pytest.mark.parametrize(
    ("columns", "found", "hint"),
    [
        ({"step": [1, 2], "alpha": [0, 1], "beta": [0, 1]}, "found none of them", "train_accuracy=alpha,val_accuracy="),
        ({"step": [1, 2], "train_acc": [0, 1]}, "train_accuracy (train_acc)", "val_accuracy=COLUMN"),
        ({"step": [1, 2], "acc": [0, 1]}, "columns: step, acc", "--map train_accuracy=acc,val_accuracy=COLUMN"),
        ({"step": [1, 2], "error": [0, 1]}, "found none", "--map train_accuracy=COLUMN,val_accuracy=COLUMN"),
        ({"t": [1, 2], "train_acc": [0, 1], "val_acc": [0, 1]}, "training step", "--map step=COLUMN"),
        ({"step": [1, 1], "train_acc": [0, 1], "val_acc": [0, 1]}, "steps repeat", "--map run_id=COLUMN"),
        ({"step": [1, 2], "train_acc_a": [0, 1], "train_acc_b": [0, 1], "val_acc": [0, 1]}, "could be any", "--map"),
        ({"step": [1, 2], "train_acc": [0, 1], "val_acc": [0, 250]}, "holds 250", "percentages"),
        ({"step": [1, 2], "train_acc": [0, 1], "val_acc": [0, -3]}, "holds -3", "percentages"),
        ({"step": [1, 2], "train_acc": [0, 1], "val_acc": [0, "high"]}, "'high' in row 3", ""),
        ({"step": [1, 2], "train_loss": [1, 1], "val_loss": [1, 1]}, "no accuracies", "--classes K"),
    ],
)
def test_what_cannot_be_understood_says_what_was_found_and_what_would_do(tmp_path, columns, found, hint):
    with pytest.raises(ForeignError) as error:
        read_foreign([write(tmp_path / "x.csv", **columns)])
    assert found in str(error.value)
    assert hint in error.value.hint


def test_the_map_that_is_proposed_does(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, alpha=train, beta=val)
    with pytest.raises(ForeignError) as error:
        read_foreign([path])
    proposed = dict(part.split("=") for part in error.value.hint.rsplit(" ", 1)[1].split(","))
    assert phases(path, given=proposed, classes=113) == {"run": "grokking"}


def test_a_map_to_what_is_not_there_is_refused(tmp_path):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val)
    with pytest.raises(ForeignError, match="there is none such") as error:
        read_foreign([path], given={"val_accuracy": "vall_acc"})
    assert "val_acc" in error.value.hint


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("val_acuracy", "val_accuracy"), ("test_acc", "val_accuracy"), ("acc", "train_accuracy"), ("stp", "step"),
        ("epoch", "step"), ("run", "run_id"), ("n_train", "train_size"), ("trian_size", "train_size"),
        ("tval", "t_val"),
    ],
)  # fmt: skip
def test_a_map_of_what_has_another_name_is_refused(tmp_path, target, meant):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val)
    with pytest.raises(ForeignError, match=f"unknown name '{target}'; did you mean '{meant}'") as error:
        read_foreign([path], given={target: "val_acc"})
    assert "val_accuracy" in error.value.hint


@pytest.mark.parametrize("target", ["width", "batch_size", "data_seed", "train_size", "steps", "label_noise", "model"])
def test_a_map_names_any_hyperparameter(tmp_path, target):
    step, train, val = curves()
    path = write(tmp_path / "x.csv", step=step, train_acc=train, val_acc=val, mine=9)
    assert read_foreign([path], given={target: "mine"}).label(ClassifierSettings())[target].tolist() == [9]


@pytest.mark.parametrize("content", ["", "\n\n", "step,train_acc\n", '"a\nb'])
def test_files_without_a_table_are_refused(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(ForeignError, match=r"x\.csv"):
        read_foreign([path])


def test_rows_longer_than_the_line_of_names(tmp_path):
    """One cell more is the row's name, as R writes it; what more are is anybody's guess."""
    names = [f"{name},0,.1,{word}" for name, word in enumerate(["1", "one"], start=1)]
    (tmp_path / "r.csv").write_text("step,train_acc,val_acc\n" + "\n".join(names))
    with pytest.raises(ForeignError, match=r"column 'val_acc' has 'one' in row 3"):
        read_foreign([tmp_path / "r.csv"])
    (tmp_path / "r.csv").write_text("step,train_acc,val_acc\n" + "\n".join(f"0,{line}" for line in names))
    with pytest.raises(ForeignError, match=r"r\.csv: rows have 2 cells more than there are names"):
        read_foreign([tmp_path / "r.csv"])
    rows = [f"{step} {step} {a} {b}" for step, a, b in zip(*curves(), strict=True)]
    (tmp_path / "r.csv").write_text("step,train_acc,val_acc\n" + "\n".join(rows).replace(" ", ","))
    assert set(phases(tmp_path / "r.csv").values()) == {"grokking"}


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    for what in (tmp_path / "x.json", tmp_path):
        with pytest.raises(ForeignError, match="table"):
            read_foreign([what])
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(ForeignError, match=r"x\.parquet"):
        read_foreign([tmp_path / "x.parquet"])


def test_a_file_in_a_folder_that_is_no_text_is_named(tmp_path):
    step, train, val = curves()
    write(tmp_path / "a.csv", step=step, train_acc=train, val_acc=val)
    (tmp_path / "b.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ForeignError, match=r"b\.csv: not text in UTF-8 \(byte 0x80\)") as error:
        read_foreign([tmp_path])
    assert "Save it as CSV in UTF-8" in error.value.hint


# The command


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_label_traces_into_a_file(grokctl: Grokctl, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"labels.{suffix}"
    result = grokctl("label", DATA / "wandb_charts", "--classes", "31", "-o", target)
    assert result.exit_code == 0, result.stderr
    assert "4 runs:" in result.stdout
    assert "not compared with neighbours" in result.stdout
    labels = pd.read_parquet(target) if suffix == "parquet" else pd.read_csv(target)
    assert dict(zip(labels["run_id"], labels["phase"], strict=True)) == RUNS
    assert {"confidence", "why", "classifier_version", "thresholds"} <= set(labels.columns)


def test_label_traces_with_a_map_and_other_thresholds(grokctl: Grokctl, tmp_path: Path) -> None:
    step, train, val = curves()
    path = write(tmp_path / "x.csv", when=step, a=train, b=val)
    given = "step=when,train_accuracy=a,val_accuracy=b"
    assert "1 runs: grokking 1" in grokctl("label", path, "--map", given, "--classes", "113").stdout
    slow = ("--set", "classifier.delta_steps=40000")
    result = grokctl("label", path, "--map", given, "--classes", "113", *slow, "--compare")
    assert "grokking -> comprehension" in result.stdout
    result = grokctl("label", path, "--map", given, "--classes", "113", "--sensitivity")
    assert "Share of 1 labels" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere.csv"], 66, "nowhere.csv"),
        ([DATA / "losses.csv"], 65, "--classes K"),
        ([DATA / "losses.csv", "--map", "step"], 2, "NAME=COLUMN"),
        ([DATA / "losses.csv", "--classes", "1"], 2, "--classes"),
        ([DATA / "losses.csv", "--budget", "-1"], 2, "--budget"),
        ([DATA / "losses.csv", "--set", "theta=0.5"], 2, "classifier.NAME=VALUE"),
        ([DATA / "crossings_liu.csv", "--compare"], 2, "crossing times"),
        ([DATA / "crossings_liu.csv", "--sensitivity"], 2, "crossing times"),
    ],
)
def test_label_refuses_in_one_line(grokctl: Grokctl, arguments, code, words) -> None:
    result = grokctl("label", *arguments)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("out", "code", "words"),
    [("nowhere/out.csv", 66, "nowhere/out.csv: there is no folder"), ("out.xlsx", 2, ".csv"), ("d.csv", 73, "folder")],
)
def test_where_labels_cannot_be_written_is_said_before_the_work(grokctl: Grokctl, tmp_path: Path, out, code, words):
    (tmp_path / "d.csv").mkdir()
    result = grokctl("label", DATA / "wandb_charts", "--classes", "31", "-o", tmp_path / out)
    assert (result.exit_code, words in result.stderr, result.stdout) == (code, True, ""), result.stderr
    assert ".tmp" not in result.stderr.replace(str(tmp_path), "")


def test_a_sweep_takes_no_map(grokctl: Grokctl, finished_sweep: Path) -> None:
    result = grokctl("label", finished_sweep, "--map", "step=epoch")
    assert (result.exit_code, "TRACES" in result.stderr) == (2, True)


@pytest.mark.parametrize("lacking", ["run_id", "step"])
def test_rows_that_no_run_or_step_can_be_told_of_are_refused(tmp_path, lacking):
    rows = pd.DataFrame({"run_id": ["a"] * 9, "step": range(9), "train_accuracy": [1.0] * 9, "val_accuracy": [1.0] * 9})
    rows[lacking] = pd.Series([None] * 9, dtype="float64")
    rows.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ForeignError):
        read_foreign([tmp_path / "x.parquet"]).label(ClassifierSettings())


def test_chance_by_a_knob_says_how_much_a_loss_is_worth(grokctl: Grokctl) -> None:
    result = grokctl("label", DATA / "losses.csv", "--set", f"classifier.chance={1 / 31}")
    assert result.exit_code == 0, result.stderr
    assert "a uniform guess over 31 classes" in result.stdout
