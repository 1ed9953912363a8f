"""Tuning and runs of the arms on a data set: what each seed answers on the test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from placewise.comparison import Budget, budget_of
from placewise.errors import SettingsError
from studies import Options
from studies._material import Labelled, load_cifar, load_digits, load_mnist
from studies._runs import Run, Work, run_each
from studies._training import drawing, drawn_from, fit, right
from studies.proximity.arms import Arm, Net

RATES = (3e-3, 1e-2, 3e-2)
"""Highest learning rates that every arm is tried with, on validation images."""

BATCH = 128

SIDE = 32
"""Pixels on a side of the images that the small net sees."""

BARE_SIDE = 28
"""Pixels on a side of the images that nets without a convolution see: as they come."""

TUNING = 1_000_000
"""Seed of the tuning runs: none that is compared."""

TURN, SCALE, SHEAR = 0.2, 0.1, 0.15
"""By how much images are turned (radians), scaled and sheared at most, where they are moved."""

VALIDATION = 6
"""One of so many training images validates; nothing is learnt from it."""


@dataclass(frozen=True)
class Contest:
    """Arms that are trained alike on one data set.

    Attributes:
        name: of the folder that its runs are kept in.
        data: "digits", "mnist" or "cifar10_subset".
        arms: who takes part.
        seeds: runs of each arm.
        steps: of each training.
        shift: images are moved by up to so many pixels in training, see `moved`; 0: as they are.
        rates: learning rates that are tried; a single one is taken as it is.
    """

    name: str
    data: str
    arms: Sequence[Net]
    seeds: int
    steps: int
    shift: int = 0
    rates: tuple[float, ...] = RATES


@dataclass(frozen=True)
class Outcome:
    """What an arm reached.

    Attributes:
        arm: the arm.
        budget: parameters and multiply-adds.
        rate: the learning rate that was chosen.
        tried: learning rate -> percent right of the validation images.
        right: (seeds, test images) 1 where the answer is right, else 0.
    """

    arm: Net
    budget: Budget
    rate: float
    tried: dict[float, float]
    right: NDArray[np.float64]

    @property
    def percent(self) -> list[float]:
        """Percent right of each seed."""
        return [float(value) for value in 100 * self.right.mean(1)]


def hold(contest: Contest, options: Options) -> dict[str, Outcome]:
    """Tune every arm on the validation images, then run every seed and read the test once.

    Seed i gives all arms the same trunk and the same images in the same order.
    """
    work = partial(_train, contest=contest, data=options.data)
    tried = _tuned(contest, options, work)
    chosen = {name: best(values) if values else contest.rates[0] for name, values in tried.items()}
    runs = [
        Run(
            f"{contest.name}/runs/{_file(arm.name)}/{seed}",
            _settings(contest, arm, chosen[arm.name], options.seed + seed),
        )
        for seed in range(contest.seeds)
        for arm in contest.arms
    ]
    found = run_each(work, runs, options, what=f"runs of {contest.name}")
    rows: dict[str, list[NDArray[np.float64]]] = {arm.name: [] for arm in contest.arms}
    for run, one in zip(runs, found, strict=True):
        rows[run.settings["arm"]].append(unpacked(one["right"], one["items"]))
    return {
        arm.name: Outcome(
            arm,
            _budget(contest, arm),
            chosen[arm.name],
            tried[arm.name],
            np.stack(rows[arm.name]),
        )
        for arm in contest.arms
    }


def best(tried: Mapping[float, float]) -> float:
    """The learning rate with the most right answers, the highest of several that are as good.

    Short trainings want high rates, and few validation images give many ties.

    Example:
        >>> best({0.003: 98.4, 0.01: 98.4, 0.03: 97.0})
        0.01
    """
    return max(tried, key=lambda rate: (tried[rate], rate))


def _tuned(contest: Contest, options: Options, work: Work) -> dict[str, dict[float, float]]:
    """Arm -> learning rate -> percent right of the validation images."""
    trials = [
        Run(f"{contest.name}/tuning/{_file(arm.name)}/{rate:g}", _settings(contest, arm, rate))
        for rate in (contest.rates if len(contest.rates) > 1 else ())
        for arm in contest.arms
    ]
    tried: dict[str, dict[float, float]] = {arm.name: {} for arm in contest.arms}
    found = run_each(work, trials, options, what=f"trials of {contest.name}")
    for trial, one in zip(trials, found, strict=True):
        tried[trial.settings["arm"]][trial.settings["rate"]] = one["percent"]
    return tried


def packed(answers: Tensor) -> str:
    """Yes and no of each image, as hexadecimal digits.

    Example:
        >>> packed(torch.tensor([True, False, True, True]))
        'b0'
    """
    return np.packbits(answers.numpy()).tobytes().hex()


def unpacked(text: str, items: int) -> NDArray[np.float64]:
    """(items,) 1 for yes and 0 for no.

    Example:
        >>> unpacked("b0", 4).tolist()
        [1.0, 0.0, 1.0, 1.0]
    """
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=items)
    return bits.astype(np.float64)


def moved(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Images that are each moved, turned, scaled and sheared a little; zeros come in.

    Args:
        images: (n, channels, height, width).
        most: pixels by which they are moved at most along each axis.
        generator: draws the maps.

    Example:
        >>> moved(torch.ones(2, 1, 5, 5), 2, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 5, 5])
    """
    high, wide = images.shape[2:]
    drawn = 2 * torch.rand(5, len(images), generator=generator) - 1
    angle, size, slant = TURN * drawn[0], 1 + SCALE * drawn[1], SHEAR * drawn[2]
    cosine, sine = size * angle.cos(), size * angle.sin()
    right, down = 2 * most * drawn[3] / wide, 2 * most * drawn[4] / high
    rows = [torch.stack((cosine, slant - sine, right), 1), torch.stack((sine, cosine, down), 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def images_of(name: str, data: Path | None) -> Labelled:
    """Images of a data set as they come."""
    if name == "digits":
        return load_digits()
    if data is None:
        raise SettingsError(f"the study needs {name}, and no folder of data was given (`--data`)")
    return load_mnist(data) if name == "mnist" else load_cifar(data)


@lru_cache(maxsize=2)
def _images(name: str, data: Path | None, enlarged: bool) -> Labelled:
    """The images of a data set, for the small net brought to the side that it was made for."""
    found = images_of(name, data)
    if not enlarged:
        return found
    sides = [_of_side(images) for images in (found.train, found.test)]
    return Labelled(sides[0], found.train_classes, sides[1], found.test_classes)


def _of_side(images: Tensor) -> Tensor:
    """Small images scaled up, those that lack a few pixels padded with zeros."""
    missing = SIDE - images.shape[-1]
    if missing <= SIDE // 4:
        return functional.pad(images, (missing // 2,) * 4)
    return functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear")


def _train(settings: Mapping[str, Any], contest: Contest, data: Path | None) -> dict[str, Any]:
    """One run: trained, then asked once at its last step."""
    arm = next(arm for arm in contest.arms if arm.name == settings["arm"])
    small, seed = isinstance(arm, Arm), settings["seed"]
    found = _images(contest.data, data, small)
    held = torch.arange(len(found.train)) % VALIDATION == 0
    images, classes = found.train[~held], found.train_classes[~held]

    def change(shown: Tensor, generator: torch.Generator) -> Tensor:
        return moved(shown, contest.shift, generator)

    with drawing(seed) as generator:
        net = arm.build(found.train.shape[1], found.train.shape[-1], seed)
        fit(
            net,
            drawn_from(images, classes, change if contest.shift else None),
            contest.steps,
            generator,
            rate=settings["rate"],
            batch=BATCH,
            rewired=arm.rewiring(contest.steps) if isinstance(arm, Arm) else None,
        )
    if seed == TUNING:
        asked = right(net, found.train[held], found.train_classes[held])
        return {"percent": 100 * float(asked.double().mean())}
    asked = right(net, found.test, found.test_classes)
    return {"items": len(asked), "right": packed(asked)}


def _budget(contest: Contest, arm: Net) -> Budget:
    channels = 3 if contest.data == "cifar10_subset" else 1
    side = SIDE if isinstance(arm, Arm) else BARE_SIDE
    return budget_of(arm.build(channels, side, 0), (channels, side, side))


def _settings(contest: Contest, arm: Net, rate: float, seed: int = TUNING) -> dict[str, Any]:
    """All that a run depends on."""
    return {
        "arm": arm.name,
        "of": repr(arm),
        "data": contest.data,
        "steps": contest.steps,
        "shift": contest.shift,
        "rate": rate,
        "seed": seed,
    }


def _file(name: str) -> str:
    """A name that any file system takes."""
    plain = name.replace("γ", "gamma").replace("λ", "lambda").replace("∞", "infinite")
    return "-".join(plain.replace(",", "").replace("=", "").split())
