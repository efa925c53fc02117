"""Which figures of which papers can be drawn, the specs that ask for them, and the module that draws each.

Figures are named `<paper><year>_<figure>`, as the specs are. Where two cores can show the phenomenon there is a small
spec beside the full one.
"""

import importlib
import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from results.sweep import Sweep, TrainingSets


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """One figure of a paper."""

    name: str
    source: str
    """Paper and figure, as a reader would cite them."""
    shows: str
    """What is drawn: the beginning of the picture's title."""
    module: str
    """Of results.figures."""
    spec: str | None
    """The full experiment; None where only a small one is shipped."""
    small: str | None = None

    def draw(self, sweep: "Sweep", training: "TrainingSets | None" = None) -> "Figure":
        """The picture of a sweep. ValueError, with what it needs, if the sweep cannot show it.

        Args:
            training: gives the training sets of runs, which a few figures are about.
        """
        from results.style import house_style

        module = importlib.import_module(f"results.figures.{self.module}")
        needs_training = "training" in inspect.signature(module.draw).parameters
        if needs_training and training is None:
            raise ValueError("the figure is about training sets, which the sweep's files do not hold")
        further = (training,) if needs_training else ()
        with house_style():
            return cast("Figure", module.draw(sweep, f"{self.shows} ({self.source})", *further))


def _figure(name: str, source: str, shows: str, spec: str | None, small: str | None, module: str = "") -> PaperFigure:
    return PaperFigure(name=name, source=source, shows=shows, spec=spec, small=small, module=module or name)


FIGURES: tuple[PaperFigure, ...] = (
    _figure(
        "davies2022_fig1",
        "Davies et al. 2022, figure 1",
        "Three views of a run",
        "davies2022_fig1_three_views",
        "davies2022_fig1_three_views_small",
    ),
    _figure(
        "davies2022_fig3",
        "Davies et al. 2022, figures 3 and 4",
        "Over width and steps",
        "davies2022_fig3_model_wise",
        "davies2022_fig3_model_wise_small",
    ),
    _figure(
        "davies2022_fig5",
        "Davies et al. 2022, figure 5",
        "Accuracy and loss over width",
        "davies2022_fig3_model_wise",
        "davies2022_fig3_model_wise_small",
    ),
    _figure(
        "davies2022_fig6",
        "Davies et al. 2022, figure 6",
        "What is right first in division",
        "davies2022_fig6_first_steps",
        "davies2022_fig6_first_steps_small",
    ),
    _figure(
        "huang2024_fig10",
        "Huang et al. 2024, figure 10",
        "Split feed-forward layers",
        "huang2024_fig10_split",
        "huang2024_fig10_split_small",
        "huang2024_fig8",
    ),
    _figure(
        "huang2024_fig2",
        "Huang et al. 2024, figure 2",
        "Four dynamics",
        "huang2024_fig2_four_dynamics",
        None,
    ),
    _figure(
        "huang2024_fig4",
        "Huang et al. 2024, figure 4",
        "Memorized random labels over width",
        "huang2024_fig4_random_labels",
        "huang2024_fig4_random_labels_small",
    ),
    _figure(
        "huang2024_fig5",
        "Huang et al. 2024, figure 5",
        "Progression, by seed",
        "huang2024_fig5_progression",
        "huang2024_fig5_progression_small",
    ),
    _figure(
        "huang2024_fig6",
        "Huang et al. 2024, figure 6",
        "Validation accuracy over width",
        "double_descent",
        "double_descent_small",
    ),
    _figure(  # behind figure 6, whose small sweep it shares: by a spec the first figure is found
        "huang2024_fig3",
        "Huang et al. 2024, figure 3",
        "Validation accuracy over train size",
        "huang2024_fig3_critical_size",
        "double_descent_small",
    ),
    _figure(
        "huang2024_fig7",
        "Huang et al. 2024, figure 7",
        "Accuracy of (a + b)^2 over width",
        "huang2024_fig7_square_of_sum",
        "huang2024_fig7_square_of_sum_small",
        "huang2024_fig6",
    ),
    _figure(
        "huang2024_fig8",
        "Huang et al. 2024, figure 8",
        "Addition beside random labels",
        "huang2024_fig8_emergence",
        "huang2024_fig8_emergence_small",
    ),
    _figure(
        "huang2024_fig9",
        "Huang et al. 2024, figure 9",
        "Norms of progression and grokking",
        "huang2024_fig9_norms",
        "huang2024_fig9_norms_small",
    ),
    _figure(
        "liu2022_fig1",
        "Liu et al. 2022, figure 1",
        "Components of embeddings over training",
        "liu2022_fig7_transformer",
        "liu2022_fig7_transformer_small",
    ),
    _figure(
        "liu2022_fig2",
        "Liu et al. 2022, figure 2",
        "Embeddings and decoder in the plane",
        "liu2022_fig2_embeddings",
        None,
    ),
    _figure(
        "liu2022_fig3",
        "Liu et al. 2022, figure 3",
        "Accuracy from representation",
        "liu2022_fig4_representation_quality",
        None,
    ),
    _figure(
        "liu2022_fig4",
        "Liu et al. 2022, figure 4",
        "When embeddings become linear",
        "liu2022_fig4_representation_quality",
        None,
    ),
    _figure(
        "liu2022_fig5",
        "Liu et al. 2022, figure 5",
        "Why more data groks sooner",
        "liu2022_fig4_representation_quality",
        None,
    ),
    _figure(
        "liu2022_fig6a",
        "Liu et al. 2022, figure 6a",
        "Phases by two learning rates",
        "liu2022_fig6a_addition_rates",
        "liu2022_fig6a_addition_rates_small",
        "liu2022_fig6",
    ),
    _figure(
        "liu2022_fig6b",
        "Liu et al. 2022, figure 6b",
        "Phases of addition by regression",
        "liu2022_fig6b_addition_regression",
        "quickstart",
        "liu2022_fig6",
    ),
    _figure(
        "liu2022_fig6c",
        "Liu et al. 2022, figure 6c",
        "Phases of addition by classification",
        "liu2022_fig6c_addition_classification",
        "liu2022_fig6c_addition_classification_small",
        "liu2022_fig6",
    ),
    _figure(
        "liu2022_fig6d",
        "Liu et al. 2022, figure 6d",
        "Phases of permutations by regression",
        "liu2022_fig6d_permutation_regression",
        "liu2022_fig6d_permutation_regression_small",
        "liu2022_fig6",
    ),
    _figure(
        "liu2022_fig7",
        "Liu et al. 2022, figure 7, right",
        "Phases of a transformer",
        "liu2022_fig7_transformer",
        "liu2022_fig7_phases_small",
        "liu2022_fig6",
    ),
    _figure(
        "liu2022_fig7_dimension",
        "Liu et al. 2022, figure 7, left",
        "Effective dimension of embeddings",
        "liu2022_fig7_transformer",
        "liu2022_fig7_transformer_small",
    ),
    _figure(
        "liu2022_fig7_dropout",
        "Liu et al. 2022, figure 7, center",
        "Dropout speeds generalization up",
        "liu2022_fig7_dropout",
        "liu2022_fig7_dropout_small",
    ),
    _figure(
        "merrill2023_parity",
        "Merrill et al. 2023",
        "Neurons of sparse parity",
        "merrill2023_sparse_parity",
        None,
    ),
    _figure(
        "nanda2022_digit_addition",
        "Nanda et al. 2023, 5-digit addition",
        "Finite and infinite data",
        "nanda2022_digit_addition",
        "nanda2022_digit_addition_small",
        "nanda2022_sequences",
    ),
    _figure(
        "nanda2022_fourier",
        "Nanda & Lieberum 2022",
        "The embedding in waves",
        "nanda2022_fourier_modular_addition",
        "nanda2022_fourier_modular_addition_small",
    ),
    _figure(
        "nanda2022_repeated_subsequence",
        "Nanda et al. 2023, repeated subsequences",
        "Finite and infinite data",
        "nanda2022_repeated_subsequence",
        None,
        "nanda2022_sequences",
    ),
    _figure(
        "nanda2022_skip_trigram",
        "Nanda et al. 2023, skip trigrams",
        "Finite and infinite data",
        "nanda2022_skip_trigram",
        "nanda2022_skip_trigram_small",
        "nanda2022_sequences",
    ),
    _figure(
        "omnigrok2022_fixed_norm",
        "Liu et al. 2023, Omnigrok",
        "Delay over initial scale",
        "omnigrok2022_fixed_norm",
        "omnigrok2022_fixed_norm_small",
    ),
    _figure(
        "omnigrok2022_teacher_student",
        "Liu et al. 2023, Omnigrok",
        "Delay of a student over its initial scale",
        "omnigrok2022_teacher_student",
        None,
        "omnigrok2022_fixed_norm",
    ),
    _figure(
        "pope2023_arms",
        "Pope 2023, discussion",
        "Losses without decay",
        "pope2023_arms_without_decay",
        "pope2023_arms_without_decay_small",
    ),
    _figure(
        "power2022_fig1",
        "Power et al. 2022, figure 1",
        "Steps to generalize",
        "power2022_fig1_data_fraction",
        "power2022_fig1_data_fraction_small",
    ),
    _figure(
        "power2022_fig2_operations",
        "Power et al. 2022, figure 2, right",
        "Operations over fraction of data",
        "power2022_fig2_operations",
        "power2022_fig2_operations_small",
        "power2022_fig2",
    ),
    _figure(
        "power2022_fig2_optimizers",
        "Power et al. 2022, figure 2, left",
        "Optimizers over fraction of data",
        "power2022_fig2_optimizers",
        "power2022_fig2_optimizers_small",
        "power2022_fig2",
    ),
    _figure(
        "power2022_fig4",
        "Power et al. 2022, figure 4",
        "Outliers among training labels",
        "power2022_fig4_outliers",
        "power2022_fig4_outliers_small",
    ),
    _figure(
        "varma2023_ungrokking",
        "Varma et al. 2023",
        "Ungrokking over the later train size",
        "varma2023_ungrokking",
        "varma2023_ungrokking_small",
    ),
)


def find_figure(name: str) -> PaperFigure:
    """By its own name, or by that of a spec that asks for it. ValueError with the nearest names for another."""
    found = next((figure for figure in FIGURES if name in (figure.name, figure.spec, figure.small)), None)
    if found is None:
        known = [figure.name for figure in FIGURES]
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Figures: {', '.join(known)}."
        raise ValueError(f"no figure is called {name!r}. {hint}")
    return found


def figures_of_spec(spec: str) -> list[PaperFigure]:
    """The figures that a shipped spec was made for."""
    return [figure for figure in FIGURES if spec in (figure.spec, figure.small)]
