"""Models that fit the data: what is chosen where nobody says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placewise.backbones import BACKBONES
from placewise.backbones.unet import enough_depth
from placewise.data import PIXELS, choose_input, object_extent
from placewise.errors import SettingsError
from placewise.family import complete_settings
from placewise.heads import HEADS
from placewise.labels import Dataset, KeypointDataset
from placewise.model._classes import ClassModel
from placewise.model._keypoints import KeypointModel
from placewise.model._network import ModelSettings, Settings

USUAL_HEAD: dict[str, str] = {"keypoints": "heatmap", "classes": "convolutional"}
"""Head that is taken where none is named."""

SIGMA = 1.5
"""Standard deviation of soft labels in map pixels, for objects that are not small."""

SMALL = 0.025
"""σ in map pixels for a pixel of the object's extent, where that is less than `SIGMA`."""


def build(settings: ModelSettings) -> KeypointModel | ClassModel:
    """The network of these settings: its head decides what it answers.

    Example:
        >>> from placewise.data import InputSettings
        >>> view = InputSettings(scale=1.0, frame=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("nose",), input=view, backbone_settings={"width": 16})
        >>> type(build(settings)).__name__
        'KeypointModel'
    """
    return KeypointModel(settings) if settings.task == "keypoints" else ClassModel(settings)


def choose_model(
    labels: Dataset[Any],
    samples: Sequence[Any],
    *,
    seed: int = 0,
    pixels: int = PIXELS,
    backbone: str = "unet",
    backbone_settings: Settings | None = None,
    head: str | None = None,
    head_settings: Settings | None = None,
) -> ModelSettings:
    """Model settings for these data, complete: scale, frame, depth and σ are chosen.

    Images with classes are shown whole and at their own size where they are small. The depth of
    the U-Net is enough to see the whole object. σ is `SIGMA` pixels of the map, or
    less, down to 1, where the object is so small that its points lie within a few σ.

    Args:
        labels: the labels, for names, symmetry and skeleton.
        samples: the training samples of these labels.
        seed: which images are looked at for mean and contrast.
        pixels: of the median image after scaling.
        backbone: member of `BACKBONES`.
        backbone_settings: what is set; the rest is chosen or the backbone's default.
        head: member of `HEADS`; None: the usual one for these labels.
        head_settings: what is set; the rest is chosen or the head's default.

    Raises:
        SettingsError: the head answers something else than the labels say.
    """
    head = check_head(labels, head)
    unscaled = object_extent(samples) if isinstance(labels, KeypointDataset) else None
    classes = labels.task == "classes"
    whole = classes or not getattr(HEADS[head], "crops", True)
    view = choose_input(labels, samples, unscaled, seed, pixels, whole=whole, fit=classes)
    extent = (unscaled or 0.0) * view.scale
    of_backbone = complete_settings(BACKBONES[backbone], "backbone", backbone_settings or {})
    of_head = complete_settings(HEADS[head], "head", head_settings or {})
    if backbone == "unet" and "depth" not in (backbone_settings or {}):
        of_backbone["depth"] = enough_depth(view.frame, extent)
    if "sigma" in of_head and "sigma" not in (head_settings or {}) and extent:
        of_head["sigma"] = float(np.clip(round(SMALL * extent, 2), 1.0, SIGMA))
    return ModelSettings(
        names=labels.names,
        symmetry=labels.symmetry if isinstance(labels, KeypointDataset) else (),
        skeleton=labels.skeleton if isinstance(labels, KeypointDataset) else (),
        input=view,
        backbone=backbone,
        backbone_settings=of_backbone,
        head=head,
        head_settings=of_head,
    )


def reopened(settings: ModelSettings) -> ModelSettings:
    """The same model without files of first weights: what a run keeps, which has its own.

    Example:
        >>> from placewise.data import InputSettings
        >>> view = InputSettings(scale=1.0, frame=(32, 32), channels=3, mean=(0.5,), std=(0.2,))
        >>> given = {"model": "resnet18", "weights": "resnet18.safetensors"}
        >>> model = ModelSettings(names=("nose",), input=view, backbone="timm",
        ...                       backbone_settings=given)
        >>> reopened(model).backbone_settings
        {'model': 'resnet18', 'weights': ''}
    """
    empty = dict.fromkeys(BACKBONES[settings.backbone].first_weights, "")
    held = settings.backbone_settings
    return settings.model_copy(
        update={"backbone_settings": held | {k: v for k, v in empty.items() if k in held}}
    )


def first_model(settings: ModelSettings, given: Settings) -> ModelSettings:
    """The model with the files of first weights again that were given; see `reopened`."""
    files = {
        name: given[name] for name in BACKBONES[settings.backbone].first_weights if name in given
    }
    return settings.model_copy(update={"backbone_settings": settings.backbone_settings | files})


def check_head(labels: Dataset[Any], head: str | None) -> str:
    """The head, or the usual one for these labels.

    Raises:
        SettingsError: the head answers something else than the labels say.
    """
    if head is None:
        return USUAL_HEAD[labels.task]
    if HEADS[head].task != labels.task:
        able = [name for name in HEADS.names() if HEADS[name].task == labels.task]
        raise SettingsError(
            f"the head '{head}' learns {HEADS[head].task}, and {labels.source or 'the labels'} "
            f"hold {labels.what}; take one of: {', '.join(able)}"
        )
    return head
