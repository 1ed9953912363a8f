"""Does flattening lose where the colours are? A toy of a thread, in three versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from placewise.heads import HEADS
from placewise.layers.coordinates import Coordinates
from placewise.report.canvas import png
from studies import Findings, Options, Scale, Study
from studies._figures import INK, measured_rows, panels, title
from studies._findings import Case, Measured, gains, judge, significant, table_of
from studies._training import Draw, accuracy, body, drawing, fit

SIDE, WIDTH, FILL = 5, 12, 0.5
"""Cells on a side, channels of the body, and share of the cells that a distractor stands in."""

CORNERS = ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (SIDE - 1, SIDE - 1))
CENTRE = (SIDE // 2, SIDE // 2)

PASSES, ALIKE, NEAR = 95, 2, 60
"""From which percent on (low end of the interval) an arm passes; up to which difference two arms
are called alike; up to which percent counting is said not to help."""

VERSIONS = ("told", "balanced", "seen", "held")


@dataclass(frozen=True)
class Arm:
    """A small net: two convolutions and a head.

    Attributes:
        name: as the page tells it.
        head: member of `HEADS`.
        padding: beyond the border of each convolution.
        coordinates: whether the body is told where each cell is.
    """

    name: str
    head: str
    padding: str = "zeros"
    coordinates: bool = False

    def net(self) -> nn.Sequential:
        """Two convolutions with windows of three, so a view of all cells from the middle.

        Example:
            >>> ARMS[0].net()(torch.zeros(2, 2, SIDE, SIDE)).shape
            torch.Size([2, 2])
        """
        first = [Coordinates(2)] if self.coordinates else []
        convolutions = body(4 if self.coordinates else 2, WIDTH, padding=self.padding)
        head: Any = HEADS[self.head]
        return nn.Sequential(*first, convolutions, head(WIDTH, 2, (SIDE, SIDE)))


ARMS = (
    Arm("flatten", "flatten"),
    Arm("sheet", "sheet"),
    Arm("proximity", "proximity"),
    Arm("palm_tree", "palm_tree"),
    Arm("low_rank", "low_rank"),
    Arm("convolutional", "convolutional"),
    Arm("convolutional, circular", "convolutional", padding="circular"),
    Arm("convolutional, coordinates", "convolutional", coordinates=True),
)


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        seeds: how often each arm is trained.
        steps: of training.
        easy: steps for the toy as told, which has few images.
        tested: images.
    """

    seeds: int
    steps: int
    easy: int
    tested: int


BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(2, 3, 2, 40),
    "small": Budget(5, 600, 60, 1000),
    "full": Budget(20, 3000, 300, 5000),
}


class Colours(Study):
    """Which heads solve the toy, where counting solves it and where it does not."""

    def run(self, options: Options) -> Findings:
        """Enumerate what counting can do, train all arms, judge the claims, draw the figures."""
        budget = BUDGETS[options.scale]
        ceilings = {
            "told": significant(told_by_counting(exactly_one=False)),
            "one": significant(told_by_counting(exactly_one=True)),
            "balanced": significant(balanced_by_counting()),
        }
        right = {arm.name: _right(arm, options, budget) for arm in ARMS}
        arms = {
            name: {version: Measured.of(values[version]) for version in VERSIONS}
            for name, values in right.items()
        }
        limits = {v: ceilings["told" if v == "told" else "balanced"] for v in VERSIONS}
        return Findings(
            {
                "side": SIDE,
                "colours": 2,
                "blank_share": 100 * (1 - FILL),
                "told_images": 2 ** (len(CORNERS) + 1),
                "budget": vars(budget),
                "passes": PASSES,
                "alike": ALIKE,
                "near": NEAR,
                "counting": ceilings,
                "arms": {
                    name.replace(", ", "_"): {v: m.numbers() for v, m in found.items()}
                    for name, found in arms.items()
                },
                "by_seed": right,
                "carries": any(
                    verdict(found["held"], ceilings["balanced"]) != "not above"
                    for found in arms.values()
                ),
                "table": _table(arms, limits),
                "claims": _claims(right, arms, ceilings),
            },
            {"images": _images(options.seed), "arms": _figure(arms, limits)},
        )


# --- the images --------------------------------------------------------------------------------


def painted(red: Tensor, blue: Tensor) -> Tensor:
    """(n, 2, SIDE, SIDE) images: where red stands, where blue stands."""
    return torch.stack((red, blue), 1).float()


def told(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centre and corners coloured, all else blank; yes if the centre differs from some corner.

    Half of the answers are yes.

    Example:
        >>> images, answers = told(3, torch.Generator().manual_seed(0))
        >>> images.sum((1, 2, 3)).tolist()
        [5.0, 5.0, 5.0]
    """
    yes = torch.rand(number, generator=generator) < 0.5
    centre = torch.rand(number, generator=generator) < 0.5
    differ = torch.randint(1, 2 ** len(CORNERS), (number,), generator=generator) * yes
    red = torch.zeros(number, SIDE, SIDE, dtype=torch.bool)
    on = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    red[:, CENTRE[0], CENTRE[1]], on[CENTRE] = centre, True
    for bit, (row, column) in enumerate(CORNERS):
        red[:, row, column] = centre ^ ((differ >> bit) % 2).bool()
        on[row, column] = True
    return painted(red & on, ~red & on), yes.long()


def balanced(which: Sequence[int] = range(len(CORNERS))) -> Draw:
    """One coloured corner, a coloured centre, distractors; yes if corner and centre differ.

    Args:
        which: corners that may be coloured.

    Example:
        >>> images, _ = balanced([3])(2, torch.Generator().manual_seed(0))
        >>> images[:, :, -1, -1].sum(1).tolist(), images[:, :, 0, 0].sum(1).tolist()
        ([1.0, 1.0], [0.0, 0.0])
    """

    def draw(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        red = torch.rand(number, SIDE, SIDE, generator=generator) < 0.5
        on = torch.rand(number, SIDE, SIDE, generator=generator) < FILL
        for row, column in CORNERS:
            on[:, row, column] = False
        chosen = torch.randint(0, len(which), (number,), generator=generator)
        rows, columns = torch.tensor([CORNERS[corner] for corner in which])[chosen].T
        each = torch.arange(number)
        on[each, rows, columns] = True
        on[:, CENTRE[0], CENTRE[1]] = True
        answers = red[each, rows, columns] != red[:, CENTRE[0], CENTRE[1]]
        return painted(red & on, ~red & on), answers.long()

    return draw


# --- what counting can do ------------------------------------------------------------------------


def told_by_counting(*, exactly_one: bool) -> float:
    """Percent of all images of the toy as told that the number of red cells can answer.

    Args:
        exactly_one: whether yes means that one corner differs, not that some corner does.

    Example:
        >>> told_by_counting(exactly_one=False), told_by_counting(exactly_one=True)
        (100.0, 93.75)
    """
    answers: dict[int, list[bool]] = {}
    for centre, *corners in product((0, 1), repeat=1 + len(CORNERS)):
        differ = sum(corner != centre for corner in corners)
        yes = differ == 1 if exactly_one else differ > 0
        answers.setdefault(centre + sum(corners), []).append(yes)
    right = sum(max(sum(same), len(same) - sum(same)) for same in answers.values())
    return 100 * right / sum(map(len, answers.values()))


def balanced_by_counting() -> float:
    """Percent of the balanced images that the numbers of red and blue cells can answer at best.

    P(right) = Σ_(r,b) max(P(yes, r, b), P(no, r, b)): to the distractors a yes adds one of each
    colour, a no two of one.

    Example:
        >>> round(balanced_by_counting(), 2)
        54.53
    """
    cells = SIDE**2 - len(CORNERS) - 1

    def chance(red: int, blue: int) -> float:
        if min(red, blue) < 0 or red + blue > cells:
            return 0.0
        ways = comb(cells, red) * comb(cells - red, blue)
        return float(ways * (FILL / 2) ** (red + blue) * (1 - FILL) ** (cells - red - blue))

    return 100 * sum(
        max(chance(red - 1, blue - 1), (chance(red - 2, blue) + chance(red, blue - 2)) / 2) / 2
        for red, blue in product(range(cells + 3), repeat=2)
    )


# --- what is learnt ------------------------------------------------------------------------------


def _right(arm: Arm, options: Options, budget: Budget) -> dict[str, list[float]]:
    """Percent right in each version, one for each seed."""
    found: dict[str, list[float]] = {version: [] for version in VERSIONS}
    for seed in range(options.seed, options.seed + budget.seeds):
        options.tell(f"{arm.name}, seed {seed}")
        kept = [corner for corner in range(len(CORNERS)) if corner != seed % len(CORNERS)]
        trained: dict[str, tuple[Draw, int, dict[str, Draw]]] = {
            "told": (told, budget.easy, {"told": told}),
            "balanced": (balanced(), budget.steps, {"balanced": balanced()}),
            "held": (
                balanced(kept),
                budget.steps,
                {"seen": balanced(kept), "held": balanced([seed % len(CORNERS)])},
            ),
        }
        for draw, steps, tests in trained.values():
            with drawing(seed) as generator:
                net = arm.net()
                fit(net, draw, steps, generator)
                for version, test in tests.items():
                    found[version].append(accuracy(net, *test(budget.tested, generator)))
    return found


def verdict(measured: Measured, counting: float) -> str:
    """Whether an arm passes, does better than counting, or cannot be told from it.

    Example:
        >>> [verdict(Measured.of(v), 55) for v in ([99, 100, 99], [50, 51], [70, 71, 72])]
        ['passes', 'not above', 'above']
    """
    low = measured.interval.low if measured.interval else measured.mean
    if low >= PASSES:
        return "passes"
    return "not above" if low <= counting else "above"


def _table(arms: dict[str, dict[str, Measured]], limits: dict[str, float]) -> dict[str, Any]:
    rows = []
    for name, found in arms.items():
        row = [name]
        for version in VERSIONS:
            limit = limits[version] if version != "told" else 50
            row.append(f"{found[version].numbers()['said']} {verdict(found[version], limit)}")
        rows.append(row)
    header = ["arm", "as told", "balanced", "held out: corners seen", "held out: the new corner"]
    return {"header": header, "rows": rows}


def _claims(
    right: dict[str, dict[str, list[float]]],
    arms: dict[str, dict[str, Measured]],
    ceilings: dict[str, float],
) -> dict[str, Any]:
    """The thread's claims, judged by the numbers that were found."""
    flat, new = arms["flatten"], arms["flatten"]["held"]
    names = {"told": "as told", "balanced": "balanced", "held": "a new corner"}
    effects = {v: Measured.of(right["sheet"][v], minus=right["flatten"][v]) for v in names}
    every = {
        "asks": judge(
            "Solving the toy requires knowing where the colours are.",
            "accuracy of counting colours (%)",
            [
                Case("some corner differs, as told", ceilings["told"], ceilings["told"] <= NEAR),
                Case("exactly one corner differs", ceilings["one"], ceilings["one"] <= NEAR),
                Case("balanced", ceilings["balanced"], ceilings["balanced"] <= NEAR),
            ],
        ),
        "no_effect": judge(
            "Flattening should make basically no difference.",
            "accuracy (points), two-dimensional hidden layer minus flattened",
            [Case(names[v], m.numbers()["said"], abs(m.mean) <= ALIKE) for v, m in effects.items()],
        ),
        "not_erased": judge(
            "Flattening does not erase where things are: weights are trained for each place.",
            "accuracy (%), flattened",
            [
                Case(names[v], flat[v].numbers()["said"], verdict(flat[v], 0) == "passes")
                for v in ("balanced",)
            ],
        ),
        "no_neighbours": judge(
            "Flattened layers lack the benefit of neighbours.",
            "accuracy (points) at a new corner, minus flattened",
            [
                Case(name, m.numbers()["said"], gains(m, ALIKE))
                for name in right
                if name not in ("flatten", "convolutional, circular")
                for m in [Measured.of(right[name]["held"], minus=right["flatten"]["held"])]
            ],
        ),
    }
    return {**every, "new_corner": new.numbers(), "table": table_of(list(every.values()))}


# --- figures -------------------------------------------------------------------------------------


def _images(seed: int) -> bytes:
    """Two images of each version with their answers."""
    figure, frames = panels(10, 2.3, columns=6)
    kept = list(range(1, len(CORNERS)))
    draws = (("as told", told), ("balanced", balanced()), ("held out", balanced(kept)))
    colours = np.array([[0.93, 0.93, 0.93], [0.84, 0.15, 0.16], [0.12, 0.40, 0.75]])
    for number, (name, draw) in enumerate(draws):
        with drawing(seed) as generator:
            images, answers = draw(50, generator)
        for answer in (1, 0):
            axes = frames[2 * number + 1 - answer]
            red, blue = images[answers == answer][0].numpy()
            axes.imshow(colours[(red + 2 * blue).astype(int)])
            axes.grid(visible=False)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            title(axes, f"{name}: {'yes' if answer else 'no'}")
    return png(figure)


def _figure(arms: dict[str, dict[str, Measured]], limits: dict[str, float]) -> bytes:
    """Percent right of each arm, one panel for each version."""
    names = {
        "told": "as told",
        "balanced": "balanced",
        "seen": "held out: corners seen",
        "held": "held out: the new corner",
    }
    figure, frames = panels(11, 3.4, columns=4)
    for axes, version in zip(frames, VERSIONS, strict=True):
        measured_rows(axes, {name: found[version] for name, found in arms.items()})
        axes.axvline(limits[version], color=INK, linestyle=":", linewidth=1.2)
        axes.set(xlim=(28, 103), xlabel="accuracy (%)")
        title(axes, names[version])
        if axes is not frames[0]:
            axes.set_yticklabels([])
    return png(figure)
