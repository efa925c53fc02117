"""The phase diagram: the table behind it, the layout of its axes, the files it becomes."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from results.axes import lay_out, scale_of, ticks
from results.cells import pooled_axes
from results.diagram import describe, diagram_table, phase_diagram, save
from results.palette import PHASE_COLORS, PHASE_ORDER


def labels_of(cells: dict[tuple[float, float], str], **columns: object) -> pd.DataFrame:
    """Labels with one run per letter: `{(width, train_size): "ggm"}`."""
    phases = {"c": "comprehension", "g": "grokking", "m": "memorization", "u": "undecided", "x": "diverged"}
    rows = [
        {"width": width, "train_size": size, "seed": seed, "phase": phases[letter], "steps": 1000}
        for (width, size), letters in cells.items()
        for seed, letter in enumerate(letters)
    ]
    return pd.DataFrame(rows).assign(**columns)


def texts(figure: Figure) -> str:
    """Everything written on a figure, in one string."""
    figure.canvas.draw()  # tick labels exist only after drawing
    parts = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        parts += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        parts += [text.get_text() for text in (*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels())]
    return "\n".join(parts)


def test_a_cell_shows_the_phase_of_most_of_its_runs() -> None:
    table = diagram_table(labels_of({(4, 10): "ggm", (8, 10): "mmm", (4, 20): "c"}), "width", "train_size")
    assert table.to_dict("list") == {
        "train_size": [10, 10, 20],
        "width": [4, 8, 4],
        "phase": ["grokking", "memorization", "comprehension"],
        "agreement": [2 / 3, 1.0, 1.0],
        "n": [3, 3, 1],
        "tied": ["", "", ""],
    }


def test_a_tie_goes_to_the_first_phase_in_the_documented_order_and_is_marked() -> None:
    table = diagram_table(labels_of({(4, 10): "umgumg"}), "width", "train_size")
    assert table["phase"].tolist() == ["grokking"]
    assert table["tied"].tolist() == ["memorization, undecided"]
    assert "corner" in texts(phase_diagram(labels_of({(4, 10): "mg"}), x="width", y="train_size"))


def test_the_corner_of_a_tie_is_hatched_if_its_phase_is() -> None:
    def hatched(letters: str) -> list[int]:
        """Corners of each hatched polygon."""
        drawn = phase_diagram(labels_of({(4, 10): letters}), x="width", y="train_size").axes[0].collections
        return [len(path.vertices) - 1 for patches in drawn if patches.get_hatch() for path in patches.get_paths()]

    assert hatched("gu") == [3]
    assert hatched("gm") == []
    assert hatched("uu") == [4]


def test_every_phase_of_the_classifier_has_its_colour() -> None:
    assert set(PHASE_ORDER) == set(PHASE_COLORS)


def test_the_table_does_not_depend_on_the_order_of_the_rows() -> None:
    labels = labels_of({(w, d): "gmu" for w in (1, 2, 4) for d in (10, 20)})
    shuffled = labels.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        diagram_table(labels, "width", "train_size"), diagram_table(shuffled, "width", "train_size")
    )


def test_null_is_a_value_of_an_axis_and_comes_last() -> None:
    labels = labels_of({(4, 10): "gg", (8, 10): "mm"}, batch_size=[512.0, None, None, 512.0])
    table = diagram_table(labels, "batch_size", "width")
    assert table["batch_size"].tolist() == [512, None, 512, None]
    assert table["n"].tolist() == [1, 1, 1, 1]
    assert "none" in texts(phase_diagram(labels, x="batch_size", y="width"))


def test_floats_that_agree_in_twelve_digits_are_one_value() -> None:
    labels = labels_of({(4, 10): "gg"}, learning_rate=[0.1 + 0.2, 0.3])
    assert diagram_table(labels, "learning_rate", "width")["n"].tolist() == [2]


def test_misspelt_axes_and_phases_are_refused_with_what_there_is() -> None:
    labels = labels_of({(4, 10): "g"})
    with pytest.raises(ValueError, match=r"'widht'.*Did you mean width\?.*Axes of this sweep: width, train_size"):
        phase_diagram(labels, x="widht", y="train_size", scales={"width": "log", "train_size": "linear"})
    with pytest.raises(ValueError, match="given for two axes"):
        phase_diagram(labels, x="width", y="width")
    with pytest.raises(ValueError, match="not a phase: groking"):
        diagram_table(labels.assign(phase="groking"), "width")
    with pytest.raises(ValueError, match="no labels"):
        phase_diagram(labels.iloc[:0], x="width", y="train_size")


def test_cells_on_a_log_axis_meet_at_geometric_means() -> None:
    layout = lay_out("width", [4, 16, 100], "log")
    assert layout.positions == pytest.approx(np.log10([4, 16, 100]))
    assert 10 ** layout.highs[:2] == pytest.approx([8, 40])
    assert layout.highs[:2] == pytest.approx(layout.lows[1:])
    assert 10 ** layout.lows[0] == pytest.approx(2)
    assert 10 ** layout.highs[-1] == pytest.approx(250)


def test_cells_on_a_linear_axis_meet_half_way() -> None:
    layout = lay_out("train_size", [2600, 3000, 4000], "linear")
    assert layout.lows.tolist() == [2400, 2800, 3500]
    assert layout.highs.tolist() == [2800, 3500, 4500]


def test_zero_stands_apart_on_a_log_axis_and_negative_values_are_refused() -> None:
    layout = lay_out("weight_decay", [0, 0.1, 1, None], "log")
    assert layout.values == (0, 0.1, 1, None)
    assert layout.highs[0] < layout.lows[1]
    assert layout.highs[2] < layout.lows[3]
    with pytest.raises(ValueError, match="is log, but has the value -1"):
        lay_out("weight_decay", [-1, 1], "log")
    with pytest.raises(ValueError, match="is linear, but has the value 'a'"):
        lay_out("task", ["a"], "linear")


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (["a + b", "a - b"], "category"),
        ([1, 2, 3, 4], "linear"),
        ([1, 2, 4, 8], "log"),
        ([7], "linear"),
        ([0, 1, 10], "linear"),
    ],
)
def test_an_axis_that_the_sweep_does_not_name_gets_the_scale_its_values_suggest(
    values: list[object], scale: str
) -> None:
    assert scale_of("x", values, {}) == scale


def test_a_stated_scale_wins_and_must_be_known() -> None:
    assert scale_of("x", [1, 2, 3], {"x": "log"}) == "log"
    with pytest.raises(ValueError, match="linear, log, category"):
        scale_of("x", [1], {"x": "cubic"})


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_tick_labels_never_touch(scale: str) -> None:
    for values in ([4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 100], list(np.geomspace(1e-4, 1e-2, 30))):
        layout = lay_out("x", values, scale)
        positions, labels = ticks(layout, 3.0, size_in=0.07, per_character=True)
        places = positions * 3.0 / (layout.limits[1] - layout.limits[0])
        sizes = np.array([0.07 * min(len(label), 6) for label in labels])
        order = np.argsort(places)
        assert len(positions) >= 2
        assert (np.diff(places[order]) >= (sizes[order][1:] + sizes[order][:-1]) / 2 - 1e-9).all()


def test_the_picture_states_budget_seeds_counts_and_what_is_pooled() -> None:
    labels = labels_of({(w, d): "ggm" for w in (4, 8) for d in (10, 20)}, depth=[1, 2] * 6, n_parameters=0)
    scales = {"width": "log", "train_size": "linear", "depth": "linear"}
    written = texts(phase_diagram(labels, x="width", y="train_size", scales=scales, budget_steps=10_000, title="toy"))
    for part in (
        "toy",
        "budget 10,000 steps",
        "3 seeds",
        "pooled over depth (2 values)",
        "grokking",
        "width",
        "train_size",
    ):
        assert part in written
    assert "budget 1,000 steps" in describe(labels, ["width"], {})
    assert written.split("\n").count("4") >= 1  # cells
    assert {"8"} <= set(written.split("\n"))  # runs that grok


def test_an_axis_that_moves_with_a_shown_one_is_not_pooled() -> None:
    labels = labels_of({(4, 10): "gg", (8, 20): "gg"})
    assert pooled_axes(labels, ["width"], {"train_size": "linear"}) == {}
    assert pooled_axes(labels.assign(depth=[1, 2, 1, 2]), ["width"], {"depth": "linear"}) == {"depth": 2}


def test_panels_follow_the_facet() -> None:
    labels = labels_of({(w, d): "g" for w in (4, 8) for d in (10, 20, 30)})
    figure = phase_diagram(labels, x="width", y="seed", facet="train_size")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["train_size = 10", "train_size = 20", "train_size = 30"]


@pytest.mark.parametrize(
    ("x", "y", "facet", "n"),
    [
        ("learning_rate", "train_size", None, 30),
        ("learning_rate", "train_size", None, 1),
        ("learning_rate", "task", None, 11),
        ("task", "learning_rate", None, 5),
        ("learning_rate", None, None, 11),
        ("learning_rate", "train_size", "task", 6),
    ],
)
def test_nothing_written_leaves_the_figure(x: str, y: str | None, facet: str | None, n: int) -> None:
    tasks = ["a + b", "a / b if b % 2 else a - b", "a**2 + a * b + b**2 + a"]
    rows = itertools.product(np.geomspace(1e-4, 1e-2, n), range(n), tasks)
    labels = pd.DataFrame(rows, columns=["learning_rate", "train_size", "task"]).assign(phase="undecided", seed=0)
    figure = phase_diagram(labels, x=x, y=y, facet=facet, budget_steps=9, title="a rather long title of a sweep " * 4)
    width, height = figure.get_size_inches() * figure.dpi
    written = [text for axes in figure.axes for text in axes.findobj(Text)] + figure.texts
    figure.canvas.draw()
    for text in written:
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert min(box.x0, box.y0) >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_equal_labels_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    labels = labels_of({(w, d): "gmu" for w in (4, 8) for d in (10, 20)})
    paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for path in paths:
        save(phase_diagram(labels, x="width", y="train_size", title="toy"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes()) > 5000


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    figure = phase_diagram(labels_of({(4, 10): "g"}), x="width")
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        save(figure, tmp_path / "figure.docx")


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
COLOUR_BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def oklab(color: str, sight: object) -> np.ndarray:
    """Ottosson's perceptual coordinates of an sRGB colour as seen with a colour blindness."""
    srgb = np.array(to_rgb(color))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(sight) @ linear, 0, 1)
    cones = np.array(
        [[0.4122215, 0.5363325, 0.0514460], [0.2119035, 0.6806995, 0.1073970], [0.0883025, 0.2817188, 0.6299787]]
    )
    lab = np.array(
        [[0.2104543, 0.7936178, -0.0040720], [1.9779985, -2.4285922, 0.4505937], [0.0259040, 0.7827718, -0.8086758]]
    )
    return lab @ np.cbrt(cones @ seen)


@pytest.mark.parametrize("sight", COLOUR_BLINDNESS)
def test_phases_can_be_told_apart(sight: str) -> None:
    """Two colours .02 apart in Oklab are just noticeably different; five times that is plain at a glance."""
    places = [oklab(PHASE_COLORS[phase], COLOUR_BLINDNESS[sight]) for phase in PHASE_ORDER]
    closest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(places, 2))
    assert closest > 0.1
