"""What is trained: losses, strides of maps, skip connections; one comparison for each set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from placewise.comparison import make_plan
from studies import Options, Scale
from studies._runs import compared
from studies.vessels import material
from studies.vessels.material import LINES, VESSELS, Amount

DEPTH, PER_STEM = 2, 16
"""Halvings of the U-Net, and its width for each pixel of the stem: all cost about the same."""

STEM = 2
"""Pixels of a cell where nothing else is said, as placewise chooses for thin things."""

About = Literal["loss", "maps", "skips"]


@dataclass(frozen=True)
class Way:
    """One of the ways to find thin things.

    Attributes:
        said: what the page calls it.
        about: in what it differs from the reference.
        loss: member of `MASK_LOSSES`.
        stem: pixels of a cell of the first maps.
        map_stride: pixels of the image for one of the last maps.
        skips: whether the maps of the way down are added on the way up.
    """

    said: str
    about: About
    loss: str = "bce"
    stem: int = STEM
    map_stride: int = 1
    skips: bool = True

    def arm(self, name: str) -> dict[str, Any]:
        """As a plan holds it."""
        return {
            "name": name,
            "head": "masks",
            "head_settings": {"loss": self.loss, "map_stride": self.map_stride},
            "backbone": "unet" if self.skips else "studies.vessels.net:NoSkips",
            "backbone_settings": {
                "width": PER_STEM * self.stem,
                "depth": DEPTH,
                "stem": self.stem,
            },
        }


WAYS = {
    "bce": Way("cross-entropy", "loss"),
    "bce_dice": Way("cross-entropy and Dice", "loss", "bce_dice"),
    "focal": Way("focal", "loss", "focal"),
    "cldice": Way("cross-entropy, Dice and soft clDice", "loss", "cldice"),
    "skeleton_recall": Way("cross-entropy, Dice and skeleton recall", "loss", "skeleton_recall"),
    "cells_1": Way("first maps at full size", "maps", stem=1),
    "cells_4": Way("first maps at stride 4", "maps", stem=4),
    "maps_2": Way("last maps at stride 2", "maps", map_stride=2),
    "maps_4": Way("first and last maps at stride 4", "maps", stem=4, map_stride=4),
    "no_skips": Way("no skip connections", "skips", skips=False),
}
"""The arms. Each differs from the first in one thing; `maps_4` differs from `cells_4`, for cells
cannot be smaller than a pixel of the last maps."""

REFERENCE = "bce"
LOSSES = tuple(name for name, way in WAYS.items() if way.about == "loss")
THIN = ("cldice", "skeleton_recall")
"""Losses that were made for thin things."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        arms: what is compared, of `WAYS`.
        seeds: runs of each arm.
        steps: of training, by set.
        batch: windows in a step.
        pixels: of a window.
        amount: of the images.
    """

    arms: tuple[str, ...]
    seeds: int
    steps: dict[str, int]
    batch: int
    pixels: int
    amount: Amount


SMALL = Budget(tuple(WAYS), 4, {LINES: 300, VESSELS: 200}, 4, 96 * 96, Amount(lines=100, tested=1))

BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(
        ("bce", "cldice", "maps_2", "maps_4", "no_skips"),
        2,
        {LINES: 2, VESSELS: 2},
        2,
        32 * 32,
        Amount(10, 1),
    ),
    "small": SMALL,
    "full": replace(
        SMALL,
        seeds=10,
        steps=dict.fromkeys(SMALL.steps, 2000),
        batch=8,
        amount=Amount(200, material.PIECES),
    ),
}

RATE = 5e-3
"""Learning rate: short trainings want a high one."""


@dataclass(frozen=True)
class Trained:
    """The runs on one set.

    Attributes:
        data: folder of images and masks.
        folder: of the comparison.
        results: what it wrote.
    """

    data: Path
    folder: Path
    results: dict[str, Any]

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """What was found, by arm."""
        return {arm["name"]: arm for arm in self.results["arms"]}

    def run(self, arm: str, seed: int) -> Path:
        """Folder of a run."""
        return self.folder / str(self.arms[arm]["by_seed"][seed]["run"])


def train(name: str, options: Options, folder: Path) -> Trained:
    """Train all arms on one set, or take what is kept.

    Args:
        name: of the set.
        options: how the study is run.
        folder: where images and runs are kept.
    """
    budget, place = BUDGETS[options.scale], folder / name
    data = material.images_of(name, options.data, place / "data", budget.amount, options.seed)
    options.tell(f"{name}: training")
    plan = make_plan(
        data=data,
        arms=[WAYS[arm].arm(arm) for arm in budget.arms],
        reference=REFERENCE,
        seeds=budget.seeds,
        training={
            "max_steps": budget.steps[name],
            "batch_size": budget.batch,
            "input_pixels": budget.pixels,
            "learning_rate": RATE,
        },
        tuning={"trials": 1},
        unmatched=True,
        place=False,
    )
    results = compared(plan, place / "compared", options, plugins=("studies.vessels.net",))
    return Trained(data, place / "compared", results)
