"""A backbone and a head, and everything that is the same whatever they answer."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from torch import Tensor, nn

from placewise.backbones import BACKBONES
from placewise.errors import SettingsError, ShapeError
from placewise.family import Setting, complete_settings
from placewise.gathering import Gathering
from placewise.geometry import FloatArray, Size
from placewise.heads import HEADS, Head
from placewise.images import ImageArray
from placewise.labels.names import repeated, shown, why_unfit
from placewise.model.arrays import images_of
from placewise.model.inputs import InputSettings, Spacing, as_input
from placewise.model.kinds import AXES
from placewise.model.parts import MEMORY, huge_of
from placewise.model.plain import facts_of, zeros
from placewise.model.tiles import LARGE, tiled
from placewise.paddings import PADDINGS
from placewise.undisturbed import undisturbed

Settings = dict[str, Setting]

Short = Annotated[str, Field(max_length=255)]
Pairs = Annotated[tuple[tuple[Short, Short], ...], Field(max_length=10_000)]

Axes = Annotated[tuple[Annotated[int, Field(ge=-3, le=-1)], ...], Field(min_length=1, max_length=3)]
"""Axes of an image, counted from the end."""


def _check_given(settings: Any) -> Any:
    """Refuse what no setting of a member can be; what one may be, its constructor says."""
    if not isinstance(settings, Mapping) or len(settings) > 64:
        raise ValueError("they must be names with values, 64 or fewer")
    for name, value in settings.items():
        fits = (
            len(value) <= 4096
            if isinstance(value, str)
            else isinstance(value, int | float) and (abs(value) <= 2**31 or value == math.inf)
        )
        if len(name) > 64 or not name.isidentifier() or not fits:
            raise ValueError(
                f"{shown(name)} is {shown(value)}; it must be a number of at most 2³¹, true or "
                "false, or text of at most 4,096 characters"
            )
    return settings


Given = Annotated[Settings, BeforeValidator(_check_given)]
P = TypeVar("P")

Scaled = NDArray[np.float32]
"""(*size, channels) in 0..1: an image, signal or volume at the network's scale."""

BATCH = 8
"""Images that are predicted together where they have one size."""


class ModelSettings(BaseModel):
    """Everything that a model is built from. It is part of a run and refuses unknown keys.

    Attributes:
        names: of the keypoints, or of the classes.
        symmetry: pairs of names that change places when an image is mirrored.
        skeleton: pairs of names that are drawn joined.
        input: how images are brought to the network.
        backbone: member of `BACKBONES`.
        backbone_settings: keywords of its constructor.
        head: member of `HEADS`.
        head_settings: keywords of its constructor.
        padding: rule by which an image is padded to a multiple of the backbone's stride.
        mirrors: axes of mirrored images, counted from the end, which are predicted too: what the
            head says of each is mirrored back, and the mean is decoded.

    Example:
        >>> view = InputSettings(scale=0.5, size=(32, 32), channels=1, mean=(0.5,), std=(0.2,))
        >>> ModelSettings(names=("nose",), input=view).task
        'keypoints'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Annotated[tuple[Short, ...], Field(min_length=1, max_length=100_000)]
    symmetry: Pairs = ()
    skeleton: Pairs = ()
    input: InputSettings
    backbone: Short = "unet"
    backbone_settings: Given = {}
    head: Short = "heatmap"
    head_settings: Given = {}
    padding: Short = "replicate"
    mirrors: Annotated[tuple[Axes, ...], Field(max_length=8)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse names that no label may have, and pairs of other names."""
        for name in self.names:
            if why := why_unfit(name):
                raise ValueError(f"names: {shown(name)} {why}")
        if (twice := repeated(self.names)) is not None:
            raise ValueError(f"names: {shown(twice)} is there twice")
        for axes in self.mirrors:
            able = HEADS[self.head].mirrors and min(axes) >= -self.input.axes
            if not able or len({*axes}) != len(axes):
                raise ValueError(f"mirrors: {axes} are no axes that '{self.head}' can mirror back")
        known = set(self.names)
        for what in ("symmetry", "skeleton"):
            for pair in getattr(self, what):
                if len({*pair}) != 2 or not known.issuperset(pair):
                    raise ValueError(f"{what}: {shown(pair)} must be two of the names")
        if (twice := repeated(name for pair in self.symmetry for name in pair)) is not None:
            raise ValueError(f"symmetry: {shown(twice)} is there twice; a name has one partner")
        return self

    @property
    def task(self) -> str:
        """Name of the task whose answers the head gives."""
        return HEADS[self.head].task


@dataclass(frozen=True)
class Whereabouts:
    """The places that an answer consists of, and how sure the network is of them.

    Attributes:
        places: (n, axes) of (x, y, …) in pixels of the image.
        doubt: (n,) how far in pixels the network believes each may be off.
        scores: (n,) how sure it is that each is there, 0..1.
    """

    places: FloatArray
    doubt: FloatArray
    scores: FloatArray


class Network(nn.Module, ABC, Generic[P]):
    """A backbone and a head: images in, predictions out.

    Args:
        backbone: images (batch, channels, *size) to features (batch, features, *map), of 1, 2 or 3
            axes. Any module will do: stride and channels of one that is not ours are found by
            trying it.
        head: features to raw output.
        names: of what is answered; None: numbers.
        input: how images are brought to the network; None: as they are, in 0..1.
        padding: rule by which images are padded to a multiple of the backbone's stride.
        settings: what `build` built it from; None for a model that was put together by hand.

    Attributes:
        stride: image pixels for one pixel of the features.
        multiple: sides of images that the backbone takes are multiples of this.
        calibration: what makes the model's own confidence honest; see `calibrated`.
        mirrors: axes of mirrored images that are predicted too; see `ModelSettings`.
        run: the `Run` that it was loaded from, which knows what it has seen; None for a model that
            was put together by hand.
        engine: what computes the head's output of a padded batch in `raw`, in place of the modules
            themselves; see `placewise.engines`. None: they do.
        answers: what each tensor of `read` is.
    """

    head: Head
    run: Any = None
    engine: Callable[[Tensor], Tensor] | None = None
    answers: ClassVar[Mapping[str, str]] = {"output": "raw output of the head"}

    def __init__(
        self,
        backbone: nn.Module,
        head: Head,
        *,
        names: Sequence[str] | None = None,
        input: InputSettings | None = None,
        padding: str = "replicate",
        settings: ModelSettings | None = None,
    ) -> None:
        super().__init__()
        facts = facts_of(backbone, input)
        self.settings, self.input = settings, input or facts.input
        self.stride, self.multiple = facts.stride, facts.multiple
        self.padding = PADDINGS[padding]()
        self.backbone, self.head = backbone, head
        if not isinstance(head, Head):
            raise SettingsError(f"got {head!r} as the head; give one of placewise.heads")
        self.names = settings.names if settings else self._named(names)
        self.calibration: Mapping[str, Any] = {}
        self.mirrors: tuple[tuple[int, ...], ...] = settings.mirrors if settings else ()
        axes = self.input.axes
        shape = (*[1] * (axes > 2), -1, *[1] * axes)  # torch lays out tensors of 3 or 5 axes alone
        self.register_buffer("mean", torch.tensor(self.input.mean).view(shape))
        self.register_buffer("std", torch.tensor(self.input.std).view(shape))
        self.mean: Tensor
        self.std: Tensor
        head.attach(self.stride)

    @classmethod
    def build(cls, settings: ModelSettings) -> Self:
        """The network that settings describe, with new weights."""
        member: Any = BACKBONES[settings.backbone]
        chosen = complete_settings(member, "backbone", settings.backbone_settings)
        backbone = member(settings.input.channels, *_dims(member, settings), **chosen)
        head_settings = complete_settings(HEADS[settings.head], "head", settings.head_settings)
        size = padded_size(settings.input.size, backbone.multiple)
        head = HEADS[settings.head].on(backbone, len(settings.names), size, head_settings)
        return cls(
            backbone,
            head,
            names=settings.names,
            input=settings.input,
            padding=settings.padding,
            settings=settings,
        )

    def margins(self, size: Size) -> list[tuple[int, int]]:
        """Pixels to add before and after each axis, for images of a size at the network's scale.

        Raises:
            SettingsError: the head is tied to the size of the training images, and this is larger.
        """
        whole = padded_size(size, self.multiple)
        return [(0, long - side) for side, long in zip(size, whole, strict=True)]

    @abstractmethod
    def decode(
        self, output: Tensor, shown: Size, sizes: Sequence[Size], images: Sequence[str]
    ) -> list[P]:
        """Predictions from the raw output for a batch.

        Args:
            output: what `forward` gave for the padded batch, as float32.
            shown: size of the images at the network's scale, before they were padded.
            sizes: of the images themselves, in whose pixels to answer.
            images: their names.
        """

    def read(self, output: Tensor, shown: Size) -> dict[str, Tensor]:
        """What can be read off the raw output by tensors alone, for files that others run.

        Args:
            output: what `forward` gave for the padded batch, as float32.
            shown: size of the images at the network's scale, in whose pixels places are given.

        Returns:
            A tensor (batch, …) for each name of `answers`.
        """
        return {"output": output}

    def gathering(self, shown: Size, size: Size, image: str) -> Gathering[P]:
        """What `decode` does for one image whose raw output comes tile by tile.

        Args:
            shown: size of the image at the network's scale, before it was padded.
            size: of the image itself, in whose pixels to answer.
            image: its name.

        Raises:
            SettingsError: the answer needs the maps of the whole image.
        """
        raise SettingsError(
            f"the head {type(self.head).__name__} needs the maps of the whole image, so it cannot "
            "be predicted in tiles; cut or shrink the image, or raise --memory"
        )

    def whereabouts(self, one: P) -> Whereabouts:
        """The places of an answer, where it consists of places each of which is one of a kind.

        Raises:
            SettingsError: it does not.
        """
        raise SettingsError(
            f"the head {type(self.head).__name__} does not answer with one place for each name, "
            "so an image has to be looked at in full; leave --coarse-to-fine out"
        )

    def _named(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Names, or numbers where none are given: as many as the head answers."""
        with undisturbed(self), torch.no_grad():
            output = self.head(self.backbone(zeros(self, self.input.channels, self.input_size)))
        return self._fitting(names, output.shape[1])

    def _fitting(self, names: Sequence[str] | None, count: int, what: str = "") -> tuple[str, ...]:
        """As many names as the head answers, or numbers; `what` is the noun of what it answers."""
        if names is not None and len(names) != count:
            answers = f"{count} {what}".rstrip()
            raise SettingsError(f"got {len(names)} names, and the head answers {answers}")
        return tuple(map(str, range(count))) if names is None else tuple(names)

    def calibrated(self, calibration: Mapping[str, Any]) -> Self:
        """This model, with what the training found to make its confidence honest."""
        self.calibration = dict(calibration)
        return self

    @property
    def input_size(self) -> Size:
        """Size of the training images, padded to a multiple of the backbone's."""
        return padded_size(self.input.size, self.multiple)

    def features(self, images: Tensor) -> Tensor:
        """Feature maps that the head reads.

        Args:
            images: (batch, channels, *size) in 0..1, sides multiples of the backbone's.
        """
        maps: Tensor = self.backbone((images - self.mean) / self.std)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Raw output of the head.

        Args:
            images: (batch, channels, *size) in 0..1, at the network's scale, of any size that the
                head takes: they are padded to a multiple of the backbone's.

        Raises:
            ShapeError: this is no such batch.
        """
        channels, axes = self.input.channels, self.input.axes
        kind, shape = getattr(images, "dtype", type(images)), tuple(getattr(images, "shape", ()))
        floats = isinstance(images, Tensor) and images.is_floating_point()
        if not floats or len(shape) != axes + 2 or shape[1] != channels or 0 in shape:
            raise ShapeError(
                f"got {kind} of shape {shape}; the model takes a tensor of floats (batch, "
                f"{channels}, {AXES[axes]}) in 0..1; use model.predict for arrays and images"
            )
        size = tuple(images.shape[2:])
        if size != self.input_size and any(side % self.multiple for side in size):
            images = self.padding.pad(images, self.margins(size))
        output: Tensor = self.head(self.features(images))
        return output

    def prepared(self, image: ImageArray, spacing: Spacing | None = None, name: str = "") -> Scaled:
        """An image at the network's scale.

        Args:
            image: (*size, channels), as `Dataset.image` gives it.
            spacing: distance of its pixels along each axis, as `Source.spacing` gives it; None:
                that of the training images.
            name: of the image, for messages.

        Raises:
            ShapeError: it is not of the kind that the model reads.
        """
        return as_input(image, self.input, spacing, name)

    def as_batch(self, shown: Scaled) -> Tensor:
        """Images at the network's scale, on its device.

        Args:
            shown: (*size, channels) or (batch, *size, channels) in 0..1.

        Returns:
            (batch, channels, *size) in a layout that the number of images decides and nothing else:
            convolutions round differently in each.
        """
        axes = self.input.axes
        planes = torch.from_numpy(shown).movedim(-1, -1 - axes)
        batch = (planes if planes.ndim == axes + 2 else planes[None]).to(self.mean.device)
        last = axes == 2 and len(batch) > 1
        layout = torch.channels_last if last else torch.contiguous_format
        return batch.clone(memory_format=layout)

    def padded(self, shown: Scaled) -> Tensor:
        """(batch, channels, *size) for backbone and head, of images at the network's scale.

        Args:
            shown: see `as_batch`.
        """
        size = tuple(shown.shape[-1 - self.input.axes : -1])
        return self.padding.pad(self.as_batch(shown), self.margins(size))

    @torch.inference_mode()
    def predict_scaled(
        self, shown: Scaled, sizes: Sequence[Size], images: Sequence[str] | None = None
    ) -> list[P]:
        """Predictions for images of one size that are at the network's scale already.

        Args:
            shown: (batch, *size, channels) in 0..1, each what `prepared` gave.
            sizes: of the images that they were made of, in whose pixels to answer.
            images: their names.
        """
        size = tuple(shown.shape[1:-1])
        return self.decode(self.raw(shown), size, sizes, images or [""] * len(sizes))

    @torch.inference_mode()
    def raw(self, shown: Scaled) -> Tensor:
        """Raw output of the head as float32 for images at the network's scale; see `decode`.

        It is the mean over the images and their mirrored copies, where there are `mirrors`.

        Args:
            shown: (batch, *size, channels) in 0..1, each what `prepared` gave.
        """
        padded = self.padded(shown)
        output = self._output(padded)
        for axes in self.mirrors:
            output = output + self.head.unmirrored(self._output(padded.flip(axes)), axes)
        return output / (1 + len(self.mirrors)) if self.mirrors else output

    def _output(self, padded: Tensor) -> Tensor:
        """Raw output for padded images, of the engine where there is one for their size."""
        if self.engine is not None and math.prod(padded.shape[2:]) <= LARGE:
            return self.engine(padded)
        output: Tensor = self.head(self._features(padded)).float()
        return output

    def maps(self, images: Tensor) -> Tensor:
        """Raw output of the head for images (batch, channels, *size) that are padded already."""
        output: Tensor = self.head(self.features(images.to(self.mean)))
        return output

    def _features(self, images: Tensor) -> Tensor:
        """The features of images of any size: tile by tile where they are large."""
        field = getattr(self.backbone, "receptive_field", None)
        if math.prod(images.shape[2:]) <= LARGE or not isinstance(field, int):
            return self.features(images)
        return tiled(self.features, images, field=field, multiple=self.multiple, stride=self.stride)

    def predict(self, images: Any, *, batch_size: int = BATCH, memory: int = MEMORY) -> Any:
        """Predictions for one image or many.

        Args:
            images: an array (H×W or H×W×C; uint8, uint16, or float32 or float64 in 0..1), a tensor
                (C×H×W, or batch×C×H×W), the path of an image or of a folder of images, or an
                iterable of any of these. Images may be of any size that the head takes. A model of
                signals takes L or L×C, one of volumes D×H×W or D×H×W×C, of any numbers.
            batch_size: images that are predicted together where neighbours have one size.
            memory: bytes that an image, its maps and what is computed of them may take; an array,
                or the one file that is named, is predicted in tiles where it takes more.

        Returns:
            One prediction for one image, else a list of them in the order of the images.

        Raises:
            ShapeError: an array or tensor that is no image.
            ImageError: a file that cannot be read.
        """
        if (huge := huge_of(images, self, memory)) is not None:
            return huge
        named, several = images_of(images, self.input.image_axes)
        found: list[P] = []
        for names, arrays in batches_of(
            ((name, image, self.prepared(image, step, name)) for name, image, step in named),
            batch_size,
        ):
            shown = np.stack([scaled for _, scaled in arrays])
            sizes = [image.shape[:-1] for image, _ in arrays]
            found += self.predict_scaled(shown, sizes, names)
        return found if several else found[0]


Item = tuple[str, ImageArray, Scaled]


def batches_of(
    items: Iterable[Item], most: int
) -> Iterator[tuple[list[str], list[tuple[ImageArray, Scaled]]]]:
    """Items in order, taken together as far as neighbours have one size at the network's scale.

    Args:
        items: (name, image, the same at the network's scale).
        most: items in a batch.
    """
    names: list[str] = []
    held: list[tuple[ImageArray, Scaled]] = []
    for name, image, scaled in items:
        if held and (scaled.shape != held[0][1].shape or len(held) == most):
            yield names, held
            names, held = [], []
        names.append(name)
        held.append((image, scaled))
    if held:
        yield names, held


def padded_size(size: Size, multiple: int) -> Size:
    """The next size whose sides are multiples.

    Example:
        >>> padded_size((30, 64), 32)
        (32, 64)
    """
    return tuple((side + multiple - 1) // multiple * multiple for side in size)


def _dims(member: Any, settings: ModelSettings) -> tuple[int, ...]:
    """Axes of the images as an argument of a backbone; none where they are two, as usual.

    Raises:
        SettingsError: the backbone reads images of two axes only.
    """
    axes = settings.input.axes
    if axes == 2:
        return ()
    if "spatial_dims" not in inspect.signature(member).parameters:
        raise SettingsError(
            f"the backbone '{settings.backbone}' reads images of two axes, and these have {axes}; "
            "take unet, resnet or lenet"
        )
    return (axes,)
