"""What a format cannot hold of some labels, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from placewise.errors import SettingsError
from placewise.formats._located import reading_order
from placewise.labels import KeypointDataset, KeypointSample, Visibility, guess_symmetry
from placewise.labels.names import shown


@dataclass(frozen=True)
class Holds:
    """What a format holds of keypoints, beside one object with its visible keypoints.

    Attributes:
        instances: several objects on an image.
        hidden: that a keypoint is hidden.
        absent: that a keypoint is absent.
        names: the names of all keypoints in their order; of those that lie somewhere, in the order
            in which they come; or none, so that they are numbered.
        symmetry: pairs of left and right that the names do not tell.
        skeleton: pairs that are drawn joined.
        splits: the split of an image.
        empty: images without a keypoint.
        outside: keypoints that lie outside of their image.
    """

    instances: bool = True
    hidden: bool = False
    absent: bool = False
    names: Literal["all", "placed", "none"] = "all"
    symmetry: bool = False
    skeleton: bool = False
    splits: bool = False
    empty: bool = True
    outside: bool = True


def lost(labels: KeypointDataset, holds: Holds, read: tuple[str, ...] | None = None) -> list[str]:
    """What these labels hold and a format cannot, in words; empty if nothing.

    Args:
        labels: the labels.
        holds: what the format holds.
        read: the names that are read back; None: what `holds` says.
    """
    read = names_read(labels, holds) if read is None else read
    found = []
    if not holds.instances and labels.instances > 1:
        several = sum(len(sample.points) > 1 for sample in labels.samples)
        found.append(f"several instances ({several} images)")
    for state, held in ((Visibility.HIDDEN, holds.hidden), (Visibility.ABSENT, holds.absent)):
        count = sum(int((sample.visibility == state).sum()) for sample in labels.samples)
        if count and not held:
            found.append(f"that keypoints are {state.name.lower()} ({count})")
    found += _beside(labels, holds, read) + _names(labels, holds, read)
    if holds.instances and (empty := sum(_empty(sample, holds) for sample in labels.samples)):
        found.append(f"objects without a located keypoint ({empty})")
    if not holds.empty and (count := sum(not s.located.any() for s in labels.samples)):
        found.append(f"images without a keypoint ({count})")
    if not holds.outside and (count := sum(map(outside, labels.samples))):
        found.append(f"keypoints outside of their image ({count})")
    return found


def outside(sample: KeypointSample) -> int:
    """How many keypoints lie outside of an image."""
    height, width = sample.size
    places = sample.points[sample.located]
    inside = (places >= -0.5) & (places <= [width - 0.5, height - 0.5])
    return int((~inside.all(-1)).sum())


def _beside(labels: KeypointDataset, holds: Holds, read: tuple[str, ...]) -> list[str]:
    """What is lost of all that is no place."""
    found = []
    if not holds.splits and any(sample.split for sample in labels.samples):
        found.append("splits")
    if labels.scored:
        found.append("scores")
    if any(sample.tracks is not None for sample in labels.samples):
        found.append("identities over images")
    if any(sample.areas is not None for sample in labels.samples):
        found.append("areas of objects")
    if regions := sum(len(sample.ignored) for sample in labels.samples):
        found.append(f"{regions} regions that are ignored")
    if labels.skeleton and not holds.skeleton:
        found.append("the skeleton")
    told = {frozenset(pair) for pair in guess_symmetry(read)}
    if not holds.symmetry and {frozenset(pair) for pair in labels.symmetry} != told:
        found.append(f"the {len(labels.symmetry)} symmetry pairs (the names tell {len(told)})")
    return found


def _names(labels: KeypointDataset, holds: Holds, read: tuple[str, ...]) -> list[str]:
    if read == labels.names:
        return []
    if holds.names == "none":
        return ["names of keypoints"]
    gone = len(set(labels.names) - set(read))
    return [f"names of keypoints that are on no image ({gone})" if gone else "the order of names"]


def names_read(labels: KeypointDataset, holds: Holds) -> tuple[str, ...]:
    """The names that are read back."""
    if holds.names == "all":
        return labels.names
    if holds.names == "none":
        return tuple(str(k) for k in range(1, 1 + len(labels.names)))
    found: dict[str, None] = {}
    for sample in sorted(labels.samples, key=lambda sample: reading_order(sample.image)):
        for located in sample.located:
            here = (labels.names[k] for k in located.nonzero()[0])
            found.update(dict.fromkeys(here))
    return tuple(found)


def _empty(sample: KeypointSample, holds: Holds) -> int:
    """Objects of which nothing would be written; the only one of an image is none."""
    least = Visibility.ABSENT if holds.absent else Visibility.HIDDEN
    count = len(sample.points)
    return count - int((sample.visibility >= least).any(1).sum()) if count > 1 else 0


def one_file_each(images: Iterable[str], ending: str) -> Mapping[str, str]:
    """The name of each image's own file: that of the image with another ending.

    Raises:
        SettingsError: two images would have one file.

    Example:
        >>> one_file_each(["sub/a.png"], ".json")
        {'sub/a.png': 'sub/a.json'}
    """
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for image in images:
        folder, _, name = image.rpartition("/")
        stem = name.rpartition(".")[0] or name
        file = f"{folder}/{stem}{ending}" if folder else f"{stem}{ending}"
        if file.lower() in owners:
            raise SettingsError(
                f"{shown(owners[file.lower()])} and {shown(image)} would both have the file "
                f"{shown(file)}; rename one of the images"
            )
        owners[file.lower()] = image
        found[image] = file
    return found
