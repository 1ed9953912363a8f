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
    from placewise import backbones as backbones
    from placewise import heads as heads
    from placewise import layers as layers
    from placewise import losses as losses
    from placewise import paddings as paddings
    from placewise.auditing import Audit as Audit
    from placewise.auditing import audit as audit
    from placewise.augment import Augmentation as Augmentation
    from placewise.checking import check as check
    from placewise.display import Shown as Shown
    from placewise.display import show as show
    from placewise.errors import DataError as DataError
    from placewise.errors import PlacewiseError as PlacewiseError
    from placewise.errors import SettingsError as SettingsError
    from placewise.errors import ShapeError as ShapeError
    from placewise.evaluation import evaluate as evaluate
    from placewise.exporting import export as export
    from placewise.formats import convert as convert
    from placewise.formats import read_dataset as read_dataset
    from placewise.formats import write_dataset as write_dataset
    from placewise.images import read_image as read_image
    from placewise.labels import ClassDataset as ClassDataset
    from placewise.labels import ClassSample as ClassSample
    from placewise.labels import KeypointDataset as KeypointDataset
    from placewise.labels import KeypointSample as KeypointSample
    from placewise.labels import MaskDataset as MaskDataset
    from placewise.labels import MaskSample as MaskSample
    from placewise.labels import Visibility as Visibility
    from placewise.metrics import Metric as Metric
    from placewise.model import InputSettings as InputSettings
    from placewise.model import ModelSettings as ModelSettings
    from placewise.ops import rule as rule
    from placewise.prediction import predict as predict
    from placewise.prediction.video import VideoOptions as VideoOptions
    from placewise.prediction.video import predict_video as predict_video
    from placewise.remedies import convolutionalize as convolutionalize
    from placewise.remedies import mend as mend
    from placewise.run import Run as Run
    from placewise.run import load_model as load_model
    from placewise.selection import select_frames as select_frames
    from placewise.tasks.classes.model import ClassModel as ClassModel
    from placewise.tasks.classes.prediction import ClassPrediction as ClassPrediction
    from placewise.tasks.keypoints.model import KeypointModel as KeypointModel
    from placewise.tasks.keypoints.prediction import KeypointPrediction as KeypointPrediction
    from placewise.tasks.masks.model import MaskModel as MaskModel
    from placewise.training import TrainingSet as TrainingSet
    from placewise.training import TrainingSettings as TrainingSettings
    from placewise.training import train as train

_NAMES = {
    "auditing": "Audit audit",
    "augment": "Augmentation",
    "checking": "check",
    "display": "Shown show",
    "errors": "DataError PlacewiseError SettingsError ShapeError",
    "evaluation": "evaluate",
    "exporting": "export",
    "formats": "convert read_dataset write_dataset",
    "images": "read_image",
    "labels": "ClassDataset ClassSample KeypointDataset KeypointSample MaskDataset MaskSample "
    "Visibility",
    "metrics": "Metric",
    "model": "InputSettings ModelSettings",
    "ops": "rule",
    "prediction": "predict",
    "prediction.video": "VideoOptions predict_video",
    "remedies": "convolutionalize mend",
    "run": "Run load_model",
    "selection": "select_frames",
    "tasks.classes.model": "ClassModel",
    "tasks.classes.prediction": "ClassPrediction",
    "tasks.keypoints.model": "KeypointModel",
    "tasks.masks.model": "MaskModel",
    "tasks.keypoints.prediction": "KeypointPrediction",
    "training": "TrainingSet TrainingSettings train",
}
"""The modules whose names are public, loaded when one is first used."""

_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}

_FAMILIES = ("backbones", "heads", "layers", "losses", "paddings")
"""Modules whose members are public by name: `placewise.heads.Heatmap`."""

__all__ = sorted([*_HOMES, *_FAMILIES])


def __getattr__(name: str) -> object:
    if name in _FAMILIES:
        return import_module(f"placewise.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'placewise' has no attribute '{name}'")
    return getattr(import_module(f"placewise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
