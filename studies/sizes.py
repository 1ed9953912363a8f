"""Trained at one size, tested at others: fully convolutional nets and flattened ones."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.backbones.lenet import LeNet
from placewise.heads import HEADS
from placewise.report.canvas import png
from studies import Findings, Options, Scale, Study
from studies._figures import COLOURS, INK, MUTED, panels, title
from studies._findings import Case, Measured, judge, table_of
from studies._material import Labelled, load_digits
from studies._training import Draw, accuracy, drawing, drawn_from, fit

Kind = Literal["scaled", "wider"]

SIDE, DIGIT, WIDTH = 24, 16, 6
"""Pixels on a side of the images in training and of their digit; maps of the first layer."""

SIZES: dict[Kind, tuple[int, ...]] = {"scaled": (12, 16, 20, 24, 32, 48), "wider": (32, 48)}
"""Sizes of the test, in pixels: the same scene in other resolutions; more around the digit."""

NAMED = {"half": 12, "smaller": 20, "larger": 32, "double": 48}
"""Sizes that the text tells of."""

SAME = 5.0
"""Percent that may be lost where a net is said to work."""


@dataclass(frozen=True)
class Arm:
    """A head, and what is done with images of another size.

    Attributes:
        head: member of `HEADS`.
        scaled_back: whether images are brought to the training size first.
    """

    head: str
    scaled_back: bool

    @property
    def name(self) -> str:
        """As the page tells it."""
        return f"{self.head}, {'scaled back' if self.scaled_back else 'as they are'}"


ARMS = (Arm("convolutional", False), Arm("convolutional", True), Arm("flatten", True))


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        seeds: how often each net is trained.
        steps: of training.
        fine_tuned: steps of training of the last layer.
    """

    seeds: int
    steps: int
    fine_tuned: int


BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(2, 2, 1),
    "small": Budget(5, 500, 40),
    "full": Budget(20, 3000, 300),
}

Runs = dict[tuple[str, Kind, int, bool], list[float]]
"""(arm, kind, size, fine-tuned) -> percent right, one for each seed."""


class Sizes(Study):
    """What is lost at other sizes than that of the training, and what fine-tuning brings back."""

    def run(self, options: Options) -> Findings:
        """Train the nets, test them at all sizes, judge the claims, draw the figure."""
        budget, digits = BUDGETS[options.scale], load_digits()
        runs: Runs = {}
        for head in ("convolutional", "flatten"):
            for seed in range(options.seed, options.seed + budget.seeds):
                options.tell(f"{head}, seed {seed}")
                _measure(head, seed, digits, budget, runs)
        found = {key: Measured.of(values) for key, values in runs.items()}
        base = {arm.head: found[arm.name, "scaled", SIDE, False].numbers() for arm in ARMS}
        heads = _heads(runs)
        return Findings(
            {
                "budget": vars(budget),
                "side": SIDE,
                "digit": DIGIT,
                "field": LeNet(1).receptive_field,
                "stride": LeNet.stride,
                "named": NAMED,
                "tested": len(digits.test),
                "same": SAME,
                "at_training": base,
                "heads": heads.numbers(),
                "shares": _lost(runs),
                "scaled": _table(found, "scaled"),
                "wider": _table(found, "wider"),
                "claims": _claims(runs, heads),
            },
            {"sizes": _figure(found)},
        )


# --- images ------------------------------------------------------------------------------------


def scene(digits: Tensor, kind: Kind, side: int, generator: torch.Generator) -> Tensor:
    """Digits anywhere on black images.

    Args:
        digits: (n, 1, height, width).
        kind: "scaled": the scene of the training in another resolution; "wider": digits as large
            as in training on an image of another size.
        side: pixels of the images.
        generator: draws the places; the same one for another resolution gives the same scene.

    Example:
        >>> scene(torch.ones(2, 1, 8, 8), "scaled", 20, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 20, 20])
    """
    enlarged = functional.interpolate(digits, size=(DIGIT, DIGIT), mode="bilinear")
    full = SIDE if kind == "scaled" else side
    images = digits.new_zeros(len(digits), 1, full, full)
    corners = torch.randint(0, full - DIGIT + 1, (len(digits), 2), generator=generator)
    for image, digit, (top, left) in zip(images, enlarged, corners.tolist(), strict=True):
        image[:, top : top + DIGIT, left : left + DIGIT] = digit
    return scaled(images, side)


def scaled(images: Tensor, side: int) -> Tensor:
    """Images in another resolution, smoothed where they become smaller."""
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


# --- what is measured ----------------------------------------------------------------------------


def build(head: str) -> nn.Sequential:
    """The small net that this project began with, its maps as large as they came, and a head.

    Example:
        >>> build("convolutional")(torch.zeros(1, 1, 48, 48)).shape
        torch.Size([1, 10])
    """
    trunk = LeNet(1, width=WIDTH, padding_mode="zeros")
    member: Any = HEADS[head]
    return nn.Sequential(trunk, member(trunk.out_channels, 10, trunk.size((SIDE, SIDE))))


def _measure(head: str, seed: int, digits: Labelled, budget: Budget, runs: Runs) -> None:
    """One net with one seed: trained once, then tested and fine-tuned at each size."""
    with drawing(seed) as generator:
        net = build(head)
        fit(net, _draw(digits, "scaled", SIDE, SIDE), budget.steps, generator)
    for arm in ARMS:
        if arm.head != head:
            continue
        for kind, sides in SIZES.items():
            for side in sides:
                shown = SIDE if arm.scaled_back else side
                test = scene(digits.test, kind, side, torch.Generator().manual_seed(seed))
                with drawing(seed) as generator:
                    better = fine_tuned(
                        net, _draw(digits, kind, side, shown), budget.fine_tuned, generator
                    )
                for again, tried in ((False, net), (True, better)):
                    right = accuracy(tried, scaled(test, shown), digits.test_classes)
                    runs.setdefault((arm.name, kind, side, again), []).append(right)


def _draw(digits: Labelled, kind: Kind, side: int, shown: int) -> Draw:
    def change(images: Tensor, generator: torch.Generator) -> Tensor:
        return scaled(scene(images, kind, side, generator), shown)

    return drawn_from(digits.train, digits.train_classes, change)


def fine_tuned(
    net: nn.Sequential, draw: Draw, steps: int, generator: torch.Generator
) -> nn.Sequential:
    """A copy of a net whose last layer was trained on, all else kept as it is."""
    copy = deepcopy(net).requires_grad_(False)
    last = copy[-1].get_submodule("out").requires_grad_(True)
    fit(copy, draw, steps, generator, rate=3e-3)
    last.requires_grad_(False)
    return copy


def _heads(runs: Runs) -> Measured:
    """Convolutional minus flattened, at the training size."""
    first, second = (runs[ARMS[arm].name, "scaled", SIDE, False] for arm in (0, 2))
    return Measured.of(first, minus=second)


def change(runs: Runs, arm: Arm, kind: Kind, side: int, again: bool) -> Measured:
    """Percent right at a size, minus percent right at the training size."""
    return Measured.of(
        runs[arm.name, kind, side, again], minus=runs[arm.name, "scaled", SIDE, False]
    )


def _lost(runs: Runs) -> dict[str, Any]:
    """Changes that the text tells."""
    names = ("convolutional", "convolutional_back", "flatten")
    return {
        name: {
            f"{kind}_{word}{'_fine_tuned' if again else ''}": change(
                runs, arm, kind, side, again
            ).numbers()
            for kind, sides in SIZES.items()
            for word, side in NAMED.items()
            if side in sides
            for again in (False, True)
        }
        for name, arm in zip(names, ARMS, strict=True)
    }


def _table(found: Mapping[tuple[str, Kind, int, bool], Measured], kind: Kind) -> dict[str, Any]:
    rows = [
        [f"{arm.name}{', fine-tuned' if again else ''}"]
        + [found[arm.name, kind, side, again].numbers()["said"] for side in SIZES[kind]]
        for arm in ARMS
        for again in (False, True)
    ]
    return {
        "header": ["head, images", *(f"{side} × {side}" for side in SIZES[kind])],
        "rows": rows,
    }


# --- claims --------------------------------------------------------------------------------------


def _claims(runs: Runs, heads: Measured) -> dict[str, Any]:
    """The thread's claims, judged by the numbers that were found."""
    fully, _, flat = ARMS

    def cases(arm: Arm, kinds: tuple[Kind, ...], again: bool) -> list[Case]:
        changes = [
            (f"{side}, {kind}", change(runs, arm, kind, side, again))
            for kind in kinds
            for side in SIZES[kind]
            if side != SIDE
        ]
        return [Case(name, m.numbers()["said"], m.mean >= -SAME) for name, m in changes]

    near = change(runs, fully, "scaled", NAMED["smaller"], False)
    ends, what = heads.interval, "accuracy (points), convolutional minus flattened"
    worse = None if ends is None or ends.holds(0.0) else ends.high < 0
    said = heads.numbers()["said"]
    sizes = f"change of accuracy (points) from {SIDE}"
    every = {
        "any_size": judge(
            "A fully convolutional network works on images of any size.",
            sizes,
            cases(fully, ("scaled", "wider"), again=False),
        ),
        "infer": judge(
            "It can be trained on images of one size and used on smaller ones (the thread: "
            "trained at 512, used at 416).",
            sizes,
            [Case(f"{NAMED['smaller']}, scaled", near.numbers()["said"], near.mean >= -SAME)],
        ),
        "coded": judge(
            "A flattened head fixes the size in the network, so it cannot.",
            f"{sizes}, images scaled back",
            [Case(c.name, c.number, not c.holds) for c in cases(flat, ("scaled",), again=False)],
        ),
        "transfer": judge(
            "It can be trained further, independently of the size.",
            f"{sizes}, last layer fine-tuned",
            cases(fully, ("scaled", "wider"), again=True),
        ),
        "worse": judge(
            "Fully convolutional networks do worse than those with fully connected layers.",
            what,
            [Case(f"at {SIDE}", said, worse)],
        ),
        "comparable": judge(
            "They do as well or better with as many channels as the hidden layer has units.",
            what,
            [Case(f"at {SIDE}", said, None if worse is None else not worse)],
        ),
    }
    return {**every, "table": table_of(list(every.values()))}


# --- figure --------------------------------------------------------------------------------------


def _figure(found: Mapping[tuple[str, Kind, int, bool], Measured]) -> bytes:
    """Percent right over the size of the test: as trained, and with the last layer fine-tuned."""
    figure, frames = panels(10, 3.6, columns=2)
    for axes, again in zip(frames, (False, True), strict=True):
        for colour, arm in zip(COLOURS, ARMS, strict=False):
            for kind, sides in SIZES.items():
                at = (SIDE, *sides) if kind == "wider" else sides
                values = [
                    found[arm.name, "scaled" if side == SIDE else kind, side, again] for side in at
                ]
                style = "-" if kind == "scaled" else "--"
                axes.plot(at, [v.mean for v in values], f"o{style}", color=colour, markersize=4)
                for side, value in zip(at, values, strict=True):
                    if value.interval is not None:
                        ends = (value.interval.low, value.interval.high)
                        axes.plot((side, side), ends, color=colour, linewidth=1.2)
            axes.plot([], [], "o-", color=colour, label=arm.name)
        axes.plot([], [], "--", color=MUTED, label="wider, not scaled")
        axes.axvline(SIDE, color=MUTED, linestyle=":", linewidth=1.2)
        axes.set(xlabel="side of the images in the test (pixels)", ylim=(0, 103))
        axes.set_xticks(SIZES["scaled"])
        title(axes, "last layer fine-tuned" if again else "as trained")
    frames[0].set_ylabel("accuracy (%)", color=INK)
    frames[1].legend(frameon=False, fontsize=9, loc=(0.27, 0.02), labelcolor=INK)
    return png(figure)
