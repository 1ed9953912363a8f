"""Labels that say what an image shows, not where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from placewise.errors import DataError, SettingsError
from placewise.geometry import Size
from placewise.labels.dataset import SPLITS, Dataset, check_part
from placewise.labels.names import repeated, shown, why_unfit
from placewise.labels.sources import Files, Source, part_named

NOT_LABELLED = -1
"""The class of an image whose class is not known, where only a number can stand."""


@dataclass(frozen=True)
class ClassSample:
    """One image with its class.

    Attributes:
        image: name of the image: its path relative to the root, or its place in an array.
        size: (height, width) in pixels of the image as it is shown.
        label: number of its class among the names; None where it is not labelled.
        split: "train", "val", "test", or None where the labels do not say.

    Raises:
        SettingsError: the split is none.

    Example:
        >>> ClassSample("cat/a.png", (32, 32), 0).split is None
        True
    """

    image: str
    size: Size
    label: int | None
    split: str | None = None

    def __post_init__(self) -> None:
        if self.split not in (None, *SPLITS):
            raise SettingsError(
                f"sample {shown(self.image)} has the split {self.split!r}, which must be one of "
                f"{SPLITS} or None"
            )


@dataclass(frozen=True)
class ClassDataset(Dataset[ClassSample]):
    """The classes of images.

    Attributes:
        root: folder of the images, or of the file that holds them.
        names: the classes' names; a sample's label is a number among them.
        samples: one for each image, in the order of the file.
        source: what was read, None where the labels were made in memory.
        held: where the images lie; None: in files under the root.

    Raises:
        SettingsError: the parts do not fit each other.

    Example:
        >>> labels = ClassDataset(Path("pets"), ("cat", "dog"), (ClassSample("a.png", (8, 8), 1),))
        >>> labels.counts()
        [0, 1]
    """

    task = "classes"
    what = "classes"

    root: Path
    names: tuple[str, ...]
    samples: tuple[ClassSample, ...]
    source: Path | None = None
    held: Source | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            if why_unfit(name):
                raise SettingsError(f"a class's name {why_unfit(name)}: {shown(name)}; rename it")
        if len(self.names) < 2:
            raise SettingsError(
                f"{len(self.names)} class is named ({', '.join(self.names)}); there is something "
                "to tell apart from two on"
            )
        if (twice := repeated(self.names)) is not None:
            raise SettingsError(f"two classes are named {shown(twice)}; rename one")
        if (image := repeated(sample.image for sample in self.samples)) is not None:
            raise SettingsError(f"two samples are of {shown(image)}; an image has one class")
        for sample in self.samples:
            if sample.label is not None and not 0 <= sample.label < len(self.names):
                raise SettingsError(
                    f"sample {shown(sample.image)} has the class {sample.label}; it must be 0 to "
                    f"{len(self.names) - 1}, or None where it is not labelled"
                )

    @property
    def images(self) -> Source:
        """Where the images lie; see `Dataset.images`."""
        return self.held or Files(self.root)

    def part(self, sample: ClassSample, start: int, stop: int) -> ClassSample:
        """A part of a signal, which is of the same class; see `Dataset.part`."""
        check_part(sample.image, sample.size, start, stop)
        return replace(sample, image=part_named(sample.image, start, stop), size=(stop - start,))

    def ordered(self, names: tuple[str, ...]) -> ClassDataset:
        """Labels numbered as a model numbers its classes; see `Dataset.ordered`.

        Example:
            >>> labels = ClassDataset(Path(), ("cat", "dog"), (ClassSample("a.png", (8, 8), 1),))
            >>> labels.ordered(("dog", "cat")).samples[0].label
            0
        """
        if self.names == names:
            return self
        used = {self.names[s.label] for s in self.samples if s.label is not None}
        strange = sorted(used - set(names))
        if strange:
            raise DataError(
                f"the labels hold the classes {', '.join(strange)}, which the run does not know; "
                f"it knows {', '.join(names)}: rename them, or train on these labels"
            )
        number = {name: k for k, name in enumerate(names)}
        samples = tuple(
            s if s.label is None else replace(s, label=number[self.names[s.label]])
            for s in self.samples
        )
        return replace(self, names=names, samples=samples)

    def labelled(self) -> ClassDataset:
        """The same without images whose class is not known."""
        return replace(self, samples=tuple(s for s in self.samples if s.label is not None))

    def counts(self, samples: Sequence[ClassSample] | None = None) -> list[int]:
        """Images of each class.

        Args:
            samples: of which; None: all.
        """
        counts = [0] * len(self.names)
        for sample in self.samples if samples is None else samples:
            if sample.label is not None:
                counts[sample.label] += 1
        return counts
