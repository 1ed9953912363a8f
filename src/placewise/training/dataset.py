"""Images as the network gets them: scaled, kept, and changed at random for training."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset as TorchDataset

from placewise.augment import Augmentation, generator, warp_image
from placewise.errors import SettingsError
from placewise.geometry import Size, ratio_of
from placewise.images import as_float
from placewise.labels import SPLITS, Dataset, Sample, of_split, split_images
from placewise.model import InputSettings, as_input, padded_size
from placewise.task import Task
from placewise.tasks import choose_model, task_of

CACHE_BYTES = 2 << 30
"""Scaled images are kept in memory up to this, in each process that prepares batches."""

Key = tuple[int, SupportsIndex]
"""(epoch, index of the sample)."""


class ScaledImages:
    """Images at the network's scale, kept in memory as far as they fit.

    Args:
        dataset: the labels, which read the images.
        samples: whose images.
        input: how images are brought to the network.
    """

    def __init__(
        self, dataset: Dataset[Any], samples: Sequence[Sample], input: InputSettings
    ) -> None:
        self.dataset, self.samples, self.input = dataset, tuple(samples), input
        self._kept: dict[int, NDArray[np.generic]] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """(*size, channels) float32 in 0..1."""
        return as_float(self.kept(index))

    def kept(self, index: int) -> NDArray[np.generic]:
        """(*size, channels) with as many bits as the file has, up to 16."""
        image = self._kept.get(index)
        if image is None:
            image = self._read(index)
            if image.nbytes <= self._room:
                self._kept[index] = image
                self._room -= image.nbytes
        return image

    def _read(self, index: int) -> NDArray[np.generic]:
        """The scaled image with as many bits as its file has, which is a quarter of float32."""
        name = self.samples[index].image
        image, spacing = self.dataset.image(name), self.dataset.images.spacing(name)
        shown = as_input(image, self.input, spacing)
        deep = image.dtype == np.uint16 or self.input.normalise == "each"
        depth = np.uint16 if deep else np.uint8
        return np.rint(shown * np.iinfo(depth).max).astype(depth)


class TrainingSet(TorchDataset[tuple[Any, ...]]):
    """Augmented images with what is to be learnt of them: a plain `torch.utils.data.Dataset`.

    An item is a pure function of (seed, epoch, sample): a (C, *size) float32 image in 0..1, what
    the head's loss wants to know of it, and the index of its sample. In a loop of your own, call
    `set_epoch` before each epoch and collate with `collate`.

    Args:
        task: what is learnt.
        dataset: the labels.
        samples: the training samples.
        input: how images are brought to the network.
        size: of what the network gets.
        augmentation: what is drawn.
        seed: the run's seed.

    Example:
        >>> training = TrainingSet.of(read_dataset("my_folder"))  # doctest: +SKIP
        >>> loader = DataLoader(training, 8, shuffle=True)  # doctest: +SKIP
        >>> image, keypoints, visibility, index = training[0]  # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task[Any, Any],
        dataset: Dataset[Any],
        samples: Sequence[Any],
        input: InputSettings,
        size: Size,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.samples, self.input, self.collate = tuple(samples), input, task.collate
        self.images = ScaledImages(dataset, samples, input)
        self.targets = [task.target(dataset, sample) for sample in samples]
        self.size, self.augmentation, self.seed, self.epoch = size, augmentation, seed, 0

    @classmethod
    def of(
        cls, dataset: Dataset[Any], split: str = "train", *, multiple: int = 32, seed: int = 0
    ) -> TrainingSet:
        """The training set that a run on these labels would use, for a loop of your own.

        Args:
            dataset: what `read_dataset` returned.
            split: whose samples.
            multiple: sides of the images are multiples of this.
            seed: of the split, where the labels have none, and of the augmentation.
        """
        if split not in SPLITS:
            raise SettingsError(f"there is no split '{split}'; there are: {', '.join(SPLITS)}")
        task = task_of(dataset)
        dataset = task.usable(dataset)
        splits = split_images(dataset, seed)
        samples = of_split(dataset, splits, "train")
        input = choose_model(dataset, samples, seed=seed).input
        augmentation = Augmentation.of(**task.augmentation(dataset, samples))
        shown = samples if split == "train" else of_split(dataset, splits, split)
        size = padded_size(input.size, multiple)
        return cls(task, dataset, shown, input, size, augmentation, seed)

    def set_epoch(self, epoch: int) -> None:
        """Draw the augmentation of this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: SupportsIndex | Key) -> tuple[Any, ...]:
        """(C, *size) image, its targets, and the index of its sample.

        Args:
            key: index of the sample, or (epoch, index).
        """
        epoch, at = key if isinstance(key, tuple) else (self.epoch, key)
        index = operator.index(at)
        rng = generator(self.seed, epoch, self.samples[index].image)
        image = self.images.kept(index)
        scaled = image.shape[:-1]
        target = self.targets[index]
        if self.input.spectrogram is None:
            target = target.scaled(ratio_of(self.samples[index].size, scaled))
        warp = self.augmentation.draw(rng, scaled, self.size, target.focus)
        shown = self.augmentation.photometric(warp_image(image, warp), rng)
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(shown, -1, 0)))
        return (planes, *target.encode(warp), index)
