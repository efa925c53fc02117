"""How each phase looks wherever it is drawn. Their order is the classifier's, and decides ties (the first wins) and the
order of every legend.

Generalizing phases are cool, memorizing ones warm, and `undecided` is hatched grey: it is a fact about the budget, not
about the network. The colours were searched for (hue windows fixed, smallest pairwise distance in Oklab maximized) so
that they stay apart under protanopia, deuteranopia and tritanopia; a test holds them to that.
"""

from collections.abc import Mapping
from types import MappingProxyType

from results.classify.explain import PHASE_ORDER as PHASE_ORDER

PHASE_COLORS: Mapping[str, str] = MappingProxyType(
    {
        "comprehension": "#8FD49D",
        "grokking": "#1644A3",
        "semi-grokking": "#5E9FD2",
        "progression": "#F5CE01",
        "memorization": "#E5872F",
        "ungrokking": "#B3261E",
        "confusion": "#83609F",
        "diverged": "#1A1A1A",
        "undecided": "#E6E6E6",
    }
)
"""sRGB of each phase of PHASE_ORDER."""

PHASE_HATCHES: Mapping[str, str] = MappingProxyType({"undecided": "//////"})
"""Phases that carry a hatch; the others are plain."""

INK = "#222222"
"""Text and data that belong to no phase."""

GREY = "#555555"
"""Text of second rank."""

FAINT = "#9A9A9A"
"""Secondary lines, hatches, empty frames."""


def tint(color: str, strength: float) -> tuple[float, float, float]:
    """`color` mixed with white: strength 1 is the colour itself, 0 is white."""
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (1 - strength * (1 - channel) for channel in channels)
    return red, green, blue
