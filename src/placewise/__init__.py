"""placewise: networks that keep place.

```
images to keypoints or classes
    formats → data → model (backbone + head) → train → predict (decoder) → evaluate → report

any network to findings
    nn.Module → graph → audit → remedies → report
```

The public names below load what they need when they are first used, so that `import placewise`
costs next to nothing.

Example:
    >>> import placewise
    >>> placewise.Visibility.HIDDEN.name
    'HIDDEN'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from placewise.auditing import Audit, audit
    from placewise.augment import Augmentation
    from placewise.checking import check
    from placewise.display import Shown, show
    from placewise.errors import PlacewiseError
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
    from placewise.model import ClassModel, KeypointModel, ModelSettings
    from placewise.ops import rule
    from placewise.prediction import predict
    from placewise.remedies import convolutionalize, mend
    from placewise.run import Run
    from placewise.training import TrainingSettings, train

_HOMES = {
    "Audit": "auditing",
    "Augmentation": "augment",
    "ClassDataset": "labels",
    "ClassSample": "labels",
    "ClassModel": "model",
    "KeypointDataset": "labels",
    "KeypointModel": "model",
    "ModelSettings": "model",
    "PlacewiseError": "errors",
    "Run": "run",
    "KeypointSample": "labels",
    "Shown": "display",
    "Visibility": "labels",
    "TrainingSettings": "training",
    "audit": "auditing",
    "check": "checking",
    "convert": "formats",
    "convolutionalize": "remedies",
    "evaluate": "evaluation",
    "mend": "remedies",
    "predict": "prediction",
    "read_dataset": "formats",
    "read_image": "images",
    "rule": "ops",
    "show": "display",
    "train": "training",
    "write_dataset": "formats",
}

__all__ = [
    "Audit",
    "Augmentation",
    "ClassDataset",
    "ClassModel",
    "ClassSample",
    "KeypointDataset",
    "KeypointModel",
    "KeypointSample",
    "ModelSettings",
    "PlacewiseError",
    "Run",
    "Shown",
    "TrainingSettings",
    "Visibility",
    "audit",
    "check",
    "convert",
    "convolutionalize",
    "evaluate",
    "mend",
    "predict",
    "read_dataset",
    "read_image",
    "rule",
    "show",
    "train",
    "write_dataset",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'placewise' has no attribute '{name}'")
    return getattr(import_module(f"placewise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
