"""The claims of the thread, each judged by the numbers that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from placewise.studies._page import shown

GROWS, MANY, HALF, NEAR, LARGE = 1.5, 100, 50, 1.5, 10
"""From which factor per layer growth is called exponential; how many times are several orders of
magnitude; from which percent on training is said to have made up for it; up to which factor a ratio
is as expected; how many ways are no longer of the order of one."""

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One number that speaks for a claim or against it.

    Attributes:
        name: what was counted or measured.
        number: what was found.
        holds: whether the claim holds here.
    """

    name: str
    number: Any
    holds: bool


def judge(claim: str, what: str, cases: Sequence[Case]) -> dict[str, Any]:
    """True if a claim holds in all cases, false if in none, else partly.

    Example:
        >>> judge("It grows.", "by", [Case("here", 2, True), Case("there", 1, False)])
        {'claim': 'It grows.', 'verdict': 'partly', 'said': 'by: here 2; there 1'}
    """
    holds = [case.holds for case in cases]
    verdict = "true" if all(holds) else "partly" if any(holds) else "false"
    said = "; ".join(f"{case.name} {shown(case.number)}" for case in cases)
    return {"claim": claim, "verdict": verdict, "said": f"{what}: {said}"}


def claims(found: Numbers) -> dict[str, Any]:
    """All claims with their verdicts, and a table of them."""
    every = {**_counted(found), **_bordered(found), **_ended(found), **_measured(found)}
    return {
        **every,
        "rooted": all(_near(net["roots"], net["felt"]) for net in _nets(found)),
        "unmended": every["learnt"]["verdict"] == "false",
        "grows": GROWS,
        "many": MANY,
        "half": HALF,
        "table": {
            "header": ["the thread says", "verdict", "because"],
            "rows": [[c["claim"], f"**{c['verdict']}**", c["said"]] for c in every.values()],
        },
    }


def _nets(found: Numbers) -> list[dict[str, Any]]:
    """All trained nets on pictures whose places show the same on average."""
    residual = [{**net, "felt": net["moved"]} for net in found["residual"].get("nets", ())]
    return residual + [{**arm, "felt": arm["after"]} for arm in found["digits"]["arms"]]


def _near(expected: Numbers, felt: Numbers) -> bool:
    """Whether two ratios of middle and edge are less than a factor apart."""
    factor = float(felt["over_edge"] / expected["over_edge"])
    return 1 / NEAR < factor < NEAR


def _counted(found: Numbers) -> dict[str, Any]:
    """Claims about how many ways there are."""
    growth, wide, pascal = found["growth"], found["wide"], found["pascal"]
    pairs = {
        rule: (growth[rule]["middle"], growth[rule]["edge"])
        for rule in ("valid", "zeros", "circular")
    }
    layers, ways, _, units, _ = wide["table"]["rows"][1]
    squared = int(wide["middle"]) ** 2
    sizes = [pascal[size] for size in ("two", "three")]
    return {
        "unequal": judge(
            "A pixel in the middle has more ways through a deep net than one at the edge.",
            "from the middle and from the edge",
            [
                Case(rule, " and ".join(map(shown, pair)), int(pair[0]) > int(pair[1]))
                for rule, pair in pairs.items()
            ],
        ),
        "single": judge(
            "A pixel at the edge has about one way.",
            "from the edge",
            [
                Case(rule, pairs[rule][1], int(pairs[rule][1]) < LARGE)
                for rule in ("valid", "zeros")
            ],
        ),
        "pascal": judge(
            "The ways form Pascal's triangle.",
            "from the middle",
            [
                Case(f"windows of {size['window']}", size["middle"], size["agrees"])
                for size in sizes
            ],
        ),
        "product": judge(
            f"A window of {wide['size']} × {wide['size']} in steps of {wide['step']} sends a pixel "
            f"to {wide['said']} units.",
            f"{wide['per_axis']} × {wide['per_axis']}",
            [Case("is", wide["middle"], int(wide["middle"]) == wide["said"])],
        ),
        "square": judge(
            "A second such layer sends it to the square of that many.",
            f"after {layers} layers",
            [Case("ways", ways, int(ways) == squared), Case("units", units, int(units) == squared)],
        ),
    }


def _bordered(found: Numbers) -> dict[str, Any]:
    """Claims about growth with depth, and what stands beyond the border."""
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
            "Mirroring the picture beyond its border does not help.",
            f"middle / edge, with zeros {shown(zeros)}",
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
            "Only a full connection brings all pixels on an equal footing.",
            "middle / edge",
            [
                Case("full connection alone", only, only == 1),
                Case("at the end of the net", last, last == 1),
                Case("none, but circular", circular, circular != 1),
            ],
        ),
    }


def _measured(found: Numbers) -> dict[str, Any]:
    """Claims about what a small change does, and what training does about it."""
    nets = [
        (net["name"], net["untrained"], net["moved"]) for net in found["residual"].get("nets", ())
    ]
    nets += [
        (f"{arm['padding']}, {arm['end']}", arm["before"], arm["after"])
        for arm in found["digits"]["arms"]
        if arm["padding"] != "circular"
    ]
    ways = found["sound"]["ways"]
    return {
        "orders": judge(
            "If all pixels change a little, those in the middle change the output by several "
            "orders of magnitude more.",
            "felt in the middle / in the corner",
            [
                Case(name, felt["over_corner"], felt["over_corner"] >= MANY)
                for name, _, felt in nets
            ],
        ),
        "learnt": judge(
            "The weights adjust, and training makes up for it.",
            "felt in the middle / at the edge, before and after training",
            [_made_up(name, before, after) for name, before, after in nets],
        ),
        "sound": judge(
            "It is the same with sound.",
            "ways from the middle",
            [Case("/ from the first sample", ways["first"], ways["first"] > 1)],
        ),
    }


def _made_up(name: str, before: Numbers, after: Numbers) -> Case:
    """By how much of its logarithm the ratio of middle and edge has shrunk in training."""
    share = 100 * (1 - log(after["over_edge"]) / log(before["over_edge"]))
    pair = f"{shown(before['over_edge'])} and {shown(after['over_edge'])}"
    return Case(name, pair, share >= HALF)
