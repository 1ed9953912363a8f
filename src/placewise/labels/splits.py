"""Which images are learnt from, which choose, and which test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from placewise.errors import SettingsError
from placewise.labels.dataset import Dataset, S

TOO_MANY = 0.5
"""Share of a drawn split that one group may make up; larger groups stay in training."""


def split_images(
    labels: Dataset[Any], seed: int, val: float = 0.1, test: float = 0.15
) -> list[str]:
    """Split of each sample: "train", "val" or "test".

    What the labels say is honoured. Labels that say nothing are split by the seed; labels without
    validation images lose `val` of their training images to it. The order of the samples does
    not matter: an image's lot is drawn from (seed, name). Images of one group, e.g. tiles of one
    field or images of one animal, are never parted: the group draws one lot.

    Args:
        labels: the labels.
        seed: the seed.
        val: share of validation images where they are drawn.
        test: share of test images where they are drawn.

    Raises:
        SettingsError: fewer than two images are left to train and validate on.
    """
    given = [sample.split for sample in labels.samples]
    splits = [split or "train" for split in given]
    groups = [getattr(sample, "group", None) or sample.image for sample in labels.samples]
    lots = [_lot(seed, group) for group in groups]
    if "val" not in splits:
        _draw(splits, lots, "val", val, least=1)
    if not any(given):
        _draw(splits, lots, "test", test, least=0)
    if "train" not in splits or "val" not in splits:
        told = any(given) and len(given) > 1
        todo = "change the split of some" if told else "label more images"
        raise SettingsError(
            f"the labels have {splits.count('train')} training and {splits.count('val')} "
            f"validation images; at least one of each is needed: {todo}"
        )
    return splits


def _lot(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big")


def _draw(splits: list[str], lots: Sequence[int], split: str, share: float, *, least: int) -> None:
    """Turn a share of the training images, those with the lowest lots, into another split.

    Images with one lot go together; a group that would make the split much too large stays.
    """
    train = sorted((lot, i) for i, lot in enumerate(lots) if splits[i] == "train")
    count = min(max(least, round(share * len(train))), len(train) - 1)
    groups = [[i for _, i in group] for _, group in groupby(train, key=lambda pair: pair[0])]
    if max(map(len, groups), default=1) > 1:
        groups = [group for group in groups if len(group) <= max(1, TOO_MANY * count)]
    taken = 0
    for group in groups:
        if taken < count and taken + len(group) < len(train):
            taken += len(group)
            for i in group:
                splits[i] = split


def of_split(labels: Dataset[S], splits: Sequence[str], split: str) -> tuple[S, ...]:
    """The samples of one split, in the order of the labels."""
    return tuple(s for s, name in zip(labels.samples, splits, strict=True) if name == split)
