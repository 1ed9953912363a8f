"""The claims of the thread, each with a verdict from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studies._findings import Case, judge, table_of
from studies._page import shown

GROWS, MANY, HALF, NEAR, LARGE = 1.5, 100, 50, 1.5, 10
"""From which factor per layer growth is called exponential; how many times are several orders of
magnitude; from which percent on training is said to have made up for it; up to which factor a ratio
is as expected; how many paths are no longer of the order of one."""

Numbers = Mapping[str, Any]


def claims(found: Numbers) -> dict[str, Any]:
    """All claims with their verdicts, and a table of them."""
    nets = _nets(found)
    every = {**_counted(found), **_bordered(found), **_ended(found), **_measured(found, nets)}
    return {
        **every,
        "rooted": all(1 / NEAR < net.before / net.expected < NEAR for net in nets),
        "grows": GROWS,
        "many": MANY,
        "half": HALF,
        "near": NEAR,
        "table": table_of(list(every.values())),
    }


@dataclass(frozen=True)
class _Net:
    """What was measured on a net, on images of which no place shows more than another.

    Attributes:
        name: as it is told.
        expected: root of the ratio of the paths from the middle and from the edge.
        before: how much more the middle is felt than the edge, with random weights.
        corner: how much more the middle is felt than the corners when it is trained.
        made_up: percent of the ratio's logarithm that training has taken away.
    """

    name: str
    expected: float
    before: float
    corner: float
    made_up: float


def _nets(found: Numbers) -> list[_Net]:
    """All trained nets whose wiring has an edge."""
    kept = [(n["name"], n, "untrained", "moved") for n in found["residual"].get("nets", ())]
    kept += [
        (f"{arm['padding']}, {arm['end']}", arm, "before", "after")
        for arm in found["digits"]["arms"]
        if arm["padding"] != "circular"
    ]
    return [
        _Net(
            name,
            net["roots"]["over_edge"],
            net[before]["over_edge"],
            net[after]["over_corner"],
            net["made_up"],
        )
        for name, net, before, after in kept
    ]


def _counted(found: Numbers) -> dict[str, Any]:
    """Claims about path counts."""
    growth, wide, pascal = found["growth"], found["wide"], found["pascal"]
    pairs = {
        rule: (growth[rule]["middle"], growth[rule]["edge"])
        for rule in ("valid", "zeros", "circular")
    }
    layers, paths, _, units, _ = wide["table"]["rows"][1]
    squared = int(wide["middle"]) ** 2
    sizes = [pascal[size] for size in ("two", "three")]
    product = f"{wide['per_axis']} × {wide['per_axis']}"
    return {
        "unequal": judge(
            "A pixel in the middle has more paths through a deep network than one at the edge.",
            "paths from the middle and from the edge",
            [
                Case(rule, " and ".join(map(shown, pair)), int(pair[0]) > int(pair[1]))
                for rule, pair in pairs.items()
            ],
        ),
        "single": judge(
            "A pixel at the edge has about one path.",
            "paths from the edge",
            [
                Case(rule, pairs[rule][1], int(pairs[rule][1]) < LARGE)
                for rule in ("valid", "zeros")
            ],
        ),
        "pascal": judge(
            "The path counts form Pascal's triangle.",
            "paths from the middle",
            [
                Case(f"windows of {size['window']}", size["middle"], size["agrees"])
                for size in sizes
            ],
        ),
        "product": judge(
            f"A window of {wide['size']} × {wide['size']} in steps of {wide['step']} connects a "
            f"pixel to {wide['said']} units.",
            "windows that contain a pixel",
            [Case(product, wide["middle"], int(wide["middle"]) == wide["said"])],
        ),
        "square": judge(
            "A second such layer connects it to the square of that many.",
            f"after {layers} layers",
            [
                Case("paths", paths, int(paths) == squared),
                Case("units", units, int(units) == squared),
            ],
        ),
    }


def _bordered(found: Numbers) -> dict[str, Any]:
    """Claims about growth with depth, and about padding."""
    growth, pooling = found["growth"], found["pooling"]
    zeros = growth["zeros"]["over_edge"]
    return {
        "exponential": judge(
            "The difference grows exponentially with depth.",
            "factor of one more layer",
            [
                Case(rule, growth[rule]["factor"], growth[rule]["factor"] >= GROWS)
                for rule in ("valid", "zeros", "reflect", "circular")
            ],
        ),
        "mirroring": judge(
            "Mirroring the image beyond its border does not help.",
            f"middle / edge, which is {shown(zeros)} with zeros",
            [
                Case(rule, growth[rule]["over_edge"], growth[rule]["over_edge"] >= zeros)
                for rule in ("reflect", "symmetric")
            ],
        ),
        "pooling": judge(
            "Max pooling does not stop the growth.",
            "factor of one more block",
            [Case("pooled", pooling["factor"], pooling["factor"] >= GROWS)],
        ),
    }


def _ended(found: Numbers) -> dict[str, Any]:
    """The claim about the full connection."""
    ends, growth = found["endings"]["ends"], found["growth"]
    last = ends["a full connection"]["over_edge"]
    only = ends["a full connection and no layer before it"]["over_edge"]
    circular = growth["circular"]["over_edge"]
    return {
        "connection": judge(
            "Only a full connection treats all pixels equally.",
            "middle / edge",
            [
                Case("full connection alone", only, only == 1),
                Case("at the end of the network", last, last == 1),
                Case("none, circular padding", circular, circular != 1),
            ],
        ),
    }


def _measured(found: Numbers, nets: Sequence[_Net]) -> dict[str, Any]:
    """Claims about the effect of a small change, and about training."""
    paths = found["sound"]["paths"]
    return {
        "orders": judge(
            "If all pixels change a little, those in the middle change the output by several "
            "orders of magnitude more.",
            "sensitivity in the middle / in the corner, trained",
            [Case(net.name, net.corner, net.corner >= MANY) for net in nets],
        ),
        "learnt": judge(
            "The weights adjust, and training compensates for it.",
            "percent compensated, middle / edge",
            [Case(net.name, net.made_up, net.made_up >= HALF) for net in nets],
        ),
        "sound": judge(
            "The same holds for sound.",
            "paths from the middle / from the first sample",
            [Case("a network along time", paths["first"], paths["first"] > 1)],
        ),
    }
