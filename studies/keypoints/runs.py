"""What is trained: arms, how much at a scale, and one comparison for each data set and axis."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from placewise.comparison import make_plan
from placewise.geometry import FloatArray
from placewise.labels import KeypointDataset
from studies import Options, Scale
from studies._runs import compared
from studies.keypoints import material
from studies.keypoints.material import DIGITS, MICE

SIGMA = 1.0
"""Standard deviation of the soft labels: pixels of a map, or, with a class for each column and
row, of the image."""

NARROW, WIDE = 0.5, 2.0
"""The smaller and the larger one."""


@dataclass(frozen=True)
class Way:
    """One of the ways to place keypoints.

    Attributes:
        said: what the page calls it.
        head: member of the heads.
        settings: of the head.
    """

    said: str
    head: str
    settings: dict[str, Any]


def _map(said: str, loss: str = "joint", sigma: float = SIGMA) -> Way:
    return Way(f"heatmap, {said}", "heatmap", {"loss": loss, "sigma": sigma})


WAYS = {
    "joint": _map("joint softmax"),
    "cross_entropy": _map("cross-entropy", "cross_entropy"),
    "mse": _map("squared error", "mse"),
    "softmax": _map("softmax over places", "softmax"),
    "narrow": _map("joint, half as wide", sigma=NARROW),
    "wide": _map("joint, twice as wide", sigma=WIDE),
    "integral": Way("mean place of a map (integral)", "integral", {"sigma": SIGMA}),
    "simcc": Way("classes of columns and rows (SimCC)", "simcc", {"sigma": SIGMA}),
    "flatten": Way("coordinates, flattened + FC", "coordinates", {"gather": "flatten"}),
    "pool": Way("coordinates, averaged + FC", "coordinates", {"gather": "pool"}),
}
"""The arms; with soft labels, all of one width but where the arm is about that."""

REFERENCE = "joint"

FEW = ("joint", "simcc", "flatten")
"""Arms that are also trained on other sizes and on fewer images."""

ROPE = 0.2
"""Per cent of the longer side: differences that do not matter."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        arms: what is compared, of `WAYS`.
        seeds: runs of each arm.
        axis_seeds: runs of each arm at other sizes and with fewer images.
        trials: of learning rate and weight decay, for each arm.
        steps: of training, by data set.
        side: longest side of the images in pixels, by data set.
        other_sides: those of a few arms.
        shares: of the training images, for a few arms.
        images: with digits, in all.
        width: of the backbone.
        batch: images in a step.
    """

    arms: tuple[str, ...]
    seeds: int
    axis_seeds: int
    trials: int
    steps: dict[str, int]
    side: dict[str, int]
    other_sides: dict[str, tuple[int, ...]]
    shares: tuple[float, ...]
    images: int
    width: int
    batch: int


STEPS = {DIGITS: 500, **dict.fromkeys(MICE, 240)}
SIDES = {DIGITS: 96, **dict.fromkeys(MICE, 64)}

FULL = Budget(
    arms=tuple(WAYS),
    seeds=10,
    axis_seeds=2,
    trials=3,
    steps=STEPS,
    side=SIDES,
    other_sides={DIGITS: (64, 136), **dict.fromkeys(MICE, (96,))},
    shares=(0.25,),
    images=400,
    width=32,
    batch=4,
)

BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(
        arms=("joint", "flatten"),
        seeds=2,
        axis_seeds=2,
        trials=1,
        steps=dict.fromkeys(STEPS, 3),
        side=dict.fromkeys(SIDES, 32),
        other_sides=dict.fromkeys(SIDES, ()),
        shares=(0.5,),
        images=20,
        width=16,
        batch=2,
    ),
    "small": replace(
        FULL,
        seeds=3,
        trials=1,
        steps={DIGITS: 300, **dict.fromkeys(MICE, 150)},
        other_sides=dict.fromkeys(SIDES, ()),
        shares=(0.5,),
        images=200,
    ),
    "full": FULL,
}


@dataclass(frozen=True)
class Effort:
    """How long and how often the arms of one comparison are trained, and which backbone.

    Attributes:
        steps: of each training.
        seeds: runs of each arm.
        trials: of learning rate and weight decay, for each arm.
        width: of the backbone.
        batch: images in a step.
    """

    steps: int
    seeds: int
    trials: int
    width: int
    batch: int


@dataclass(frozen=True)
class Outcome:
    """A finished comparison on one data set.

    Attributes:
        folder: of the comparison.
        labels: what it was made on.
        results: what it wrote.
        factor: pixels here for one pixel of the images as they came.
    """

    folder: Path
    labels: KeypointDataset
    results: dict[str, Any]
    factor: float

    @cached_property
    def percent(self) -> float:
        """Per cent of the median image's longer side that a pixel is."""
        return 100 / float(np.median([max(s.size) for s in material.part(self.labels, "test")]))

    @cached_property
    def arms(self) -> dict[str, dict[str, Any]]:
        """What was found, by arm."""
        return {arm["name"]: arm for arm in self.results["arms"]}

    def values(self, arm: str, seeds: int | None = None) -> list[float]:
        """Mean error of each seed in % of the longer side."""
        by_seed = self.arms[arm]["by_seed"][:seeds]
        return [run["value"] * self.percent for run in by_seed]

    def runs(self, arm: str) -> list[Path]:
        """Folders of an arm's runs, by seed."""
        return [self.folder / run["run"] for run in self.arms[arm]["by_seed"]]

    def errors(self, arm: str) -> FloatArray:
        """(seeds, test images, points) errors in pixels here; NaN where nothing is located."""
        return np.stack([errors_of(run, self.labels) for run in self.runs(arm)])


def errors_of(run: Path, labels: KeypointDataset) -> FloatArray:
    """(test images, points) errors in pixels that a run's `items.csv` tells, NaN for others."""
    images = {s.image: row for row, s in enumerate(material.part(labels, "test"))}
    found = np.full((len(images), len(labels.names)), np.nan)
    with (run / "items.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            image, _, name = line["item"].rpartition("#")
            found[images[image], labels.names.index(name)] = float(line["mean_error_px"])
    return found


@dataclass(frozen=True)
class Found:
    """All comparisons on one data set.

    Attributes:
        original: the labels as they came.
        main: all arms.
        sides: the few arms, by the longest side in pixels; `main` stands among them.
        counts: the few arms, by the number of training images; `main` stands among them.
    """

    original: KeypointDataset
    main: Outcome
    sides: dict[int, Outcome]
    counts: dict[int, Outcome]


def measure(name: str, options: Options, folder: Path) -> Found:
    """Train and test everything on one data set, or take what is kept.

    Args:
        name: of the data set.
        options: how the study is run.
        folder: where images and runs are kept.
    """
    budget, data = BUDGETS[options.scale], folder / "data"
    labels = material.original(name, options.data, data, budget.images, options.seed)
    side = budget.side[name]
    file = material.scaled(labels, side, data / f"{name}-{side}")
    few = tuple(arm for arm in FEW if arm in budget.arms)

    def outcome(what: str, file: Path, arms: Arms, seeds: int, trials: int) -> Outcome:
        options.tell(f"{name}, {what}")
        effort = Effort(budget.steps[name], seeds, trials, budget.width, budget.batch)
        return trained(file, labels, folder / name / what, arms, effort, options)

    main = outcome("all", file, untuned(budget.arms), budget.seeds, budget.trials)
    chosen = tuned(main, few)
    sides, counts = {side: main}, {len(material.part(main.labels, "train")): main}
    for other in budget.other_sides[name]:
        copy = material.scaled(labels, other, data / f"{name}-{other}")
        sides[other] = outcome(f"side-{other}", copy, chosen, budget.axis_seeds, 1)
    for share in budget.shares:
        count = round(share * max(counts))
        kept = material.fewer(file, count, options.seed)
        counts[count] = outcome(f"images-{count}", kept, chosen, budget.axis_seeds, 1)
    return Found(labels, main, dict(sorted(sides.items())), dict(sorted(counts.items())))


RATE = 2e-2
"""Learning rate of the first trial; short trainings want a high one."""

RATES = (5e-3, 4e-2)
"""Range of the learning rates of the other trials."""


Arms = Mapping[str, Mapping[str, float]]
"""Arms of `WAYS`, each with its learning rate and, if it is chosen already, its weight decay."""


def untuned(arms: Sequence[str]) -> Arms:
    """Arms with the learning rate of the first trial."""
    return {arm: {"learning_rate": RATE} for arm in arms}


def tuned(outcome: Outcome, arms: Sequence[str]) -> Arms:
    """Arms with the learning rate and the weight decay that a comparison chose for them."""
    keys = ("learning_rate", "weight_decay")
    return {arm: {key: outcome.arms[arm][key] for key in keys} for arm in arms}


def trained(
    file: Path, original: KeypointDataset, out: Path, arms: Arms, effort: Effort, options: Options
) -> Outcome:
    """One comparison: the same backbone, steps, batches and augmentation for all arms.

    Args:
        file: labels of the scaled images.
        original: the labels as they came.
        out: folder of the comparison.
        arms: what is compared.
        effort: how long and how often.
        options: how the study is run.
    """
    labels = material.points_of(file)
    longer = material.longest(labels)
    results = compared(
        make_plan(
            data=file,
            arms=[
                {
                    "name": arm,
                    "head": WAYS[arm].head,
                    "head_settings": WAYS[arm].settings,
                    "training": dict(training),
                }
                for arm, training in arms.items()
            ],
            reference=REFERENCE,
            seeds=effort.seeds,
            rope=ROPE / 100 * longer,
            backbone="unet",
            backbone_settings={"width": effort.width, "depth": 2},
            training={"max_steps": effort.steps, "batch_size": effort.batch},
            tuning={"trials": effort.trials, "learning_rate": RATES},
            unmatched=True,
            place=False,
        ),
        out,
        options,
    )
    return Outcome(out, labels, results, longer / material.longest(original))
