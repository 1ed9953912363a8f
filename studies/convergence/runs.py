"""What is trained: the same comparison again and again, each time for twice as many steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from placewise.run import Run
from studies import Options, Scale
from studies.keypoints import material
from studies.keypoints.material import DIGITS, MICE
from studies.keypoints.runs import Effort, Outcome, trained, tuned, untuned

IMPROVES = 3
"""Per cent that twice as many steps have to take off the error on the validation images."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        arms: what is compared, of `WAYS`.
        seeds: runs of each arm at each length.
        trials: of learning rate and weight decay, for each arm, at the first length.
        first: steps of the shortest trainings, by data set.
        most: steps of the longest trainings that are allowed, by data set.
        side: longest side of the images in pixels, by data set.
        images: with digits, in all.
        width: of the backbone.
        batch: images in a step.
    """

    arms: tuple[str, ...]
    seeds: int
    trials: int
    first: dict[str, int]
    most: dict[str, int]
    side: dict[str, int]
    images: int
    width: int
    batch: int


FULL = Budget(
    arms=("joint", "softmax", "mse", "integral", "simcc", "flatten"),
    seeds=5,
    trials=3,
    first={DIGITS: 500, **dict.fromkeys(MICE, 250)},
    most=dict.fromkeys((DIGITS, *MICE), 2000),
    side={DIGITS: 136, **dict.fromkeys(MICE, 160)},
    images=400,
    width=32,
    batch=4,
)

BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(
        arms=("joint", "flatten"),
        seeds=2,
        trials=1,
        first={DIGITS: 3},
        most={DIGITS: 6},
        side={DIGITS: 32},
        images=20,
        width=16,
        batch=2,
    ),
    "small": replace(
        FULL,
        arms=("joint", "integral", "flatten"),
        seeds=3,
        trials=1,
        first={DIGITS: 250, **dict.fromkeys(MICE, 125)},
        most={DIGITS: 1000, **dict.fromkeys(MICE, 500)},
        images=200,
    ),
    "full": FULL,
}


def lengthened(name: str, options: Options, folder: Path) -> dict[int, Outcome]:
    """Train and test all arms, for twice as many steps until no arm improves or the budget ends.

    Learning rate and weight decay are chosen at the first length.

    Args:
        name: of the data set.
        options: how the study is run.
        folder: where images and runs are kept.

    Returns:
        Comparisons by number of steps, the shortest first.
    """
    budget, data = BUDGETS[options.scale], folder / "data"
    labels = material.original(name, options.data, data, budget.images, options.seed)
    side = budget.side[name]
    file = material.scaled(labels, side, data / f"{name}-{side}")
    arms, trials, steps = untuned(budget.arms), budget.trials, budget.first[name]
    found: dict[int, Outcome] = {}
    while steps <= budget.most[name] and any(
        settled(validation(found, arm)) is None for arm in budget.arms
    ):
        options.tell(f"{name}, {steps} steps")
        effort = Effort(steps, budget.seeds, trials, budget.width, budget.batch)
        out = folder / name / f"steps-{steps}"
        found[steps] = trained(file, labels, out, arms, effort, options)
        arms, trials, steps = tuned(found[steps], budget.arms), 1, 2 * steps
    return found


def validation(found: Mapping[int, Outcome], arm: str) -> dict[int, float]:
    """Error on the validation images by number of steps: the mean over seeds, in % as the test's.

    Args:
        found: comparisons by number of steps.
        arm: whose.
    """
    return {
        steps: fmean(map(_validated, outcome.runs(arm))) * outcome.percent
        for steps, outcome in found.items()
    }


def _validated(run: Path) -> float:
    """Mean error in px on the validation images at the end of a training."""
    errors = [line["val_error_px"] for line in Run.open(run).log() if "val_error_px" in line]
    return float(errors[-1])


def settled(errors: Mapping[int, float]) -> int | None:
    """The number of steps from which on no doubling improved an arm; None if the last one did.

    Args:
        errors: on the validation images, by number of steps, each twice the one before.

    Example:
        >>> settled({500: 9.0, 1000: 5.0, 2000: 4.9, 4000: 4.8})
        1000
        >>> settled({500: 9.0, 1000: 8.9, 2000: 4.9}), settled({500: 9.0})
        (None, None)
    """
    since = None
    for shorter, longer in pairwise(sorted(errors)):
        if errors[longer] < errors[shorter] * (1 - IMPROVES / 100):
            since = None
        elif since is None:
            since = shorter
    return since
