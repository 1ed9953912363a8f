"""What all labels share, whatever they label: samples with images that can be read."""

from __future__ import annotations

from abc import ABC
from pathlib import Path
from typing import ClassVar, Generic, Literal, Protocol, Self, TypeVar

from placewise.errors import DataError
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labels.sources import Files, Source

SPLITS = ("train", "val", "test")

Pixels = Literal["center", "corner"]
"""What places in a file count from: the centre of the first pixel, or the image's corner."""


def check_part(image: str, size: Size, start: int, stop: int) -> None:
    """Refuse a part that a signal does not have.

    Raises:
        DataError: says what was got and what is expected.
    """
    if len(size) != 1 or not 0 <= start < stop <= size[0]:
        raise DataError(
            f"the part {start:,} to {stop:,} of {image}, whose size is {size}; needed is a part of "
            "a signal, within its samples"
        )


class Sample(Protocol):
    """What is known of every labelled image."""

    @property
    def image(self) -> str:
        """Name of the image, which `Dataset.image` reads."""

    @property
    def size(self) -> Size:
        """Size in pixels of the image as it is shown: (height, width), (length) of a signal."""

    @property
    def split(self) -> str | None:
        """Its split: "train", "val", "test", or None where the labels do not say."""


S = TypeVar("S", bound=Sample)


class Dataset(ABC, Generic[S]):
    """Labels of images: `KeypointDataset` of points, or `ClassDataset`.

    Attributes:
        task: what is labelled.
        root: folder of the images, or of the file that holds them.
        names: of the points, or of the classes.
        samples: one for each image, in the order of the file.
        source: the file that was read, None where the labels were made in memory.
        pixels: what the numbers of the file that was read count from: the centre of the first
            pixel, or the image's corner. Places in a dataset always count from the centre.
    """

    task: ClassVar[str]
    what: ClassVar[str]
    """What the names are names of, in messages."""

    has_keypoints: ClassVar[bool] = False
    """Whether places of keypoints are labelled, whatever is learnt from them."""

    root: Path
    names: tuple[str, ...]
    samples: tuple[S, ...]
    source: Path | None
    pixels: Pixels = "center"

    @property
    def images(self) -> Source:
        """Where the images are: by default in files under the root."""
        return Files(self.root)

    def image(self, image: str) -> ImageArray:
        """Read an image: (*size, channels) uint8, uint16, or float32 in 0..1.

        Signals and volumes are float32 of any numbers where they are not of 8 or 16 bits.

        Args:
            image: its name, as a sample has it.

        Raises:
            ImageError: it cannot be read.
        """
        return self.images.read(image)

    def reading(self, image: str) -> tuple[ImageArray, tuple[float, ...] | None]:
        """An image and the distances of its pixels, as `Network.prepared` takes them.

        Args:
            image: its name, as a sample has it.

        Raises:
            ImageError: it cannot be read.
        """
        return self.image(image), self.images.spacing(image)

    def counted_from(self, pixels: Pixels) -> Self:
        """The same labels, where the numbers of their file count from something else.

        Args:
            pixels: what they count from.

        Raises:
            DataError: there are no places of keypoints in these labels.
        """
        raise DataError(
            f"labels of {self.what} have no places that count from {pixels}s; leave pixels out"
        )

    def part(self, sample: S, start: int, stop: int) -> S:
        """A part of a recording, with what is labelled in it.

        Args:
            sample: the recording.
            start: first sample in it.
            stop: first sample after it.

        Raises:
            DataError: these labels cannot be cut, or the recording has no such part.
        """
        raise DataError(
            f"labels of {self.what} cannot be cut into parts; leave out start and stop of "
            f"{sample.image}"
        )

    def for_task(self, task: str) -> Dataset[S]:
        """The same labels for another task that can be learnt from them.

        Args:
            task: its name.

        Raises:
            DataError: it cannot be learnt from them.
        """
        if task != self.task:
            raise DataError(
                f"{self.source or 'these labels'} hold {self.what}, from which the task '{task}' "
                f"cannot be learnt; leave the task out, or say '{self.task}'"
            )
        return self

    def ordered(self, names: tuple[str, ...]) -> Self:
        """The same labels with the names of a model, in its order.

        Args:
            names: the names that a model was trained on.

        Raises:
            DataError: the labels have other names.
        """
        if self.names != names:
            raise DataError(
                f"the labels name {', '.join(self.names)}, and the model was trained on "
                f"{', '.join(names)}; give labels of the same {self.what}"
            )
        return self
