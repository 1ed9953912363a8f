"""Thin things: lines drawn at known places, and vessels of the retina in pieces."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from placewise.errors import SettingsError
from placewise.files import write_text
from placewise.formats import read_dataset
from placewise.labels import MaskDataset, MaskSample
from placewise.tasks.masks.demo import write_images
from studies._material import missing_files

LINES, VESSELS = "lines", "vessels"

FOLDER = "chase_db1"
CHOSEN = 2
"""Images at the end of those for training that validation gets: both eyes of one child."""

PIECE = 240
"""Pixels on a side of a piece of a retina."""

PIECES = 4
"""Pieces about the middle of a retina, all within the field of view."""


@dataclass(frozen=True)
class Amount:
    """How much there is to learn from and to test on.

    Attributes:
        lines: drawn images, of which a fifth each is for validation and for the test.
        tested: pieces of each test image of a retina, at most `PIECES`.
    """

    lines: int
    tested: int


def missing(data: Path | None) -> str:
    """Why the retinas cannot be used; empty if they can."""
    return missing_files(data, [f"{FOLDER}/split.csv"])


def labels_of(folder: Path) -> MaskDataset:
    """Labels of masks.

    Raises:
        SettingsError: the folder holds labels of another kind.
    """
    labels = read_dataset(folder)
    if not isinstance(labels, MaskDataset):
        raise SettingsError(f"{folder} holds {labels.what}; the study needs masks")
    return labels


def images_of(name: str, data: Path | None, folder: Path, amount: Amount, seed: int) -> Path:
    """Write images and masks where they are not yet.

    Args:
        name: `LINES` or `VESSELS`.
        data: folder of data sets.
        folder: gets images, masks and `split.csv`.
        amount: how many.
        seed: of what is drawn.

    Returns:
        The folder.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        place = Path(work, "new")
        if name == LINES:
            write_images(place, images=amount.lines, seed=seed)
        else:
            if data is None:
                raise SettingsError("no folder of data was given (`--data`)")
            _write_pieces(labels_of(data / FOLDER), place, amount.tested)
        place.rename(folder)
    return folder


def _write_pieces(labels: MaskDataset, folder: Path, tested: int) -> None:
    """Pieces of retinas with their masks, and the split of the images that they are of."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rows = ["image,mask,split"]
    for sample, split, numbers in chosen(labels.samples, tested):
        pixels, mask = labels.image(sample.image), labels.mask(sample)
        for number in numbers:
            name = f"{Path(sample.image).stem}-{number}.png"
            window = window_of(mask.shape, number)
            if (mask[window] < 0).any():
                raise SettingsError(
                    f"a piece of {sample.image} reaches beyond its field of view; the study needs "
                    "images whose middle is labelled"
                )
            Image.fromarray(pixels[window]).save(folder / "images" / name)
            drawn = np.where(mask[window] > 0, 255, 0).astype(np.uint8)
            Image.fromarray(drawn).save(folder / "masks" / name)
            rows.append(f"images/{name},masks/{name},{split}")
    write_text(folder / "split.csv", "\n".join(rows) + "\n")


def chosen(
    samples: tuple[MaskSample, ...], tested: int
) -> Iterator[tuple[MaskSample, str, list[int]]]:
    """(image, split, numbers of its pieces); of test images different pieces in turn.

    Args:
        samples: all images, each with the split "train" or "test".
        tested: pieces of each test image.
    """
    learnt = [one for one in samples if one.split == "train"]
    held = [one for one in samples if one.split == "test"]
    for number, sample in enumerate(learnt):
        split = "val" if number >= len(learnt) - CHOSEN else "train"
        yield sample, split, list(range(PIECES))
    for number, sample in enumerate(held):
        yield sample, "test", [(number + i) % PIECES for i in range(tested)]


def window_of(size: tuple[int, ...], number: int) -> tuple[slice, slice]:
    """The place of a piece: four meet at the middle of the image.

    Example:
        >>> window_of((500, 600), 3)
        (slice(250, 490, None), slice(300, 540, None))
    """
    corner = [
        side // 2 - PIECE * (1 - way) for side, way in zip(size, divmod(number, 2), strict=True)
    ]
    top, left = corner
    return slice(top, top + PIECE), slice(left, left + PIECE)
