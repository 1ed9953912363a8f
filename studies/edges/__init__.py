"""Are the edges of an image seen less? The claims of a thread, counted and measured."""

from __future__ import annotations

from typing import Any

from studies import Findings, Options, Study
from studies.edges import counted, figures
from studies.edges.claims import claims
from studies.edges.digits import digits
from studies.edges.felt import BUDGETS
from studies.edges.residual import residual
from studies.edges.sound import sound

SOURCES = {
    "foveated": "Alsallakh et al., “Are Convolutional Networks Inherently Foveated?”, SVRHM 2021",
    "effective": "Luo et al., “Understanding the Effective Receptive Field in Deep Convolutional "
    "Neural Networks”, NeurIPS 2016",
}


class Edges(Study):
    """Paths from each pixel to the output, and what trained weights make of them."""

    def run(self, options: Options) -> Findings:
        """Count the paths, measure the nets, judge the claims, draw the figures."""
        options.tell("counting paths")
        budget = BUDGETS[options.scale]
        found: dict[str, Any] = {
            "pascal": counted.pascal(),
            "wide": counted.wide_windows(),
            "growth": counted.growth(),
            "pooling": counted.pooling(),
            "endings": counted.endings(),
        }
        found["residual"], maps = residual(options, budget)
        found["digits"] = digits(options, budget)
        found["sound"] = sound(options, budget)
        drawn = {
            "pascal": figures.triangles(found["pascal"]),
            "windows": figures.windows(found["wide"]),
            "growth": figures.growth(found["growth"], counted.RULES),
            "digits": figures.digits(found["digits"]["arms"]),
        }
        if maps:
            drawn["trained"] = figures.trained(found["residual"]["first"], maps)
        if found["sound"]["there"]:
            drawn["sound"] = figures.sound(found["sound"])
        return Findings({"claims": claims(found), **found, "sources": SOURCES}, drawn)
