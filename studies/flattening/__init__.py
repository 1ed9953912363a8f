"""What does flattening do to place? Claims of two threads, run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from placewise.report.canvas import png
from studies import Findings, Options, Scale, Study
from studies._figures import COLOURS, INK, MUTED, measured_rows, panels, title
from studies._findings import Case, gains, judge, table_of
from studies._material import load_digits
from studies.flattening.order import order
from studies.flattening.place import Used, place
from studies.flattening.sides import sides

NOTHING, ALIKE = 1.0, 90
"""Highest index of a head that makes no use of place; percentage from which on predictions are
called alike."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        seeds: how often each net is trained.
        steps: of training.
    """

    seeds: int
    steps: int


BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(2, 2),
    "small": Budget(5, 300),
    "full": Budget(20, 1500),
}


class Flattening(Study):
    """The order of flattening, the use of place, and objects on the left and on the right."""

    def run(self, options: Options) -> Findings:
        """Train the nets, judge the claims, draw the figure."""
        budget = BUDGETS[options.scale]
        digits = load_digits()
        asked = (digits, options, budget.seeds, budget.steps)
        ordered, used, sided = order(*asked), place(*asked), sides(*asked)
        return Findings(
            {
                "budget": vars(budget),
                "side": digits.test.shape[-1],
                "tested": len(digits.test),
                "nothing": NOTHING,
                "alike": ALIKE,
                "order": ordered,
                "place": {
                    name: {
                        "right": found.right.numbers(),
                        **{where: index.numbers() for where, index in found.index.items()},
                    }
                    for name, found in used.items()
                },
                "place_table": _table(used),
                "sides": sided,
                "claims": _claims(ordered, used, sided),
            },
            {"place": _figure(used)},
        )


def _table(used: Mapping[str, Used]) -> dict[str, Any]:
    rows = [
        [name, found.right.numbers()["said"], *(i.numbers()["said"] for i in found.index.values())]
        for name, found in used.items()
    ]
    header = ["head", "accuracy (%)", "index, order of the map", "index, order of the image"]
    return {"header": header, "rows": rows}


def _claims(
    ordered: Mapping[str, Any], used: Mapping[str, Used], sided: Mapping[str, Any]
) -> dict[str, Any]:
    """The threads' claims, judged by the numbers that were found."""
    every = {**_flattened(ordered, used), **_moved(used, sided)}
    return {**every, "table": table_of(list(every.values()))}


def _flattened(ordered: Mapping[str, Any], used: Mapping[str, Used]) -> dict[str, Any]:
    """Claims about the order and about what a flattened layer knows."""
    flat = used["flatten"].index["map"]
    near = ("sheet", "proximity", "palm_tree")
    return {
        "order": judge(
            "The values may be connected in any order.",
            "largest difference after training",
            [Case(name, value, ordered["equal"][name]) for name, value in ordered["found"].items()],
        ),
        "kept": judge(
            "The order must be the same for all examples.",
            "accuracy lost (points) with a new order for each image",
            [Case("flatten", ordered["lost"]["said"], (ordered["lost"]["low"] or 0) > 0)],
        ),
        "ends": judge(
            "Flattening ends the spatial relationships: later layers do not know which places are "
            "neighbours.",
            "place-use index of the map",
            [Case("flatten", flat.numbers()["said"], abs(flat.mean) <= NOTHING)],
        ),
        "better": judge(
            "Layers that use nearness do better because of it.",
            "place-use index of the map",
            [
                Case(name, index.numbers()["said"], gains(index, NOTHING))
                for name in near
                for index in [used[name].index["map"]]
            ],
        ),
    }


def _moved(used: Mapping[str, Used], sided: Mapping[str, Any]) -> dict[str, Any]:
    """Claims about what is lost anyway, and about an object on either side."""
    by = sided["by"]
    return {
        "lost": judge(
            "It does no harm, since after some layers the spatial relationships are lost anyway.",
            "place-use index, map / image",
            [
                Case(
                    name,
                    f"{found.index['map'].numbers()['mean']} / "
                    f"{found.index['image'].numbers()['mean']}",
                    found.index["map"].mean <= NOTHING < found.index["image"].mean,
                )
                for name, found in used.items()
            ],
        ),
        "similar": judge(
            "An object on the left and on the right gives similar activations in the last pooling "
            "layer.",
            "similarity (%)",
            [
                Case(
                    f"{told}, {name.replace('_', ' ')}", arm[key]["said"], arm[key]["mean"] >= ALIKE
                )
                for name, arm in by.items()
                for key, told in (("as_they_stand", "place by place"), ("averaged", "averaged"))
            ],
        ),
        "answers": judge(
            "So the network gives the same answer for both.",
            "equal predictions (%)",
            [
                Case(_words(name), arm["same"]["said"], arm["same"]["mean"] >= ALIKE)
                for name, arm in by.items()
            ],
        ),
    }


def _words(name: str) -> str:
    return name.replace("_", " ")


def _figure(used: Mapping[str, Used]) -> bytes:
    """Percent right of each head, and its place-use indices."""
    figure, (right, index) = panels(10, 3.2, columns=2)
    measured_rows(right, {name: found.right for name, found in used.items()})
    right.set(xlabel="accuracy (%)")
    title(right, "all places where they are")
    for where, colour, shift in (("map", COLOURS[0], 0.13), ("image", COLOURS[1], -0.13)):
        rows = {name: found.index[where] for name, found in used.items()}
        measured_rows(index, rows, colour=colour, shift=shift)
        index.plot([], [], "o-", color=colour, label=f"order of the {where}")
    index.axvline(0, color=MUTED, linestyle=":", linewidth=1.2)
    index.set(xlabel="percent lost in a fixed random order")
    index.set_yticklabels([])
    index.legend(frameon=False, fontsize=9, loc="upper right", labelcolor=INK)
    title(index, "place-use index")
    return png(figure)
