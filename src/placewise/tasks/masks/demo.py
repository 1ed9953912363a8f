"""The demo of masks: drawn threads, one to four pixels wide, on an uneven ground.

The same is drawn in volumes; in a recording a thread is a stretch of time.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from placewise.files import write_text
from placewise.geometry import FloatArray, Size
from placewise.labels import Dataset
from placewise.labels.masks import InArray
from placewise.made import Demo, Made
from placewise.metrics import counted, dice, thin_recall
from placewise.tasks._made import RATE, begin, save, split_of
from placewise.tasks.masks.prediction import FOLDER
from placewise.wording import IMAGES_OF

SIZES: dict[int, tuple[Size, ...]] = {
    1: ((1200,), (1500,), (1350,)),
    2: ((128, 160), (144, 144), (120, 168)),
    3: ((24, 40, 44), (28, 36, 44), (24, 44, 40)),
}
"""Sizes by the number of axes."""

WIDTHS = {1: (4.0, 12.0), 2: (1.2, 4.0), 3: (2.0, 5.0)}
"""Least and greatest width of a thread in pixels."""

SPAN = {1: 0.04, 2: 1.0, 3: 1.0}
"""Share of the image that a thread may cross."""

NAMES = {1: "stretch", 2: "thread", 3: "thread"}
"""What is drawn, by the number of axes."""

BENDS = 24
"""Straight pieces of a thread."""

README = {
    1: f"""placewise demo recordings with stretches of time
================================================

recordings/  drawn signals that lie lower for some stretches of time, in several lengths; numpy
             files (.npz) with the arrays signal, mask, of the same length: 1 within such a stretch,
             0 elsewhere, and fs: the number of samples in a second ({RATE})
classes.txt  the name of what is masked
split.csv    which recording is for training, validation and test
""",
    2: """placewise demo images of threads
================================

images/      drawn threads, one to four pixels wide, on an uneven ground, in several sizes
masks/       images of the same names: 255 where a thread is, 0 elsewhere
classes.txt  the name of what is masked
split.csv    which image is for training, validation and test
""",
    3: """placewise demo volumes of threads
=================================

volumes/     drawn threads, two to five voxels wide, on an uneven ground, in several sizes; numpy
             files (.npz) with the arrays image (depth, height, width), mask, of the same size: 1
             where a thread is, 0 elsewhere, and spacing_mm: the distances of the voxels
classes.txt  the name of what is masked
split.csv    which volume is for training, validation and test
""",
}
LAST = """
To train on this folder:  placewise train THIS_FOLDER --task masks --out RUN
Your own folder may look just like it; the column split may be left empty. A mask has the size of
what it belongs to.
"""


def write_images(folder: Path, *, images: int = 60, seed: int = 0, axes: int = 2) -> Path:
    """Write images, recordings or volumes, their masks, `split.csv` and a README into a new folder.

    Number i depends on (seed, i) alone. Of ten, six are for training and two each for validation
    and test.

    Args:
        folder: new or empty folder.
        images: number of images.
        seed: everything that is drawn follows from it.
        axes: 1 for recordings, 2 for images, 3 for volumes.

    Returns:
        The folder.

    Raises:
        SettingsError: the folder is not empty.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     made = write_images(Path(folder, "threads"), images=2)
        ...     sorted(path.name for path in made.iterdir())
        ['README.txt', 'classes.txt', 'images', 'masks', 'split.csv']
    """
    begin(folder, images, IMAGES_OF[axes], *(["masks"] if axes == 2 else []))
    rows = [f"{IMAGES_OF[axes].removesuffix('s')},{'mask,' if axes == 2 else ''}split"]
    for number in range(images):
        pixels, mask = _scene(np.random.default_rng([seed, number]), axes)
        if axes == 2:
            image = save(folder, number, pixels)
            Image.fromarray(255 * mask).save(folder / image.replace("images", "masks"))
            rows.append(f"{image},{image.replace('images', 'masks')},{split_of(number)}")
        else:
            rows.append(f"{save(folder, number, pixels, mask=mask)},{split_of(number)}")
    write_text(folder / "README.txt", README[axes] + LAST)
    write_text(folder / "classes.txt", f"{NAMES[axes]}\n")
    write_text(folder / "split.csv", "\n".join(rows) + "\n")
    return folder


def _scene(rng: np.random.Generator, axes: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image, and 1 where a thread is."""
    size = SIZES[axes][rng.integers(len(SIZES[axes]))]
    places = np.indices(size, dtype=float)
    slope, wave = rng.uniform(-40, 40, axes), rng.uniform(20, 60)
    image = 150 + sum(s * at / side for s, at, side in zip(slope, places, size, strict=True))
    ripple = 10 * np.sin(places[-1] / wave + rng.uniform(0, 6))
    for along in places[:-1]:
        ripple = ripple * np.cos(along / wave)
    image, mask = image + ripple, np.zeros(size, np.uint8)
    for _ in range(rng.integers(4, 9)):
        width, dark = rng.uniform(*WIDTHS[axes]), rng.uniform(35, 70)
        away = _distance(_thread(size, rng), places[::-1]) - width / 2
        image -= dark * np.clip(0.5 - away, 0, 1)
        mask[away <= 0] = 1
    noisy = image + rng.normal(0, 9, size)
    return np.rint(noisy).clip(0, 255).astype(np.uint8), mask


def _thread(size: Size, rng: np.random.Generator) -> FloatArray:
    """(bends, axes) corners (x, y, …) of a smooth line through the image."""
    ends = rng.uniform(-10, np.array(size[::-1]) + 10, (4, len(size)))
    ends = ends[0] + SPAN[len(size)] * (ends - ends[0])
    t = np.linspace(0, 1, BENDS)[:, None]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)  # a Bézier curve
    return np.asarray(sum(w * end for w, end in zip(weights, ends, strict=True)))


def _distance(line: FloatArray, places: FloatArray) -> FloatArray:
    """(*size,) distance in pixels from the nearest point of a line; places are (x, y, …)."""
    found = np.full(places.shape[1:], np.inf)
    for start, stop in pairwise(line):
        along = (stop - start).reshape(-1, *[1] * len(start))
        from_start = places - start.reshape(along.shape)
        length = max(float((along**2).sum()), 1e-12)
        share = ((from_start * along).sum(0) / length).clip(0, 1)
        found = np.minimum(found, ((from_start - share * along) ** 2).sum(0))
    return np.asarray(np.sqrt(found))


def said(predictions: Path, dataset: Dataset[Any]) -> tuple[str, dict[str, float]]:
    """How well the threads of the test images are covered, as a sentence and as numbers.

    Args:
        predictions: `predictions.csv` of an evaluation, with its masks beside it.
        dataset: the truth.
    """
    total, axes = None, len(dataset.samples[0].size)
    for sample in dataset.samples:
        if sample.split != "test":
            continue
        found = _mask(predictions.parent / FOLDER / sample.image)
        fit = counted(dataset.mask(sample) > 0, found)  # type: ignore[attr-defined]
        total = fit if total is None else total + fit
    numbers = {"dice": 0.0, "thin": 0.0}
    if total is not None:
        numbers = {"dice": dice(total) or 0.0, "thin": thin_recall(total, 2) or 0.0}
    what = f"{NAMES[axes]}{'es' if axes == 1 else 's'}"
    sentence = f"Dice of the {what} on the test images {numbers['dice']:.2f}"
    if axes == 2:
        sentence += (
            "; of the middle lines of threads up to 2 px wide "
            f"{100 * numbers['thin']:.0f} % are found"
        )
    return sentence, numbers


def _mask(file: Path) -> NDArray[np.bool_]:
    """A mask that was written for an image of this name; see `MaskPrediction.save`."""
    if file.suffix == ".png":
        with Image.open(file) as image:
            return np.asarray(image) > 0
    return np.asarray(InArray(file, "mask").read() > 0)


DEMO = Demo(
    {
        1: Made("recordings with drawn stretches", 60, 1.0, partial(write_images, axes=1)),
        2: Made("images with drawn threads", 60, 1.5, write_images),
        3: Made("volumes with drawn threads", 40, 2.0, partial(write_images, axes=3)),
    },
    "masks",
    said,
)
