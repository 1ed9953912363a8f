"""Pictures as the network gets them: scaled, kept, and changed at random for training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from placewise.augment import Augmentation, generator, warp_picture
from placewise.data._inputs import InputSettings, as_input
from placewise.data._splits import single
from placewise.formats import NOT_LABELLED, AnySample, ClassSample, Labels, LabelSet, S, Sample
from placewise.geometry import Size, ratio_of, rescale
from placewise.pictures import as_float

CACHE_BYTES = 2 << 30
"""Scaled pictures are kept in memory up to this, in each process that prepares batches."""

Key = tuple[int, int]
"""(epoch, index of the sample)."""


class Pictures:
    """Pictures at the network's scale, kept in memory as far as they fit.

    Args:
        labels: the labels, which read the pictures.
        samples: whose pictures.
        view: the model's input settings.
    """

    def __init__(
        self, labels: LabelSet[Any], samples: Sequence[AnySample], view: InputSettings
    ) -> None:
        self.labels, self.samples, self.view = labels, tuple(samples), view
        self._kept: dict[int, NDArray[np.generic]] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(h, w, channels) float32 in 0..1."""
        picture = self._kept.get(index)
        if picture is None:
            picture = self._read(index)
            if picture.nbytes <= self._room:
                self._kept[index] = picture
                self._room -= picture.nbytes
        return as_float(picture)

    def _read(self, index: int) -> NDArray[np.generic]:
        """The scaled picture with as many bits as its file has, which is a quarter of float32."""
        picture = self.labels.picture(self.samples[index].image)
        shown = as_input(picture, self.view)
        depth = np.uint16 if picture.dtype == np.uint16 else np.uint8
        return np.rint(shown * np.iinfo(depth).max).astype(depth)


class TrainingPictures(Dataset[tuple[Any, ...]], ABC, Generic[S]):
    """Augmented pictures in the frame with what is to be learnt of them.

    A pure function of (seed, epoch, sample). An item is a (C, h, w) picture, what `changed` says
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
        labels: LabelSet[S],
        samples: Sequence[S],
        view: InputSettings,
        frame: Size,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples = tuple(samples)
        self.pictures = Pictures(labels, samples, view)
        self.frame, self.augmentation, self.seed = frame, augmentation, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> tuple[Any, ...]:
        """(C, h, w) picture, its targets, and the index of its sample."""
        epoch, index = key
        rng = generator(self.seed, epoch, self.samples[index].image)
        shown, *targets = self.changed(self.pictures[index], index, rng)
        return (
            torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1))),
            *targets,
            index,
        )

    @abstractmethod
    def changed(
        self, picture: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], *tuple[Any, ...]]:
        """A picture changed at random, (*frame, channels), and its targets."""


class DotPictures(TrainingPictures[Sample]):
    """With (K, 2) points in the frame and their (K,) states; see `TrainingPictures`.

    The labels give the points' names and their symmetry.
    """

    def __init__(
        self,
        labels: Labels,
        samples: Sequence[Sample],
        view: InputSettings,
        frame: Size,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        super().__init__(labels, samples, view, frame, augmentation, seed)
        self.swap = mirror_order(labels.names, labels.symmetry)
        self._truth = [single(sample, labels.source) for sample in samples]

    def changed(
        self, picture: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], torch.Tensor, torch.Tensor]:
        """Pixels and points moved alike."""
        points, states = self._truth[index]
        ratio = ratio_of(self.samples[index].size, (picture.shape[0], picture.shape[1]))
        shown, moved, known = self.augmentation.apply(
            picture, rescale(points, ratio), states, rng, self.frame, self.swap
        )
        return shown, torch.from_numpy(moved.astype(np.float32)), torch.from_numpy(known)


class ClassPictures(TrainingPictures[ClassSample]):
    """With the number of their class; see `TrainingPictures`."""

    def changed(
        self, picture: NDArray[np.float32], index: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], int]:
        """Pixels moved; what the picture shows stays what it is."""
        warp = self.augmentation.draw(rng, (picture.shape[0], picture.shape[1]), self.frame)
        shown = self.augmentation.photometric(warp_picture(picture, warp), rng)
        label = self.samples[index].label
        return shown, NOT_LABELLED if label is None else label


def mirror_order(names: Sequence[str], symmetry: Sequence[tuple[str, str]]) -> NDArray[np.intp]:
    """Which point each point becomes when the picture is mirrored.

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
    pictures: Iterable[NDArray[np.float32]], most: int = 64
) -> Iterator[NDArray[np.float32]]:
    """Pictures in order, stacked as far as neighbours have one size.

    Args:
        pictures: (h, w, channels) each.
        most: pictures in a stack.

    Example:
        >>> sizes = [(4, 4, 1), (4, 4, 1), (4, 5, 1)]
        >>> [group.shape for group in in_groups(np.zeros(size, np.float32) for size in sizes)]
        [(2, 4, 4, 1), (1, 4, 5, 1)]
    """
    group: list[NDArray[np.float32]] = []
    for picture in pictures:
        if group and (picture.shape != group[0].shape or len(group) == most):
            yield np.stack(group)
            group = []
        group.append(picture)
    if group:
        yield np.stack(group)
