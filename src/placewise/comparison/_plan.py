"""The plan of a comparison (arms, data, seeds, budgets) and the settings of each run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from placewise.augment import generator
from placewise.errors import SettingsError
from placewise.family import Setting, validated
from placewise.training import TrainingSettings

Settings = dict[str, Setting]

STEPS = 1000
"""Optimiser steps of each run by default."""

OWN = frozenset({"seed", "backbone", "backbone_settings", "head", "head_settings"})
"""Settings of training that the plan gives elsewhere."""

DECIDED = frozenset({"max_minutes", "val_interval"})
"""Settings of training that no plan can change: runs are equally long and end at the last step."""

SHARED = frozenset({"max_steps", "batch_size", "input_pixels", "precision", "device"})
"""Settings of training that all arms have to share."""

WHY_NOT = {
    "max_minutes": "all arms must take equal steps; use 'max_steps'",
    "val_interval": "every run is judged at its last step; leave it out",
    "seed": "the plan runs several seeds; give their number as 'seeds'",
    **dict.fromkeys(SHARED, "all arms must share it; give it in [training]"),
}
ELSEWHERE = "it belongs to an arm or to the plan itself; give it there"
"""Why a setting of training is refused, and what to do instead."""


class Arm(BaseModel):
    """One of the networks that are compared.

    Attributes:
        name: its name, and that of its folder.
        head: member of `HEADS`.
        head_settings: keywords of its constructor.
        backbone: member of `BACKBONES`; None: the plan's.
        backbone_settings: keywords of its constructor, in place of the plan's.
        training: settings of training that differ from the plan's.

    Example:
        >>> Arm(name="wide", head="flatten", head_settings={"hidden": 250}).name
        'wide'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    head: str
    head_settings: Settings = {}
    backbone: str | None = None
    backbone_settings: Settings | None = None
    training: dict[str, Any] = {}


class Tuning(BaseModel):
    """How each arm's learning rate and weight decay are chosen, on validation images.

    Attributes:
        trials: runs of each arm; the first takes the settings as given, the others draw them
            log-uniformly. 1: nothing is tuned.
        learning_rate: range to draw from.
        weight_decay: range to draw from.

    Example:
        >>> Tuning(trials=4).learning_rate
        (0.0005, 0.02)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(default=6, ge=1)
    learning_rate: tuple[float, float] = (5e-4, 2e-2)
    weight_decay: tuple[float, float] = (1e-4, 0.1)


class Plan(BaseModel):
    """What is compared, on what, and how.

    Attributes:
        data: file of labels, or the folder that holds one.
        format: of the labels; None: detected.
        arms: what is compared, at least two.
        reference: arm that the others are compared with; None: the first.
        seeds: runs of each arm; seed i gives all arms the same first weights, order of images and
            augmentation.
        measure: None: accuracy for classes, mean error for keypoints.
        rope: half the width of the region of practical equivalence, in units of the measure;
            None: 0.002 (0.2 points) for accuracy, 0.1 px for keypoints.
        backbone: of all arms that name none.
        backbone_settings: of all arms that name none.
        training: settings of `TrainingSettings` for all arms.
        tuning: how the learning rate and the weight decay are chosen.
        unmatched: continue although budgets differ by more than 2 %, and say so.
        place: also train each arm with places permuted, and measure the effect of shifts, sizes and
            deformations.

    Example:
        >>> arms = [Arm(name=head, head=head) for head in ("flatten", "convolutional")]
        >>> Plan(data="digits", arms=arms, seeds=20).against
        'flatten'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    format: str | None = None
    arms: tuple[Arm, ...] = Field(min_length=2)
    reference: str | None = None
    seeds: int = Field(default=10, ge=2)
    measure: str | None = None
    rope: float | None = Field(default=None, ge=0)
    backbone: str = "unet"
    backbone_settings: Settings = {}
    training: dict[str, Any] = {}
    tuning: Tuning = Tuning()
    unmatched: bool = False
    place: bool = True

    @property
    def against(self) -> str:
        """Name of the arm that the others are compared with."""
        return self.reference or self.arms[0].name

    @property
    def steps(self) -> int:
        """Optimiser steps of each run."""
        return int(self.training.get("max_steps", STEPS))

    def arm(self, name: str) -> Arm:
        """The arm of this name."""
        return next(arm for arm in self.arms if arm.name == name)


class Trial(BaseModel):
    """A learning rate and a weight decay.

    Example:
        >>> Trial(learning_rate=2e-3, weight_decay=0.01).learning_rate
        0.002
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    learning_rate: float
    weight_decay: float


def make_plan(**values: Any) -> Plan:
    """A checked plan.

    Args:
        **values: the fields of `Plan`, as TOML or JSON would hold them.

    Raises:
        SettingsError: names the field, what was got and what is expected.

    Example:
        >>> make_plan(data="digits", arms=[{"name": "a", "head": "flatten"}])
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: got 1 arm (a); a comparison needs at least 2...
    """
    arms = values.get("arms")
    if isinstance(arms, list | tuple) and len(arms) == 1 and isinstance(arms[0], dict):
        raise SettingsError(
            f"got 1 arm ({arms[0].get('name', '?')}); a comparison needs at least 2: name several "
            "heads (--heads a,b), or write a plan with several [[arms]], which may differ in their "
            "settings"
        )
    plan = validated(Plan, values)
    names = [arm.name for arm in plan.arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"two arms are named {', '.join(twice)}; give each arm its own name")
    if plan.against not in names:
        raise SettingsError(
            f"reference: got '{plan.against}'; expected one of the arms: {', '.join(names)}"
        )
    _refuse("training", plan.training, OWN | DECIDED)
    for arm in plan.arms:
        _refuse(f"arms.{arm.name}.training", arm.training, OWN | DECIDED | SHARED)
        train_settings(plan, arm, 0)
    return plan


def read_plan(file: str | Path) -> Plan:
    """Read the plan in a TOML file; `data` is relative to the file's folder.

    Raises:
        SettingsError: the file cannot be read, or is not a valid plan.

    Example:
        >>> read_plan(Path("nowhere.toml"))
        Traceback (most recent call last):
        ...
        placewise.errors.SettingsError: nowhere.toml cannot be read: No such file or directory; ...
    """
    file = Path(file)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read: {error.strerror}; give a plan, or labels and --heads"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}; see docs/compare.md") from error
    if "data" in values:
        values["data"] = file.parent / str(values["data"])
    try:
        return make_plan(**values)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None


def train_settings(plan: Plan, arm: Arm, seed: int, trial: Trial | None = None) -> TrainingSettings:
    """Settings of one run: all arms take equal steps and are judged at the last one.

    Args:
        plan: the plan.
        arm: whose run.
        seed: of the run.
        trial: learning rate and weight decay; None: as given.
    """
    own = arm.backbone is not None
    given: dict[str, Any] = {
        "precision": "float32",
        **plan.training,
        **arm.training,
        "max_steps": plan.steps,
        "val_interval": plan.steps,
        "seed": seed,
        "head": arm.head,
        "head_settings": arm.head_settings,
        "backbone": arm.backbone or plan.backbone,
        "backbone_settings": {} if own else plan.backbone_settings,
    }
    if arm.backbone_settings is not None:
        given["backbone_settings"] = arm.backbone_settings
    return TrainingSettings.of(**given | (trial.model_dump() if trial else {}))


def trials_of(plan: Plan, arm: Arm) -> list[Trial]:
    """The trials of an arm; all arms draw the same, but the first are the settings as given."""
    given = train_settings(plan, arm, 0)
    first = Trial(learning_rate=given.learning_rate, weight_decay=given.weight_decay)
    rng = generator(0, 0, "tuning")
    ranges = np.log([plan.tuning.learning_rate, plan.tuning.weight_decay])
    drawn = np.exp(rng.uniform(ranges[:, 0], ranges[:, 1], (plan.tuning.trials - 1, 2)))
    rounded = [[float(f"{value:.3g}") for value in pair] for pair in drawn]
    return [first, *(Trial(learning_rate=r, weight_decay=d) for r, d in rounded)]


def _refuse(where: str, settings: Mapping[str, Any], names: frozenset[str]) -> None:
    """Refuse settings of training that belong elsewhere, and say where."""
    for name in sorted(names & settings.keys()):
        raise SettingsError(f"'{name}' is not allowed in [{where}]: {WHY_NOT.get(name, ELSEWHERE)}")
