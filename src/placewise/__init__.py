"""placewise: networks that keep place.

```
images to answers
    formats → labels → model (backbone + head) → training → prediction → evaluation → report

any network to findings
    nn.Module → graph → audit → remedies → report
```

What differs between kinds of answers (keypoints, classes, …) is a task: `placewise.task` is the
contract, and each folder of `placewise.tasks` keeps it. The public names below load what they need
when they are first used, so that `import placewise` costs next to nothing.

Example:
    >>> import placewise as pw
    >>> pw.Visibility.HIDDEN.name
    'HIDDEN'
    >>> pw.heads.Heatmap(64, keypoints=4).can_say_absent
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from placewise import backbones, heads, layers, losses, paddings
    from placewise.auditing import Audit, audit
    from placewise.augment import Augmentation
    from placewise.checking import check
    from placewise.display import Shown, show
    from placewise.errors import DataError, PlacewiseError, SettingsError, ShapeError
    from placewise.evaluation import evaluate
    from placewise.formats import convert, read_dataset, write_dataset
    from placewise.images import read_image
    from placewise.labels import (
        ClassDataset,
        ClassSample,
        KeypointDataset,
        KeypointSample,
        Visibility,
    )
    from placewise.metrics import Metric
    from placewise.model import InputSettings, ModelSettings
    from placewise.ops import rule
    from placewise.prediction import predict
    from placewise.remedies import convolutionalize, mend
    from placewise.run import Run, load_model
    from placewise.tasks.classes.model import ClassModel
    from placewise.tasks.classes.prediction import ClassPrediction
    from placewise.tasks.keypoints.model import KeypointModel
    from placewise.tasks.keypoints.prediction import KeypointPrediction
    from placewise.training import TrainingSet, TrainingSettings, train

_HOMES = {
    "Audit": "auditing",
    "Augmentation": "augment",
    "ClassDataset": "labels",
    "ClassModel": "tasks.classes.model",
    "ClassPrediction": "tasks.classes.prediction",
    "ClassSample": "labels",
    "DataError": "errors",
    "InputSettings": "model",
    "KeypointDataset": "labels",
    "KeypointModel": "tasks.keypoints.model",
    "KeypointPrediction": "tasks.keypoints.prediction",
    "KeypointSample": "labels",
    "Metric": "metrics",
    "ModelSettings": "model",
    "PlacewiseError": "errors",
    "Run": "run",
    "SettingsError": "errors",
    "ShapeError": "errors",
    "Shown": "display",
    "TrainingSet": "training",
    "TrainingSettings": "training",
    "Visibility": "labels",
    "audit": "auditing",
    "check": "checking",
    "convert": "formats",
    "convolutionalize": "remedies",
    "evaluate": "evaluation",
    "load_model": "run",
    "mend": "remedies",
    "predict": "prediction",
    "read_dataset": "formats",
    "read_image": "images",
    "rule": "ops",
    "show": "display",
    "train": "training",
    "write_dataset": "formats",
}

_FAMILIES = ("backbones", "heads", "layers", "losses", "paddings")
"""Modules whose members are public by name: `placewise.heads.Heatmap`."""

__all__ = [
    "Audit",
    "Augmentation",
    "ClassDataset",
    "ClassModel",
    "ClassPrediction",
    "ClassSample",
    "DataError",
    "InputSettings",
    "KeypointDataset",
    "KeypointModel",
    "KeypointPrediction",
    "KeypointSample",
    "Metric",
    "ModelSettings",
    "PlacewiseError",
    "Run",
    "SettingsError",
    "ShapeError",
    "Shown",
    "TrainingSet",
    "TrainingSettings",
    "Visibility",
    "audit",
    "backbones",
    "check",
    "convert",
    "convolutionalize",
    "evaluate",
    "heads",
    "layers",
    "load_model",
    "losses",
    "mend",
    "paddings",
    "predict",
    "read_dataset",
    "read_image",
    "rule",
    "show",
    "train",
    "write_dataset",
]


def __getattr__(name: str) -> object:
    if name in _FAMILIES:
        return import_module(f"placewise.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'placewise' has no attribute '{name}'")
    return getattr(import_module(f"placewise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
