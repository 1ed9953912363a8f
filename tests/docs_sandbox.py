"""The folder in which the commands of the documentation run: all that they name, but tiny."""

from __future__ import annotations

import gzip
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from conftest import REPOSITORY, draw_squares
from test_toy_task import TOY
from test_toy_task import drawn as draw_stripes

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
STARTS = ("placewise", "python -m studies", "torchrun")

SHORTER = {"--minutes": "0.01", "--max-minutes": "0.01", "--steps": "4", "--max-steps": "4"}
"""The only thing that a test changes of a command: how long a training takes."""

NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

def example():
    return torch.zeros(1, 3, 32, 40)
"""

PLAN = """
data = "mnist"
backbone = "lenet"
seeds = 2
place = false
unmatched = true
training = { max_steps = 2 }
tuning = { trials = 1 }
arms = [{ name = "flat", head = "flatten" }, { name = "sheet", head = "sheet" }]
"""


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a page in a language; "" is a block of commands."""
    return [text for name, text in BLOCK.findall(page.read_text("utf-8")) if name == language]


def commands(page: Path) -> Iterator[str]:
    """Command lines of a page, without comments, each step of `a && b` by itself."""
    for text in blocks(page, ""):
        for line in text.splitlines():
            for step in line.partition("  #")[0].split("&&"):
                if step.strip().startswith(STARTS):
                    yield step.strip()


def words_of(command: str) -> list[str]:
    """A command as the shell would split it, its training shortened."""
    words = shlex.split(command, comments=True)
    for place, word in enumerate(words[:-1]):
        if word in SHORTER:
            words[place + 1] = SHORTER[word]
    return words


def clear_targets(words: Sequence[str]) -> None:
    """Remove what a command writes, unless it goes on with it."""
    verb, targets = words[1], []
    if "--out" in words and "--resume" not in words:
        targets.append(words[words.index("--out") + 1])
    if verb == "convert":
        targets.append(words[3])
    for target in map(Path, targets):
        if target.is_dir():
            shutil.rmtree(target)
        target.unlink(missing_ok=True)


TAGGER = """
from torch import nn


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.spread, self.tell = nn.Conv2d(1, 4, (64, 1), stride=(8, 1)), nn.Linear(4, 2)

    def forward(self, sound):
        return self.tell(self.spread(sound.unsqueeze(-1)).mean((2, 3)))


def build():
    return Tagger()
"""


def furnish(folder: Path) -> Path:
    """Write everything that commands read: labels, images, a network, a plan."""
    for number, name in enumerate(("my_folder", "other_folder", "cameras/a", "cameras/b")):
        _keypoints(folder / name, 20 if number < 2 else 8, number)
    shutil.copytree(folder / "my_folder" / "images", folder / "new_images")
    shutil.copytree(folder / "my_folder" / "images", folder / "my_images")
    shutil.copy(folder / "new_images" / "000.png", folder / "image.png")
    Image.open(folder / "image.png").save(folder / "slide.tif")
    _noise(folder / "more_digits", 28, 4)
    _deeplabcut(folder / "my_folder")
    _classes(folder / "folder_of_classes")
    _digits(folder / "mnist")
    _masks(folder / "my_masks", "masks")
    _masks(folder / "my_cells", "instances")
    for number, name in enumerate(("my_stripes", "new_stripes")):
        draw_stripes(folder / name, 20, number)
    shutil.copy(TOY / "stripes.py", folder)
    (folder / "my_net.py").write_text(NETWORK, encoding="utf-8")
    (folder / "my_tagger.py").write_text(TAGGER, encoding="utf-8")
    (folder / "plan.toml").write_text(PLAN, encoding="utf-8")
    _clip(folder / "clip.mp4")
    return folder


def _clip(file: Path) -> None:
    """A square that moves over 12 frames; none without PyAV."""
    if find_spec("av") is None:
        return
    from placewise.frames import VideoWriter

    with VideoWriter(file) as writer:
        for number in range(12):
            image = np.full((48, 56, 3), 110, np.uint8)
            image[20:27, 3 * number : 3 * number + 7] = 230
            writer.write(image, number / 25)


def _keypoints(folder: Path, count: int, seed: int) -> None:
    """Squares as left and right eyes."""
    table = draw_squares(folder, count, seed=seed) / "points.csv"
    text = (
        table.read_text("utf-8").replace(",light,", ",left_eye,").replace(",dark,", ",right_eye,")
    )
    table.write_text(text, encoding="utf-8")


def _deeplabcut(folder: Path) -> None:
    rows = ["scorer,me,me,me,me", "bodyparts,nose,nose,tail,tail", "coords,x,y,x,y"]
    rows += [f"images/{number:03d}.png,10,12,30,20" for number in range(20)]
    (folder / "CollectedData.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _classes(folder: Path) -> None:
    for level, name in ((60, "dark"), (180, "light")):
        _noise(folder / name, 24, 8, level)


def _masks(folder: Path, masks: str) -> None:
    """Bright discs and their masks, in a folder of this name."""
    y, x = np.mgrid[:48, :56]
    for name in ("images", masks):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        rng = np.random.default_rng(number)
        disc = (x - rng.uniform(14, 40)) ** 2 + (y - rng.uniform(14, 34)) ** 2 < 80
        image = (60 + 120 * disc + rng.normal(0, 8, disc.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(np.uint8(disc) * 255).save(folder / masks / f"{number}.png")


def _noise(folder: Path, side: int, count: int, level: float = 110) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        image = rng.normal(level, 10, (side, side)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")


def _digits(folder: Path) -> None:
    """MNIST's files with 40 training and 20 test images of two digits."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 2
        images = rng.normal(60 + 120 * labels[:, None, None], 10, (count, 28, 28)).astype(np.uint8)
        for kind, code, array in (("images-idx3", 3, images), ("labels-idx1", 1, labels)):
            head = bytes([0, 0, 8, code]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
