"""`model.predict` in memory: whatever holds the same pixels gets the same keypoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from placewise.errors import ImageError, ShapeError
from placewise.model import InputSettings, ModelSettings
from placewise.tasks.classes.model import ClassModel
from placewise.tasks.keypoints.model import KeypointModel
from placewise.tasks.keypoints.prediction import KeypointPrediction

SIZE = (45, 61)


def build(channels: int = 1) -> KeypointModel:
    """A model whose maps have clear peaks."""
    view = InputSettings(
        scale=1.0, size=(48, 64), channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )
    small = {"width": 16, "depth": 2}
    settings = ModelSettings(names=("a", "b", "c"), input=view, backbone_settings=small)
    model = KeypointModel.build(settings).eval()
    torch.nn.init.normal_(model.head.maps.values.weight, generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture(scope="module")
def model() -> KeypointModel:
    return build()


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(height, width) of grey values."""
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


GREY = picture()
DEPTHS: dict[str, Callable[[NDArray[np.uint8]], NDArray[Any]]] = {
    "uint8": lambda image: image,
    "uint16": lambda image: image.astype(np.uint16) * 257,
    "float32": lambda image: (image / 255).astype(np.float32),
    "float64": lambda image: image / 255,
}
SHAPES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "H×W": lambda image: image,
    "H×W×1": lambda image: image[..., None],
    "H×W×3": lambda image: np.repeat(image[..., None], 3, axis=2),
}


def assert_same(one: KeypointPrediction, other: KeypointPrediction) -> None:
    assert one.size == other.size and one.names == other.names
    np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    np.testing.assert_allclose(one.uncertainty, other.uncertainty, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_the_same_pixels_get_the_same_keypoints(shape: str, depth: str, channels: int) -> None:
    model = build(channels)
    array = SHAPES[shape](DEPTHS[depth](GREY))
    found = model.predict(array)
    assert found.size == SIZE and found.keypoints.shape == (3, 2)
    assert_same(found, model.predict(GREY))
    planes = torch.from_numpy(array if array.ndim == 3 else array[..., None]).movedim(-1, 0)
    assert_same(model.predict(planes), found)
    (one,) = model.predict(planes[None])
    assert_same(one, found)


def test_other_pixels_get_other_keypoints(model: KeypointModel) -> None:
    """Else the tests above could not fail."""
    assert np.abs(model.predict(GREY).keypoints - model.predict(picture(1)).keypoints).max() > 1


def test_views_are_images_as_copies_are(model: KeypointModel) -> None:
    for image in (GREY / 255, GREY):
        mirrored = image[:, ::-1]
        assert_same(model.predict(mirrored), model.predict(mirrored.copy()))
        turned = torch.from_numpy(np.ascontiguousarray(image)).T[None]
        assert_same(model.predict(turned), model.predict(turned.contiguous()))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_halves_are_images(model: KeypointModel, kind: torch.dtype) -> None:
    bits = np.where(GREY > 127, 1.0, 0.0)
    planes = torch.from_numpy(bits)[None]
    assert_same(model.predict(planes.to(kind)), model.predict(planes))


def test_a_tensor_that_needs_a_gradient_is_left_alone(model: KeypointModel) -> None:
    planes = torch.from_numpy(GREY / 255)[None].requires_grad_()
    assert_same(model.predict(planes), model.predict(GREY))
    assert planes.requires_grad and planes.grad is None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of two sizes, one of them in a folder of its own."""
    for number in range(5):
        path = tmp_path / ("sub" if number == 3 else "") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(number, (40, 50) if number % 2 else SIZE)).save(path)
    return tmp_path


def test_paths_and_folders_are_read(model: KeypointModel, folder: Path) -> None:
    one = model.predict(folder / "0.png")
    assert one.image == "0.png"
    assert_same(one, model.predict(GREY))
    assert_same(model.predict(str(folder / "0.png")), one)
    found = model.predict(folder)
    assert [one.image for one in found] == ["0.png", "1.png", "2.png", "4.png", "sub/3.png"]
    for one, number in zip(found, (0, 1, 2, 4, 3), strict=True):
        assert_same(one, model.predict(picture(number, one.size)))
    with pytest.raises(ImageError, match="nowhere"):
        model.predict(folder / "nowhere.png")


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_mixed_list_is_answered_in_its_order(
    model: KeypointModel, folder: Path, batch_size: int
) -> None:
    """Arrays, tensors, paths, folders, and lists of them, of several sizes; also one by one."""
    small = picture(7, (40, 50))
    planes = torch.from_numpy(np.stack([GREY, picture(8)]))[:, None]
    given: list[Any] = [GREY, small, planes, str(folder / "1.png"), [small / 255, GREY], folder]
    arrays = [GREY, small, GREY, picture(8), picture(1, (40, 50)), small, GREY]
    expected = [model.predict(array) for array in arrays] + model.predict(folder)

    def one_by_one() -> Iterator[Any]:
        yield from given

    for images in (given, tuple(given), one_by_one()):
        found = model.predict(images, batch_size=batch_size)
        assert len(found) == len(expected) == 12
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def test_many_are_a_list_and_one_is_not(model: KeypointModel) -> None:
    assert isinstance(model.predict(GREY), KeypointPrediction)
    assert isinstance(model.predict([GREY]), list)
    assert isinstance(model.predict(GREY[None, ..., None]), list)
    assert model.predict([]) == []


def test_images_are_not_changed(model: KeypointModel) -> None:
    for depth in DEPTHS.values():
        image = depth(GREY)
        before = image.copy()
        model.predict(image)
        assert (image == before).all()


def nan_at_a_place() -> NDArray[np.float64]:
    image = GREY / 255
    image[3, 4] = np.nan
    return image


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": (None, r"got NoneType; give an array"),
    "a number": (3, r"got int; give an array"),
    "numbers": ([[1, 2], [3, 4]], r"got int; give an array"),
    "bytes": (b"abc", r"got int; give an array"),
    "an image of PIL": (Image.new("L", (9, 8)), r"got Image; give an array"),
    "no axis": (np.array(0.5), r"shape \(\); an image is"),
    "one axis": (np.zeros(8, np.uint8), r"shape \(8,\); an image is \(height, width\)"),
    "five axes": (np.zeros((1, 1, 8, 9, 3)), r"shape \(1, 1, 8, 9, 3\)"),
    "channels first": (np.zeros((3, 8, 9)), r"\(3, 8, 9\).*move the channels to the end"),
    "two channels": (np.zeros((8, 9, 2)), r"shape \(8, 9, 2\)"),
    "four channels": (np.zeros((8, 9, 4), np.uint8), r"shape \(8, 9, 4\)"),
    "no rows": (np.zeros((0, 9), np.uint8), r"shape \(0, 9\)"),
    "no columns": (np.zeros((8, 0, 3), np.uint8), r"shape \(8, 0, 3\)"),
    "int32": (GREY.astype(np.int32), r"int32; an image is uint8, uint16, or float32"),
    "bool": (GREY > 9, r"bool; an image is uint8"),
    "complex": (GREY.astype(complex), r"complex128; an image is uint8"),
    "objects": (GREY.astype(object), r"object; an image is uint8"),
    "words": (np.full((8, 9), "a"), r"U1; an image is uint8"),
    "records": (np.zeros((8, 9), [("a", int)]), r"an image is uint8"),
    "half": (GREY.astype(np.float16), r"float16; an image is uint8"),
    "beyond 1": (GREY.astype(np.float32), r"numbers from 0 to 255; .* divide"),
    "below 0": (GREY / 255 - 0.5, r"numbers from -0\.5 to 0\.5"),
    "not a number": (nan_at_a_place(), r"numbers from nan"),
    "infinite": (np.full((8, 9), np.inf), r"numbers from inf"),
    "a flat tensor": (torch.zeros(8, 9), r"tensor of shape \(8, 9\); an image is \(1 or 3, height"),
    "a tensor with channels last": (torch.zeros(8, 9, 3), r"tensor of shape \(8, 9, 3\)"),
    "a tensor of five axes": (torch.zeros(1, 1, 3, 8, 9), r"tensor of shape"),
    "a tensor without rows": (torch.zeros(3, 0, 9), r"shape \(0, 9, 3\)|shape \(3, 0, 9\)"),
    "a tensor of int64": (torch.zeros(3, 8, 9, dtype=torch.int64), r"int64; an image is uint8"),
    "a tensor of bool": (torch.zeros(1, 8, 9, dtype=torch.bool), r"bool; an image is uint8"),
    "a tensor beyond 1": (torch.full((1, 8, 9), 7.0), r"numbers from 7 to 7"),
    "a sparse tensor": (
        torch.zeros(3, 8, 9).to_sparse(),
        r"cannot be read as an array: .*[Ss]parse",
    ),
    "a tensor without values": (
        torch.zeros(3, 8, 9, device="meta"),
        r"cannot be read as an array: .*meta",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_image_is_refused_in_words(model: KeypointModel, what: str) -> None:
    given, says = WRONG[what]
    with pytest.raises(ShapeError, match=says):
        model.predict(given)
    with pytest.raises(ShapeError, match=says):
        model.predict([GREY, given])


@pytest.mark.parametrize(
    "shape", [(48, 64), (1, 48, 64), (1, 3, 48, 64), (2, 1, 0, 64), (1, 1, 1, 48, 64), (0, 1, 8, 8)]
)
def test_a_batch_of_another_shape_is_refused(model: KeypointModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"\(batch, 1, height, width\) in 0..1; use model.predict"):
        model(torch.zeros(shape))


def test_classes_take_the_same_images(folder: Path) -> None:
    view = InputSettings(scale=1.0, size=(48, 64), channels=1, mean=(0.5,), std=(0.2,))
    small = {"width": 16, "depth": 2}
    settings = ModelSettings(
        names=("cat", "dog"), input=view, backbone_settings=small, head="convolutional"
    )
    model = ClassModel.build(settings).eval()
    expected = model.predict(GREY).probabilities
    for depth in DEPTHS.values():
        for shape in SHAPES.values():
            found = model.predict(shape(depth(GREY)))
            np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert [one.image for one in model.predict(folder)][-1] == "sub/3.png"
    for given, says in WRONG.values():
        with pytest.raises(ShapeError, match=says):
            model.predict(given)
