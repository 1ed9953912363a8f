"""placewise: networks that keep place.

```
pictures to dots or classes
    formats → data → model (backbone + head) → train → predict (decoder) → evaluate → report

any network to findings
    nn.Module → graph → audit → remedies → report
```

The public names below load what they need when they are first used, so that `import placewise`
costs next to nothing.

Example:
    >>> import placewise
    >>> placewise.State.HIDDEN.name
    'HIDDEN'
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from placewise.audit import Audit, audit
    from placewise.augment import Augmentation
    from placewise.check import check
    from placewise.errors import PlacewiseError
    from placewise.evaluate import evaluate
    from placewise.formats import (
        ClassLabels,
        ClassSample,
        Labels,
        Sample,
        State,
        convert,
        read_labels,
        write_labels,
    )
    from placewise.model import Classifier, Localiser, ModelSettings
    from placewise.ops import rule
    from placewise.pictures import read_picture
    from placewise.predict import predict
    from placewise.remedies import convolutionalize, mend
    from placewise.run import Run
    from placewise.show import Shown, show
    from placewise.train import TrainSettings, train

_HOMES = {
    "Audit": "audit",
    "Augmentation": "augment",
    "ClassLabels": "formats",
    "ClassSample": "formats",
    "Classifier": "model",
    "Labels": "formats",
    "Localiser": "model",
    "ModelSettings": "model",
    "PlacewiseError": "errors",
    "Run": "run",
    "Sample": "formats",
    "Shown": "show",
    "State": "formats",
    "TrainSettings": "train",
    "audit": "audit",
    "check": "check",
    "convert": "formats",
    "convolutionalize": "remedies",
    "evaluate": "evaluate",
    "mend": "remedies",
    "predict": "predict",
    "read_labels": "formats",
    "read_picture": "pictures",
    "rule": "ops",
    "show": "show",
    "train": "train",
    "write_labels": "formats",
}

__all__ = [
    "Audit",
    "Augmentation",
    "ClassLabels",
    "ClassSample",
    "Classifier",
    "Labels",
    "Localiser",
    "ModelSettings",
    "PlacewiseError",
    "Run",
    "Sample",
    "Shown",
    "State",
    "TrainSettings",
    "audit",
    "check",
    "convert",
    "convolutionalize",
    "evaluate",
    "mend",
    "predict",
    "read_labels",
    "read_picture",
    "rule",
    "show",
    "train",
    "write_labels",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'placewise' has no attribute '{name}'")
    return getattr(import_module(f"placewise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps `placewise.train` the function after `placewise.train` the module was imported.

    The import system ties each submodule to its package under its name. Where a public name is the
    same, the public name stays; `from placewise.train import …` reaches the module as ever.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
