"""What is trained: one net for each padding rule, by one comparison for each fold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placewise.comparison import make_plan
from studies import Options, Scale
from studies._runs import compared
from studies.signals import material
from studies.signals.material import Amount

RULES = ("zeros", "valid", "circular", "symmetric", "full")
"""Padding rules, members of `PADDINGS`; the others are compared with the first."""

BACKBONE = "studies.signals.net:Straight"

WINDOW = 1024
"""Samples of what training shows of a recording, and of the windows of the test."""


@dataclass(frozen=True)
class Budget:
    """How much is measured at a scale.

    Attributes:
        seeds: runs of each rule on each fold.
        steps: of training.
        batch: windows in a step.
        width: channels of each layer.
        layers: of the net.
        amount: of the recordings.
    """

    seeds: int
    steps: int
    batch: int
    width: int
    layers: int
    amount: Amount


BUDGETS: dict[Scale, Budget] = {
    "tiny": Budget(2, 3, 4, 8, 6, Amount(seconds=10, train=1, test=1, patients=4)),
    "small": Budget(5, 250, 16, 16, 6, Amount(seconds=60, train=3, test=1, patients=12)),
    "full": Budget(20, 1000, 16, 24, 6, Amount(seconds=120, train=5, test=3, patients=24)),
}

RATE = 5e-3
"""Learning rate: short trainings want a high one."""


@dataclass(frozen=True)
class Trained:
    """The runs of a fold.

    Attributes:
        labels: file of the labels, with the recordings beside it.
        folder: of the comparison.
        results: what it wrote.
    """

    labels: Path
    folder: Path
    results: dict[str, Any]

    def run(self, rule: str, seed: int) -> Path:
        """Folder of a run."""
        arm = next(arm for arm in self.results["arms"] if arm["name"] == rule)
        return self.folder / str(arm["by_seed"][seed]["run"])


def train(name: str, fold: int, options: Options, folder: Path) -> Trained:
    """Train and test every padding rule on a fold, or take what is kept.

    Args:
        name: of the recordings.
        fold: whose patients are tested.
        options: how the study is run.
        folder: where recordings and runs are kept.
    """
    budget = BUDGETS[options.scale]
    place = folder / f"{name}-{fold}"
    labels = material.excerpts(
        name, fold, options.data, place / "data", budget.amount, options.seed
    )
    options.tell(f"{name}, fold {fold + 1} of {len(material.folds(name))}: training")
    net = {"width": budget.width, "layers": budget.layers}
    plan = make_plan(
        data=labels,
        arms=[
            {"name": rule, "head": "spots", "backbone_settings": {**net, "padding_mode": rule}}
            for rule in RULES
        ],
        seeds=budget.seeds,
        backbone=BACKBONE,
        training={
            "max_steps": budget.steps,
            "batch_size": budget.batch,
            "input_pixels": WINDOW,
            "learning_rate": RATE,
        },
        tuning={"trials": 1},
        unmatched=True,
        place=False,
    )
    results = compared(plan, place / "compared", options, plugins=("studies.signals.net",))
    return Trained(labels, place / "compared", results)
