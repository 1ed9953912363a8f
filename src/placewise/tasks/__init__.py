"""Tasks: kinds of answers. Each folder is a member, and implements `placewise.task.Task`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from placewise.backbones import BACKBONES
from placewise.backbones.unet import unet_settings
from placewise.errors import DataError, SettingsError
from placewise.family import Family, complete_settings
from placewise.heads import HEADS
from placewise.labels import Dataset
from placewise.model import ModelSettings, Network, Settings, choose_input
from placewise.task import Task

TASKS: Family[Task[Any, Any]] = Family("task", Task, "placewise.tasks")


def task_named(name: str) -> Task[Any, Any]:
    """The task of this name.

    Example:
        >>> task_named("classes").noun
        'classes'
    """
    return TASKS[name]()


def task_of(dataset: Any) -> Task[Any, Any]:
    """The task whose labels these are.

    Raises:
        DataError: these are no labels.

    Example:
        >>> task_of("my_folder")
        Traceback (most recent call last):
        ...
        placewise.errors.DataError: got 'my_folder' as labels; give what read_dataset returned
    """
    if not isinstance(dataset, Dataset):
        raise DataError(f"got {dataset!r} as labels; give what read_dataset returned")
    return task_named(dataset.task)


def build(settings: ModelSettings) -> Network[Any]:
    """The network of these settings, with new weights: its head decides what it answers.

    Example:
        >>> from placewise.model import InputSettings
        >>> view = InputSettings(scale=1.0, size=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> settings = ModelSettings(names=("nose",), input=view, backbone_settings={"width": 16})
        >>> type(build(settings)).__name__
        'KeypointModel'
    """
    return task_named(settings.task).network.build(settings)


def choose_model(
    dataset: Dataset[Any],
    samples: Sequence[Any],
    *,
    seed: int = 0,
    pixels: int | None = None,
    backbone: str = "unet",
    backbone_settings: Settings | None = None,
    head: str | None = None,
    head_settings: Settings | None = None,
    spectrogram: bool = False,
) -> ModelSettings:
    """Model settings for these data, complete: scale, frame, depth and σ are chosen.

    Images with classes are shown whole and at their own size where they are small. The depth of
    the U-Net is enough to see the whole object. σ is `SIGMA` pixels of the map, or
    less, down to 1, where the object is so small that its points lie within a few σ.

    Args:
        dataset: the labels, for names, symmetry and skeleton.
        samples: the training samples of these labels.
        seed: which images are looked at for mean and contrast.
        pixels: of the median image after scaling; None: as many as train in minutes.
        backbone: member of `BACKBONES`.
        backbone_settings: what is set; the rest is chosen or the backbone's default.
        head: member of `HEADS`; None: the usual one for these labels.
        head_settings: what is set; the rest is chosen or the head's default.
        spectrogram: signals are shown to the network as maps of frequency and time.

    Raises:
        SettingsError: the head answers something else than the labels say, or answers are places
            in a signal, which a spectrogram does not keep.
    """
    head = check_head(dataset, head)
    task = task_named(dataset.task)
    if spectrogram and task.places:
        raise SettingsError(
            f"{task.noun} are places in a signal, and a spectrogram has other places; leave out "
            "--spectrogram"
        )
    needs = task.needs(dataset, samples, head)
    input = choose_input(
        dataset,
        samples,
        needs.extent,
        seed,
        pixels,
        whole=needs.whole,
        fit=needs.fit,
        full=needs.full,
        spectrogram=spectrogram,
    )
    needs = needs.scaled(input.scale)
    of_backbone = complete_settings(BACKBONES[backbone], "backbone", backbone_settings or {})
    of_head = complete_settings(HEADS[head], "head", head_settings or {})
    if backbone == "unet":
        of_backbone |= unet_settings(input.size, needs.extent or 0.0, needs.stem) | (
            backbone_settings or {}
        )
    chosen = task.head_defaults(of_head, needs)
    return ModelSettings(
        names=dataset.names,
        symmetry=getattr(dataset, "symmetry", ()),
        skeleton=getattr(dataset, "skeleton", ()),
        input=input,
        backbone=backbone,
        backbone_settings=of_backbone,
        head=head,
        head_settings=of_head | chosen | (head_settings or {}),
    )


def reopened(settings: ModelSettings) -> ModelSettings:
    """The same model without files of first weights: what a run keeps, which has its own.

    Example:
        >>> from placewise.model import InputSettings
        >>> view = InputSettings(scale=1.0, size=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
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


def check_head(dataset: Dataset[Any], head: str | None) -> str:
    """The head, or the usual one for these labels.

    Raises:
        SettingsError: the head gives other answers than the labels hold.
    """
    task = task_named(dataset.task)
    if head is None:
        return task.head
    if HEADS[head].task != dataset.task:
        able = [name for name in HEADS.names() if HEADS[name].task == dataset.task]
        raise SettingsError(
            f"the head '{head}' learns {HEADS[head].task}, and {dataset.source or 'the labels'} "
            f"hold {dataset.what}; take one of: {', '.join(able)}"
        )
    return head
