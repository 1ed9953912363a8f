"""Which files of labels a path means, and where their images are: layouts of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from placewise.cli import main


def write_images(folder: Path, *names: str) -> None:
    """Small images that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        noise = np.random.default_rng(len(name)).integers(0, 256, (30, 40), np.uint8)
        Image.fromarray(noise).save(folder / name)


def coco_text(*images: str, names: tuple[str, ...] = ("nose", "tail")) -> str:
    """One object on each image, its keypoints at (10, 11), (11, 12) …."""
    places = [value for k in range(len(names)) for value in (10 + k, 11 + k, 2)]
    return json.dumps(
        {
            "categories": [{"id": 1, "name": "mouse", "keypoints": list(names)}],
            "images": [{"id": k, "file_name": image} for k, image in enumerate(images, 1)],
            "annotations": [
                {"id": k, "image_id": k, "category_id": 1, "keypoints": places}
                for k in range(1, len(images) + 1)
            ],
        }
    )


# The folder of the images


@pytest.mark.parametrize("verb", ["check", "train", "evaluate", "convert"])
def test_every_verb_that_reads_labels_takes_the_folder_of_the_images(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "--root" in capsys.readouterr().out
