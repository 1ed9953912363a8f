"""What studies measure with: images, digits, sounds, trained weights; read, never fetched."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from placewise.errors import SettingsError
from placewise.formats import read_dataset

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What the residual nets want taken from each channel, and what they want it divided by."""

DEPTHS = (20, 32, 44, 56)


@dataclass(frozen=True)
class Labelled:
    """Examples with their classes.

    Attributes:
        train: (N, C, *space) float32 to learn from; may be empty.
        train_classes: (N,) whole numbers.
        test: (M, C, *space) that nothing is learnt from.
        test_classes: (M,).

    Example:
        >>> digits = load_digits()
        >>> digits.test.shape[1:], int(digits.test_classes.max())
        (torch.Size([1, 8, 8]), 9)
    """

    train: Tensor
    train_classes: Tensor
    test: Tensor
    test_classes: Tensor


def load_digits() -> Labelled:
    """Handwritten digits of 8 × 8 pixels, 0 ... 1, that come with scikit-learn; the last 300 test.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise SettingsError(
            "the study's digits come with scikit-learn, which is not installed; "
            'run: pip install "placewise[demo]"'
        ) from error
    found = datasets.load_digits()
    images = torch.tensor(found.images[:, None] / 16, dtype=torch.float32)
    classes = torch.tensor(found.target, dtype=torch.int64)
    return Labelled(images[:-300], classes[:-300], images[-300:], classes[-300:])


def missing_files(data: Path | None, files: Sequence[str]) -> str:
    """Why something cannot be measured that needs files of data; empty if they are there.

    Args:
        data: folder of data sets.
        files: paths in it.

    Example:
        >>> missing_files(None, ["a.npz"])
        'no folder of data was given (`--data`)'
    """
    if data is None:
        return "no folder of data was given (`--data`)"
    lacking = [file for file in files if not (data / file).is_file()]
    return f"the folder of data lacks {', '.join(lacking)}" if lacking else ""


# --- trained weights -----------------------------------------------------------------------------


class _Block(nn.Module):
    """Two convolutions and a way around them; where it narrows, every second pixel of it."""

    def __init__(self, read: int, written: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(read, written, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(written)
        self.conv2 = nn.Conv2d(written, written, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(written)
        self.stride, self.added = stride, (written - read) // 2

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(maps)))
        around = maps[:, :, :: self.stride, :: self.stride]
        if self.added:
            around = functional.pad(around, (0, 0, 0, 0, self.added, self.added))
        return functional.relu(self.bn2(self.conv2(inner)) + around)


class CifarResNet(nn.Module):
    """Residual net for images of 32 × 32 (He et al. 2015, section 4.2, shortcuts of option A).

    Args:
        depth: layers with weights: 20, 32, 44 or 56.

    Example:
        >>> CifarResNet(20).eval()(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                _Block(read, width, stride),
                *(_Block(width, width, 1) for _ in range(depth // 6 - 1)),
            )
            for read, width, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, height, width) to (N, 10)."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        found: Tensor = self.linear(maps.mean((2, 3)))
        return found


def missing_resnets(data: Path | None) -> str:
    """Why the trained residual nets cannot be measured; empty if they can."""
    weights = [_weights(Path(), depth).as_posix() for depth in DEPTHS]
    return missing_files(data, ["cifar10_subset/cifar10_subset.npz", *weights])


def load_resnet(data: Path, depth: int) -> CifarResNet:
    """A residual net with its trained weights.

    Args:
        data: folder of data sets.
        depth: of `DEPTHS`.
    """
    net = CifarResNet(depth)
    net.load_state_dict(load_file(_weights(data, depth)))
    return net.eval()


def _weights(data: Path, depth: int) -> Path:
    return data / "resnet_cifar10" / f"resnet{depth}.safetensors"


def load_cifar(data: Path) -> Labelled:
    """The CIFAR-10 subset, as the residual nets want its images."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    parts = []
    with np.load(data / "cifar10_subset" / "cifar10_subset.npz", allow_pickle=False) as file:
        for split in ("train", "test"):
            images = torch.from_numpy(file[f"{split}_images"]).permute(0, 3, 1, 2).float() / 255
            parts += [(images - mean) / std, torch.from_numpy(file[f"{split}_labels"]).long()]
    return Labelled(*parts)


def load_mnist(data: Path) -> Labelled:
    """MNIST in its own split, 0 ... 1.

    Raises:
        LabelError: the folder of data has no folder `mnist` with its idx files.
    """
    labels: Any = read_dataset(data / "mnist")
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    for split in ("train", "test"):
        samples = [sample for sample in labels.samples if sample.split == split]
        pixels = np.stack([labels.image(sample.image) for sample in samples])
        images = torch.from_numpy(pixels).reshape(len(pixels), 1, *pixels.shape[1:3])
        classes = torch.tensor([sample.label for sample in samples])
        parts[split] = images.float() / 255, classes
    return Labelled(*parts["train"], *parts["test"])


# --- sounds --------------------------------------------------------------------------------------


def missing_speech(data: Path | None) -> str:
    """Why the spoken digits cannot be used; empty if they can."""
    if data is None:
        return "no folder of data was given (`--data`)"
    if not any((data / "spoken_digits" / "recordings").glob("*.wav")):
        return "the folder of data lacks spoken_digits/recordings"
    return ""


def load_speech(data: Path, *, samples: int = 4096, most: int | None = None) -> Labelled:
    """Spoken digits at 4 kHz from their start, each of the same loudness, silence after their end.

    The test is the last speaker by name, of whom nothing is in training.

    Args:
        data: folder of data sets.
        samples: length of each.
        most: recordings, evenly over all; None: all.
    """
    paths = sorted((data / "spoken_digits" / "recordings").glob("*.wav"))
    step = max(1, len(paths) // most) if most else 1
    chosen = paths[::step]
    names = [path.stem.split("_") for path in chosen]
    last = max(speaker for _, speaker, _ in names)
    test = torch.tensor([speaker == last for _, speaker, _ in names])
    classes = torch.tensor([int(digit) for digit, _, _ in names])
    sounds = torch.stack([_sound(path, samples) for path in chosen])[:, None]
    return Labelled(sounds[~test], classes[~test], sounds[test], classes[test])


def _sound(path: Path, samples: int) -> Tensor:
    """A recording of 16 bits in mono, of half the rate, with a standard deviation of 1."""
    with wave.open(str(path)) as file:
        raw = np.frombuffer(file.readframes(2 * samples), "<i2").astype(np.float32)
    halved = raw[: len(raw) // 2 * 2].reshape(-1, 2).mean(1)
    sound = np.zeros(samples, np.float32)
    sound[: len(halved)] = halved / max(float(halved.std()), 1e-9)
    return torch.from_numpy(sound)
