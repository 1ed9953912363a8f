"""Samples to batches: split, scale, order. Every choice is a pure function of the seed."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch.utils.data import DataLoader, Dataset, Sampler

from placewise.augment import Augmentation, generator
from placewise.errors import Fault, LabelError, SettingsError
from placewise.formats import Labels, Sample
from placewise.geometry import FloatArray, Size, ratio_of, rescale
from placewise.pictures import as_float, is_grey, read_picture, resize

PIXELS = 320 * 240
"""Pixels of a training picture, or of a window on it: trains in minutes on two cores."""

DETAIL = 2.0
"""Pixels of a picture after scaling, in those that training shows of it."""

OBJECT = 128.0
"""Pixels that the object (diagonal of the box about its points) keeps after scaling, where that
makes a picture's sides at most `FINER` times as long as the budget alone would."""

FINER = 4.0
"""See `OBJECT`: 16 times the pixels is what a small object may cost when predicting."""

SMALLEST = 48.0
"""Pixels that the object keeps whatever that costs."""

CACHE_BYTES = 2 << 30
"""Scaled pictures are kept in memory up to this, in each process that prepares batches."""

PEEK = 48
"""Pictures looked at to learn whether the set is grey, its mean and its contrast."""

Key = tuple[int, int]
"""(epoch, index of the sample)."""

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Pictures (B, C, h, w), points (B, K, 2), states (B, K), indices (B,)."""


class InputSettings(BaseModel):
    """How pictures are brought to the network.

    Attributes:
        scale: network pixels for one picture pixel, at most 1.
        frame: (height, width) of training pictures, or of windows on them, after scaling.
        channels: 1 (grey) or 3 (RGB).
        mean: of each channel of the training pictures, in 0..1.
        std: of each channel of the training pictures, in 0..1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: float
    frame: Size
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def split_images(labels: Labels, seed: int, val: float = 0.1, test: float = 0.15) -> list[str]:
    """Split of each sample: "train", "val" or "test".

    What the labels say is honoured. Labels that say nothing are split by the seed; labels without
    validation pictures lose `val` of their training pictures to it. The order of the samples does
    not matter: a picture's lot is drawn from (seed, name).

    Args:
        labels: the labels.
        seed: the seed.
        val: share of validation pictures where they are drawn.
        test: share of test pictures where they are drawn.

    Raises:
        SettingsError: fewer than two pictures are left to train and validate on.
    """
    given = [sample.split for sample in labels.samples]
    splits = [split or "train" for split in given]
    lots = [_lot(seed, sample.image) for sample in labels.samples]
    if "val" not in splits:
        _draw(splits, lots, "val", val, least=1)
    if not any(given):
        _draw(splits, lots, "test", test, least=0)
    if "train" not in splits or "val" not in splits:
        raise SettingsError(
            f"the labels have {splits.count('train')} training and {splits.count('val')} "
            "validation pictures; at least one of each is needed: label more pictures"
        )
    return splits


def _lot(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big")


def _draw(splits: list[str], lots: Sequence[int], split: str, share: float, *, least: int) -> None:
    """Turn a share of the training pictures, those with the lowest lots, into another split."""
    train = sorted((lot, i) for i, lot in enumerate(lots) if splits[i] == "train")
    count = min(max(least, round(share * len(train))), len(train) - 1)
    for _, i in train[: max(0, count)]:
        splits[i] = split


def of_split(labels: Labels, splits: Sequence[str], split: str) -> tuple[Sample, ...]:
    """The samples of one split, in the order of the labels."""
    return tuple(s for s, name in zip(labels.samples, splits, strict=True) if name == split)


def single(sample: Sample, source: Path | None) -> tuple[FloatArray, NDArray[np.int8]]:
    """Points (K, 2) and states (K,) of a picture that shows each point at most once.

    Raises:
        LabelError: the picture has several instances.
    """
    if len(sample.points) > 1:
        fault = Fault(
            str(source or "labels"),
            0,
            sample.image,
            f"{len(sample.points)} instances on one picture",
            "a run places each point once; crop the pictures to one instance each, or give the "
            "instances names of their own",
        )
        raise LabelError([fault])
    return sample.points[0], sample.states[0]


def choose_input(
    labels: Labels,
    samples: Sequence[Sample],
    extent: float | None,
    seed: int,
    pixels: int = PIXELS,
    *,
    whole: bool = False,
) -> InputSettings:
    """Scale, frame, channels and normalisation for the training pictures.

    The scale brings the median picture to `DETAIL` times `pixels` pixels, but keeps small objects
    larger (see `OBJECT`), and never enlarges. Pictures of more than `pixels` pixels are shown in
    training through windows of that many.

    Args:
        labels: the labels, for the root of the pictures.
        samples: the training samples.
        extent: of the object in picture pixels, as `object_extent` found it.
        seed: which pictures are looked at for mean and contrast.
        pixels: that training shows of the median picture.
        whole: it must show the whole picture, which then has that many pixels.
    """
    sizes = np.array([sample.size for sample in samples], dtype=float)
    base = float(np.sqrt(pixels / np.median(sizes.prod(1))))
    scale = base
    if not whole:
        scale *= float(np.sqrt(DETAIL))
        if extent:
            scale = max(scale, min(OBJECT / extent, FINER * base), SMALLEST / extent)
    scale = min(1.0, scale)
    sides = np.percentile(sizes, 90, axis=0) * min(scale, base)
    high, wide = np.ceil(sides).astype(int).tolist()
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(samples))[:PEEK]
    peek = [read_picture(labels.root / samples[i].image) for i in chosen]
    channels = 1 if all(is_grey(picture) for picture in peek) else 3
    seen = [_channels(as_float(p), channels)[::4, ::4].reshape(-1, channels) for p in peek]
    values = np.concatenate(seen).astype(np.float64)
    return InputSettings(
        scale=scale,
        frame=(high, wide),
        channels=channels,
        mean=tuple(values.mean(0).round(5).tolist()),
        std=tuple(values.std(0).clip(0.02).round(5).tolist()),
    )


def object_extent(samples: Sequence[Sample]) -> float | None:
    """Median diagonal in pixels of the box about an object's located points; None if unknown."""
    boxes = [
        np.ptp(points[located], axis=0)
        for sample in samples
        for points, located in zip(sample.points, sample.located, strict=True)
        if located.sum() >= 2
    ]
    return float(np.median(np.linalg.norm(boxes, axis=1))) if boxes else None


def _channels(picture: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """Grey or RGB, whichever the network wants."""
    if picture.shape[2] == channels:
        return picture
    if channels == 1:
        return np.asarray(picture.mean(2, keepdims=True, dtype=np.float32))
    return np.repeat(picture, 3, axis=2)


def as_input(picture: NDArray[np.generic], view: InputSettings) -> NDArray[np.float32]:
    """A picture as the network sees it: (h, w, channels) in 0..1, scaled.

    Args:
        picture: (height, width, 1 or 3) uint8, uint16 or float in 0..1.
        view: the model's input settings.

    Example:
        >>> view = InputSettings(scale=0.5, frame=(4, 4), channels=1, mean=(0.5,), std=(0.2,))
        >>> as_input(np.zeros((9, 6, 3), np.uint8), view).shape
        (4, 3, 1)
    """
    size = scaled_size((picture.shape[0], picture.shape[1]), view.scale)
    shown = picture if picture.shape[:2] == size else resize(picture, size)
    return _channels(as_float(shown), view.channels)


def scaled_size(size: Size, scale: float) -> Size:
    """(height, width) after scaling, at least one pixel.

    Example:
        >>> scaled_size((480, 641), 0.5)
        (240, 320)
    """
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


class Pictures:
    """Pictures at the network's scale, kept in memory as far as they fit.

    Args:
        root: folder of the pictures.
        samples: whose pictures.
        view: the model's input settings.
    """

    def __init__(self, root: Path, samples: Sequence[Sample], view: InputSettings) -> None:
        self.root, self.samples, self.view = root, tuple(samples), view
        self._kept: dict[int, NDArray[np.generic]] = {}
        self._room = CACHE_BYTES

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
        picture = read_picture(self.root / self.samples[index].image)
        shown = as_input(picture, self.view)
        depth = np.uint16 if picture.dtype == np.uint16 else np.uint8
        return np.rint(shown * np.iinfo(depth).max).astype(depth)


class TrainingPictures(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]]):
    """Augmented pictures in the frame, a pure function of (seed, epoch, sample).

    Args:
        labels: the labels, for their names, symmetry and root.
        samples: the training samples.
        view: the model's input settings.
        frame: (height, width) of what the network gets.
        augmentation: what is drawn.
        seed: the run's seed.
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
        self.pictures = Pictures(labels.root, samples, view)
        self.frame, self.augmentation, self.seed = frame, augmentation, seed
        self.swap = mirror_order(labels.names, labels.symmetry)
        self._truth = [single(sample, labels.source) for sample in samples]

    def __len__(self) -> int:
        return len(self.pictures.samples)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
        """(C, h, w) picture, (K, 2) points and (K,) states in the frame, index of the sample."""
        epoch, index = key
        sample = self.pictures.samples[index]
        picture = self.pictures[index]
        points, states = self._truth[index]
        ratio = ratio_of(sample.size, (picture.shape[0], picture.shape[1]))
        rng = generator(self.seed, epoch, sample.image)
        shown, moved, known = self.augmentation.apply(
            picture, rescale(points, ratio), states, rng, self.frame, self.swap
        )
        return (
            torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1))),
            torch.from_numpy(moved.astype(np.float32)),
            torch.from_numpy(known),
            index,
        )


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


class Order(Sampler[list[Key]]):
    """Which samples make which batch: a pure function of (seed, step), for any number of ranks.

    Sample number p = step · batch + i of the endless stream is place p mod n of the permutation
    that (seed, p div n) draws. Rank r of w takes every w-th of a batch, beginning with its r-th.

    Args:
        count: n, number of samples.
        batch: samples in a batch over all ranks.
        seed: the run's seed.
        start: first step.
        stop: step before which to end.
        rank: this process.
        world: number of processes.

    Example:
        >>> one = list(Order(3, 2, 0, start=0, stop=3))
        >>> two = [list(Order(3, 2, 0, start=0, stop=3, rank=r, world=2)) for r in (0, 1)]
        >>> one == [a + b for a, b in zip(*two)]
        True
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        *,
        start: int,
        stop: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count, self.batch, self.seed = count, batch, seed
        self.start, self.stop, self.rank, self.world = start, stop, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, int)
        for step in range(self.start, self.stop):
            keys: list[Key] = []
            for place in range(step * self.batch, (step + 1) * self.batch):
                if place // self.count != epoch:
                    epoch = place // self.count
                    order = generator(self.seed, epoch, "order").permutation(self.count)
                keys.append((epoch, int(order[place % self.count])))
            yield keys[self.rank :: self.world]


def batches(pictures: TrainingPictures, order: Order, workers: int) -> Iterator[Batch]:
    """Batches in order.

    Args:
        pictures: what to show.
        order: when to show it.
        workers: processes that prepare batches; 0 prepares them between the steps.
    """
    loader = DataLoader(
        pictures,
        batch_sampler=order,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_loop,
        generator=torch.Generator().manual_seed(0),
    )
    yield from loader


def _leave_signals_to_the_loop(worker: int) -> None:
    """A signal to the whole group must not end workers before the loop has saved; it ends them."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
