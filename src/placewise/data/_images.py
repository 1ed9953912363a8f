"""Images as the network gets them: scaled, kept, and changed at random for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from placewise.augment import Augmentation, generator, warp_image
from placewise.data._inputs import InputSettings, as_input
from placewise.geometry import Size, ratio_of, rescale
from placewise.images import as_float
from placewise.labels import (
    NOT_LABELLED,
    ClassSample,
    Dataset,
    KeypointDataset,
    KeypointSample,
    S,
    Sample,
    single,
)

CACHE_BYTES = 2 << 30
"""Scaled images are kept in memory up to this, in each process that prepares batches."""

Key = tuple[int, int]
"""(epoch, index of the sample)."""


class ScaledImages:
    """Images at the network's scale, kept in memory as far as they fit.

    Args:
        labels: the labels, which read the images.
        samples: whose images.
        view: the model's input settings.
    """

    def __init__(
        self, labels: Dataset[Any], samples: Sequence[Sample], view: InputSettings
    ) -> None:
        self.labels, self.samples, self.view = labels, tuple(samples), view
        self._kept: dict[int, NDArray[np.generic]] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(h, w, channels) float32 in 0..1."""
        image = self._kept.get(index)
        if image is None:
            image = self._read(index)
            if image.nbytes <= self._room:
                self._kept[index] = image
                self._room -= image.nbytes
        return as_float(image)

    def _read(self, index: int) -> NDArray[np.generic]:
        """The scaled image with as many bits as its file has, which is a quarter of float32."""
        image = self.labels.image(self.samples[index].image)
        shown = as_input(image, self.view)
        depth = np.uint16 if image.dtype == np.uint16 else np.uint8
        return np.rint(shown * np.iinfo(depth).max).astype(depth)


class TrainingSet(TorchDataset[tuple[Any, ...]], ABC, Generic[S]):
    """Augmented images in the frame with what is to be learnt of them.

    A pure function of (seed, epoch, sample). An item is a (C, h, w) image, what `changed` says
    of it, and the index of its sample.

    Args:
        labels: the labels.
        samples: the training samples.
        view: the model's input settings.
        frame: (height, width) of what the network gets.
        augmentation: what is drawn.
        seed: the run's seed.
    """

    def __init__(
        self,
        labels: Dataset[S],
        samples: Sequence[S],
        view: InputSettings,
        frame: Size,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples = tuple(samples)
        self.images = ScaledImages(labels, samples, view)
        self.frame, self.augmentation, self.seed = frame, augmentation, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        """(C, h, w) image, its targets, and the index of its sample."""
        epoch, index = key
        rng = generator(self.seed, epoch, self.samples[index].image)
        shown, *targets = self.changed(self.images[index], index, rng)
        return (
            torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1))),
            *targets,
            index,
        )

    @abstractmethod
    def changed(
        self, image: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], *tuple[Any, ...]]:
        """An image changed at random, (*frame, channels), and its targets."""


class KeypointTrainingSet(TrainingSet[KeypointSample]):
    """With (K, 2) points in the frame and their (K,) states; see `TrainingSet`.

    The labels give the points' names and their symmetry.
    """

    def __init__(
        self,
        labels: KeypointDataset,
        samples: Sequence[KeypointSample],
        view: InputSettings,
        frame: Size,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(labels, samples, view, frame, augmentation, seed)
        self.swap = mirror_order(labels.names, labels.symmetry)
        self._truth = [single(sample, labels.source) for sample in samples]

    def changed(
        self, image: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], torch.Tensor, torch.Tensor]:
        """Pixels and points moved alike."""
        points, visibility = self._truth[index]
        ratio = ratio_of(self.samples[index].size, (image.shape[0], image.shape[1]))
        shown, moved, known = self.augmentation.apply(
            image, rescale(points, ratio), visibility, rng, self.frame, self.swap
        )
        return shown, torch.from_numpy(moved.astype(np.float32)), torch.from_numpy(known)


class ClassTrainingSet(TrainingSet[ClassSample]):
    """With the number of their class; see `TrainingSet`."""

    def changed(
        self, image: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], int]:
        """Pixels moved; what the image shows stays what it is."""
        warp = self.augmentation.draw(rng, (image.shape[0], image.shape[1]), self.frame)
        shown = self.augmentation.photometric(warp_image(image, warp), rng)
        label = self.samples[index].label
        return shown, NOT_LABELLED if label is None else label


def mirror_order(names: Sequence[str], symmetry: Sequence[tuple[str, str]]) -> NDArray[np.intp]:
    """Which point each point becomes when the image is mirrored.

    Example:
        >>> mirror_order(["tail", "left", "right"], [("left", "right")]).tolist()
        [0, 2, 1]
    """
    order = np.arange(len(names))
    for first, second in symmetry:
        a, b = list(names).index(first), list(names).index(second)
        order[a], order[b] = b, a
    return order


def in_groups(
    images: Iterable[NDArray[np.float32]], most: int = 64
) -> Iterator[NDArray[np.float32]]:
    """Images in order, stacked as far as neighbours have one size.

    Args:
        images: (h, w, channels) each.
        most: images in a stack.

    Example:
        >>> sizes = [(4, 4, 1), (4, 4, 1), (4, 5, 1)]
        >>> [group.shape for group in in_groups(np.zeros(size, np.float32) for size in sizes)]
        [(2, 4, 4, 1), (1, 4, 5, 1)]
    """
    group: list[NDArray[np.float32]] = []
    for image in images:
        if group and (image.shape != group[0].shape or len(group) == most):
            yield np.stack(group)
            group = []
        group.append(image)
    if group:
        yield np.stack(group)
