"""Masks as they lie in folders: every way of writing one, and what is wrong in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from placewise.errors import DataError, LabelError, SettingsError
from placewise.formats import read_dataset
from placewise.labels import InstanceDataset, MaskDataset

SIZE = (12, 10)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RNG = np.random.default_rng(5)
CLASSES = np.repeat(np.repeat(RNG.integers(0, 4, (6, 5)), 2, 0), 2, 1).astype(np.uint8)
TABLE = [0, 0, 0, 200, 0, 0, 0, 200, 0, 128, 128, 128]


def lay(folder: Path, images: str, names: tuple[str, ...] = ("a", "b")) -> None:
    (folder / images).mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", SIZE[::-1], (90, 10, 30)).save(folder / images / f"{name}.jpg")


def save(path: Path, image: Image.Image, **more: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **more)


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values)


def palette(values: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", values.shape[::-1], values.tobytes())
    image.putpalette(TABLE)
    return image


def colours(values: np.ndarray) -> Image.Image:
    table = np.array([[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)
    return Image.fromarray(table[values])


WRITTEN = {
    "8 bits": (lambda m: grey(m), ".png", CLASSES),
    "levels": (lambda m: grey(m * 80), ".png", CLASSES),
    "table": (palette, ".png", CLASSES),
    "table in gif": (palette, ".gif", CLASSES),
    "colours": (colours, ".png", CLASSES),
    "16 bits": (lambda m: grey(m.astype(np.uint16) * 1000), ".png", CLASSES),
    "tiff": (lambda m: grey(m), ".tif", CLASSES),
    "1 bit": (lambda m: grey(np.uint8(m > 0) * 255).convert("1"), ".png", CLASSES > 0),
    "0 and 255": (lambda m: grey(np.uint8(m > 0) * 255), ".png", CLASSES > 0),
    "0 and 1": (lambda m: grey(np.uint8(m > 0)), ".bmp", CLASSES > 0),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_mask_is_read_however_it_is_written(tmp_path: Path, how: str) -> None:
    write, ending, expected = WRITTEN[how]
    lay(tmp_path, "images")
    for name, mask in (("a", CLASSES), ("b", CLASSES[::-1].copy())):
        save(tmp_path / "masks" / f"{name}{ending}", write(mask))
    labels = read_dataset(tmp_path)
    assert isinstance(labels, MaskDataset)
    found = labels.mask(labels.samples[0])
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(labels.mask(labels.samples[1]), expected[::-1])


LAYOUTS = {
    "two folders": ("images", "masks/{}.png", None),
    "singular": ("Image", "Mask/{}.png", None),
    "suffix": ("images", "masks/{}_mask.png", None),
    "side by side": (".", "{}_mask.png", None),
    "splits": ("train/images", "train/masks/{}.png", "train"),
    "splits within": ("images/test", "masks/test/{}.png", "test"),
    "splits side by side": ("valid", "valid/{}-seg.png", "val"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_find_their_masks(tmp_path: Path, layout: str) -> None:
    images, masks, split = LAYOUTS[layout]
    lay(tmp_path, images)
    for name in ("a", "b"):
        save(tmp_path / masks.format(name), grey(CLASSES))
    labels = read_dataset(tmp_path)
    assert [Path(s.image).stem for s in labels.samples] == ["a", "b"]
    assert {s.split for s in labels.samples} == {split}
    np.testing.assert_array_equal(labels.mask(labels.samples[1]), CLASSES)


def test_a_table_names_masks_fields_and_splits(tmp_path: Path) -> None:
    lay(tmp_path, "x")
    field = np.zeros(SIZE, np.uint8)
    field[3:, 2:] = 1
    save(tmp_path / "f.png", grey(field))
    for name in ("a", "b"):
        save(tmp_path / "y" / f"{name}.png", grey(CLASSES))
    rows = "image,mask,fov,split\nx/a.jpg,y/a.png,f.png,train\nx/b.jpg,y/b.png,,test\n"
    (tmp_path / "split.csv").write_text(rows)
    labels = read_dataset(tmp_path)
    assert [s.split for s in labels.samples] == ["train", "test"]
    expected = np.where(field > 0, CLASSES.astype(int), -1)
    np.testing.assert_array_equal(labels.mask(labels.samples[0]), expected)
    np.testing.assert_array_equal(labels.mask(labels.samples[1]), CLASSES)


def test_255_is_ignored_beside_small_numbers_only(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(np.where(CLASSES == 3, 255, CLASSES)))
    labels = read_dataset(tmp_path)
    assert labels.names == ("class 1", "class 2")
    assert (labels.mask(labels.samples[0]) == np.where(CLASSES == 3, -1, CLASSES.astype(int))).all()


def objects(shift: int = 0) -> np.ndarray:
    """Twelve squares of one number each."""
    found = np.zeros(SIZE, np.uint16)
    for k in range(12):
        row, column = divmod(k, 4)
        found[4 * row : 4 * row + 2, 2 * column : 2 * column + 1] = 5 * k + 1 + shift
    return found


def test_many_connected_numbers_are_objects_and_the_task_overrules(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    for name, shift in (("a", 0), ("b", 2)):
        save(tmp_path / "masks" / f"{name}.png", grey(objects(shift)))
    labels = read_dataset(tmp_path)
    assert isinstance(labels, InstanceDataset)
    found, kinds = labels.instances(labels.samples[0])
    assert found.max() == 12
    assert kinds.tolist() == [0] * 12
    np.testing.assert_array_equal(found > 0, objects() > 0)
    masks = read_dataset(tmp_path, task="masks")
    np.testing.assert_array_equal(masks.mask(masks.samples[0]), objects() > 0)


def test_scattered_numbers_are_classes_however_many(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    many = RNG.integers(0, 12, SIZE).astype(np.uint8)
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(many))
    assert len(read_dataset(tmp_path).names) == 11


def test_a_mask_of_one_class_shows_an_object_where_it_is_connected(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(np.uint8(objects() > 0)))
    labels = read_dataset(tmp_path, task="instances")
    assert labels.instances(labels.samples[0])[0].max() == 12


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "background\nsky\nsea\nsand\n"),
        ("classes.txt", "sky\nsea\nsand"),
        ("classes.json", '["sky", "sea", "sand"]'),
        ("classes.json", '{"1": "sky", "3": "sand", "2": "sea"}'),
    ],
)
def test_classes_are_named_by_a_file(tmp_path: Path, file: str, text: str) -> None:
    lay(tmp_path, "images")
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(CLASSES))
    (tmp_path / file).write_text(text)
    labels = read_dataset(tmp_path)
    assert labels.names == ("sky", "sea", "sand")
    mixed = labels.ordered(("sand", "sky", "sea"))
    found = mixed.mask(mixed.samples[0])
    np.testing.assert_array_equal(found, np.array([0, 2, 3, 1])[CLASSES])
    with pytest.raises(DataError, match="sky, sea"):
        labels.ordered(("sand",))


def test_all_faults_come_in_one_message(tmp_path: Path) -> None:
    lay(tmp_path, "images", ("a", "b", "c", "d", "e"))
    save(tmp_path / "masks" / "a.png", grey(CLASSES))
    save(tmp_path / "masks" / "b.png", grey(CLASSES[:5]))
    save(tmp_path / "masks" / "c.jpg", grey(CLASSES))
    (tmp_path / "masks" / "d.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    save(tmp_path / "masks" / "lost.png", grey(CLASSES))
    with pytest.raises(LabelError) as error:
        read_dataset(tmp_path)
    said = str(error.value)
    for words in ("10×5 px", "is a JPEG", "d.png", "e.jpg' has no mask", "lost.png' has no image"):
        assert words in said
    assert len(error.value.faults) == 5


def test_masks_that_mark_nothing_are_refused_together_only(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    save(tmp_path / "masks" / "a.png", grey(np.zeros(SIZE, np.uint8)))
    save(tmp_path / "masks" / "b.png", grey(CLASSES))
    labels = read_dataset(tmp_path)
    assert not labels.mask(labels.samples[0]).any()
    save(tmp_path / "masks" / "b.png", grey(np.zeros(SIZE, np.uint8)))
    with pytest.raises(LabelError, match="all 2 masks are empty"):
        read_dataset(tmp_path)


def test_two_tasks_are_not_guessed(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(CLASSES))
    (tmp_path / "points.csv").write_text("image,keypoint,x,y\nimages/a.jpg,nose,1,2\n")
    with pytest.raises(SettingsError, match="--task masks or --task keypoints"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, task="masks").task == "masks"
    assert read_dataset(tmp_path, task="keypoints").task == "keypoints"
    (tmp_path / "masks").rename(tmp_path / "instances")
    assert read_dataset(tmp_path).task == "instances"


def test_volumes_hold_their_masks(tmp_path: Path) -> None:
    mask = RNG.integers(0, 3, (4, 6, 5)).astype(np.uint8)
    (tmp_path / "volumes").mkdir()
    np.savez(tmp_path / "volumes" / "v.npz", image=mask * 3, mask=mask)
    (tmp_path / "split.csv").write_text("volume,split\nvolumes/v.npz,train\n")
    labels = read_dataset(tmp_path)
    assert labels.samples[0].size == (4, 6, 5)
    np.testing.assert_array_equal(labels.mask(labels.samples[0]), mask)


@pytest.mark.parametrize(
    ("name", "task", "count"), [("chase_db1", "masks", 28), ("nuclei_dsb2018", "instances", 514)]
)
def test_real_folders_are_read_as_they_lie(name: str, task: str, count: int) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not there")
    labels = read_dataset(DATA / name)
    assert (labels.task, len(labels.samples)) == (task, count)


def test_values_in_between_are_neither_objects_nor_classes(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    smooth = np.zeros(SIZE, np.uint8)
    smooth[3:, :] = 255
    smooth[2, :9] = np.arange(20, 200, 20)  # an edge, resized
    for name in ("a", "b"):
        save(tmp_path / "masks" / f"{name}.png", grey(smooth))
    with pytest.raises(LabelError, match="there are 10 different values in the masks") as caught:
        read_dataset(tmp_path)
    assert "resized, or saved as JPEG before, hold values in between" in str(caught.value)


def test_1_and_255_in_masks_of_their_own_may_be_one_class(tmp_path: Path) -> None:
    lay(tmp_path, "images")
    for name, value in (("a", 1), ("b", 255)):
        save(tmp_path / "masks" / f"{name}.png", grey(np.uint8((CLASSES > 0) * value)))
    with pytest.raises(LabelError, match="255 is the only number in 1 masks, and others hold 1"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("masks", ["SegmentationClass", "Ground Truth", "label"])
def test_folders_of_masks_have_many_names(tmp_path: Path, masks: str) -> None:
    lay(tmp_path, "JPEGImages")
    for name in ("a", "b"):
        save(tmp_path / masks / f"{name}.png", grey(CLASSES))
    labels = read_dataset(tmp_path)
    assert isinstance(labels, MaskDataset)
    np.testing.assert_array_equal(labels.mask(labels.samples[0]), CLASSES)
