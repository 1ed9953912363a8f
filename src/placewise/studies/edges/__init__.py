"""Are the edges of an image seen less? The claims of a thread, counted and measured."""

from __future__ import annotations

from typing import Any

from placewise.studies import Findings, Plan, Study
from placewise.studies.edges import counted, figures
from placewise.studies.edges.claims import claims
from placewise.studies.edges.digits import digits
from placewise.studies.edges.felt import BUDGETS
from placewise.studies.edges.residual import residual
from placewise.studies.edges.sound import sound

SOURCES = {
    "foveated": "Alsallakh et al., “Are Convolutional Networks Inherently Foveated?”, SVRHM 2021",
    "effective": "Luo et al., “Understanding the Effective Receptive Field in Deep Convolutional "
    "Neural Networks”, NeurIPS 2016",
}


class Edges(Study):
    """Ways from each pixel to the output, and what trained weights make of them."""

    def run(self, plan: Plan) -> Findings:
        """Count the ways, measure the nets, judge the claims, draw the figures."""
        plan.tell("counting ways")
        budget = BUDGETS[plan.scale]
        found: dict[str, Any] = {
            "pascal": counted.pascal(),
            "wide": counted.wide_windows(),
            "growth": counted.growth(),
            "pooling": counted.pooling(),
            "endings": counted.endings(),
        }
        found["residual"], maps = residual(plan, budget)
        found["digits"] = digits(plan, budget)
        found["sound"] = sound(plan, budget)
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
