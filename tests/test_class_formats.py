"""Labels of classes: folders, tables, arrays and idx files, whole, faulty and hostile."""

from __future__ import annotations

import gzip
import os
import struct
import tempfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import LabelError, SettingsError
from placewise.formats import FORMATS, convert, read_dataset, write_dataset
from placewise.labels import SPLITS, ClassDataset, ClassSample

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 9, 7, 3)).astype(np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def faults(read: Callable[[], object]) -> list[str]:
    with pytest.raises(LabelError) as caught:
        read()
    return [f"{fault.field}: {fault.got}; {fault.todo}" for fault in caught.value.faults]


def told(labels: ClassDataset) -> list[tuple[str, str | None]]:
    """(class, split) of each sample."""
    return [
        ("" if sample.label is None else labels.names[sample.label], sample.split)
        for sample in labels.samples
    ]


# --- folders ---------------------------------------------------------------------------------


def folders(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[number % 6]).save(path)
    return root


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    folders(tmp_path, "10/a2.png", "10/a10.png", "9/deep/b.png", ".hidden/c.png")
    labels = read_dataset(tmp_path)
    assert labels.names == ("9", "10")
    assert [sample.image for sample in labels.samples] == [
        "9/deep/b.png",
        "10/a2.png",
        "10/a10.png",
    ]
    assert told(labels) == [("9", None), ("10", None), ("10", None)]
    assert labels.samples[0].size == (9, 7)
    np.testing.assert_array_equal(labels.image("9/deep/b.png"), IMAGES[2])
    assert labels.source == labels.root == tmp_path


def test_folders_for_the_splits(tmp_path: Path) -> None:
    folders(
        tmp_path, "train/cat/a.png", "train/dog/b.png", "Validation/cat/c.png", "test/dog/d.png"
    )
    labels = read_dataset(tmp_path)
    assert labels.names == ("cat", "dog")
    assert sorted(told(labels)) == [
        ("cat", "train"), ("cat", "val"), ("dog", "test"), ("dog", "train"),
    ]  # fmt: skip


def test_faults_of_folders_come_together(tmp_path: Path) -> None:
    folders(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "cut.png").write_bytes((tmp_path / "cat" / "a.png").read_bytes()[:20])
    lines = faults(lambda: read_dataset(tmp_path))
    assert len(lines) == 2
    assert "'cat/cut.png' cannot be read" in lines[0]
    assert lines[1].startswith("'empty': the folder holds no image")


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    folders(tmp_path, "cat/a.png", "cat/b.png")
    with pytest.raises(SettingsError, match="no folder for each of several classes"):
        read_dataset(tmp_path)
    (line,) = faults(lambda: read_dataset(tmp_path, format="class_folders"))
    assert line == "class: there is one class, 'cat'; label at least two classes"


@pytest.mark.parametrize("split", ["", "train/"])
def test_recordings_in_a_folder_for_each_class(tmp_path: Path, split: str) -> None:
    for name in ("yes/a.wav", "yes/b.wav", "no/deep/c.wav"):
        path = tmp_path / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(np.arange(50, dtype="<i2").tobytes())
    labels = read_dataset(tmp_path)
    assert labels.names == ("no", "yes")
    assert told(labels) == [(name, split[:-1] or None) for name in ("no", "yes", "yes")]
    assert labels.samples[0].size == (50,)
    np.testing.assert_allclose(labels.image(labels.samples[0].image).reshape(50) * 2**15, range(50))


def test_arrays_in_folders_are_classes_only_where_the_user_says_so(tmp_path: Path) -> None:
    for name in ("calm", "storm"):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "a.npz", volume=np.zeros((3, 4, 5), "f4"))
    with pytest.raises(SettingsError, match="no folder for each of several classes"):
        read_dataset(tmp_path)
    labels = read_dataset(tmp_path, format="class_folders")
    assert [sample.size for sample in labels.samples] == [(3, 4, 5)] * 2


def test_links_out_of_the_folder_are_left_out(tmp_path: Path) -> None:
    folders(tmp_path, "data/cat/a.png", "data/dog/b.png", "secret/c.png")
    (tmp_path / "data" / "dog" / "c.png").symlink_to(tmp_path / "secret" / "c.png")
    (tmp_path / "data" / "spy").symlink_to(tmp_path / "secret")
    labels = read_dataset(tmp_path / "data")
    assert labels.names == ("cat", "dog")
    assert len(labels.samples) == 2


@pytest.mark.parametrize("name", ["npz", "class_csv", "long_csv"])
def test_a_format_that_was_asked_for_is_the_one_that_is_read(tmp_path: Path, name: str) -> None:
    folders(tmp_path, "cat/a.png", "dog/b.png")
    with pytest.raises(SettingsError, match=f"holds no file of labels to read as {name}; name the"):
        read_dataset(tmp_path, format=name)


def test_a_file_of_labels_goes_before_folders(tmp_path: Path) -> None:
    folders(tmp_path, "one/a.png", "two/b.png")
    (tmp_path / "labels.csv").write_text("image,class\none/a.png,x\ntwo/b.png,y\n")
    assert read_dataset(tmp_path).names == ("x", "y")
    assert read_dataset(tmp_path, format="class_folders").names == ("one", "two")


# --- tables ----------------------------------------------------------------------------------


@st.composite
def class_labels(draw: st.DrawFn, root: Path, images: list[str]) -> ClassDataset:
    letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    names = draw(
        st.lists(
            st.text(letters, min_size=1, max_size=6).map(str.strip).filter(bool),
            min_size=2, max_size=3, unique=True,
        )
    )  # fmt: skip
    labels = [0, 1, *[draw(st.sampled_from([None, *range(len(names))])) for _ in images[2:]]]
    samples = tuple(
        ClassSample(image, (9, 7), label, draw(st.sampled_from([None, *SPLITS])))
        for image, label in zip(images, labels, strict=True)
    )
    return ClassDataset(root, tuple(names), samples)


@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_table_reads_back_the_same(tmp_path: Path, data: st.DataObject) -> None:
    images = ["a.png", "sub/b c.png", 'ü, "q".png', "語.png"]
    folders(tmp_path, *images)
    labels = data.draw(class_labels(tmp_path, images))
    losses = FORMATS["class_csv"]().losses(labels)
    write_dataset(labels, tmp_path / "labels.csv", overwrite=True, lossy=bool(losses))
    read = read_dataset(tmp_path)
    assert told(read) == told(labels)
    assert [s.image for s in read.samples] == images
    assert bool(losses) == (set(read.names) != set(labels.names))


CSV_FAULTS = {
    "unknown": ("a.png,cat", "x.png,cat", "image: there is no image 'x.png'"),
    "outside": ("a.png,cat", "../a.png,cat", "image: '../a.png' leaves the folder"),
    "twice": ("b.png,dog", "./a.png,dog", "image: 'a.png' is named a second time"),
    "control": ("cat", "c\tt", "class: 'c\\tt' holds a character that no name may hold"),
    "split": ("val", "vla", "split: 'vla' is not a split"),
    "short": ("b.png,dog,val", "b.png,dog", "row: 2 cells instead of 3"),
    "column": ("split", "class", "class: 2 columns have this name"),
}


@pytest.mark.parametrize("kind", CSV_FAULTS)
def test_a_fault_of_a_table_names_its_row(tmp_path: Path, kind: str) -> None:
    folders(tmp_path, "a.png", "b.png")
    old, new, says = CSV_FAULTS[kind]
    text = "image,class,split\na.png,cat,train\nb.png,dog,val\n"
    assert old in text
    path = tmp_path / "labels.csv"
    path.write_text(text.replace(old, new))
    with pytest.raises(LabelError) as caught:
        read_dataset(path)
    assert any(str(fault).split(", ", 2)[2].startswith(says) for fault in caught.value.faults)
    assert {fault.row for fault in caught.value.faults} <= {1, 2, 3}


# --- arrays ----------------------------------------------------------------------------------


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "set.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "stored",
    [
        IMAGES,
        IMAGES.transpose(0, 3, 1, 2),
        IMAGES.astype(np.int64),
        IMAGES.astype(np.float64),
        (IMAGES / 255).astype(np.float32),
    ],
    ids=["NHWC", "NCHW", "int64", "float 0..255", "float 0..1"],
)
def test_images_come_out_the_same_however_they_are_stored(tmp_path: Path, stored: Any) -> None:
    labels = read_dataset(saved(tmp_path, images=stored, labels=LABELS))
    assert told(labels) == [(str(k), None) for k in LABELS]
    for k, sample in enumerate(labels.samples):
        shown = labels.image(sample.image)
        assert sample.size == shown.shape[:2] == (9, 7)
        scale = 255 if shown.dtype == np.float32 else 1
        np.testing.assert_allclose(shown * scale, IMAGES[k], atol=1e-4)


def test_grey_arrays_splits_and_names(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "emu"])
    path = saved(
        tmp_path,
        x_train=IMAGES[:4, ..., 0], y_train=LABELS[:4], x_test=IMAGES[4:, ..., 0],
        y_test=np.array([-1, 2]), class_names=names,
    )  # fmt: skip
    labels = read_dataset(tmp_path)
    assert labels.source == path
    assert labels.names == ("cat", "dog", "emu")
    assert told(labels) == [
        ("cat", "train"), ("emu", "train"), ("dog", "train"), ("dog", "train"), ("", "test"),
        ("emu", "test"),
    ]  # fmt: skip
    assert labels.samples[5].image == "test/00001"
    assert labels.image("test/00001").shape == (9, 7, 1)
    assert len(labels.labelled().samples) == 5


def test_labels_may_be_words(tmp_path: Path) -> None:
    words = np.array(["dog", "cat", "cat", "", "dog", "cat"])
    labels = read_dataset(saved(tmp_path, images=IMAGES, targets=words))
    assert labels.names == ("cat", "dog")
    assert [name for name, _ in told(labels)] == words.tolist()


WAS_HERE = Path(tempfile.gettempdir(), f"placewise-was-here-{os.getpid()}")


class Bomb:
    """Something that pickle would execute."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (WAS_HERE.touch, ())


NPZ_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"images": IMAGES}, "labels: there are no labels for 'images'"),
    "no images": ({"labels": LABELS}, "images: there are no images for 'labels'"),
    "strange": ({"weights": LABELS}, "images: the arrays are 'weights'"),
    "count": ({"x": IMAGES, "y": LABELS[:5]}, "y: the array has the shape (5,); write one label"),
    "flat": ({"x": IMAGES.reshape(6, -1), "y": LABELS}, "x: the array has the shape (6, 189)"),
    "none": ({"x": IMAGES[:0], "y": LABELS[:0]}, "x: the array has the shape (0, 9, 7, 3)"),
    "nan": ({"x": IMAGES * np.nan, "y": LABELS}, "x: the numbers reach from nan to nan"),
    "dark": ({"x": IMAGES * -1.0, "y": LABELS}, "x: the numbers reach from"),
    "text": ({"x": IMAGES.astype(str), "y": LABELS}, "x: the array is of"),
    "half": ({"x": IMAGES, "y": LABELS / 2}, "y: the array is of float64"),
    "strange class": (
        {"x": IMAGES, "y": LABELS, "class_names": np.array(["a", "b"])},
        "y[1]: '2' is not one of the classes that the file names",
    ),
    "one class": ({"x": IMAGES, "y": LABELS * 0}, "class: there is one class, '0'"),
    "pickled": (
        {"x": np.array([Bomb()] * 6, dtype=object), "y": LABELS},
        "'x': it is an array of Python objects, which may hold code; write names as text",
    ),
}


@pytest.mark.parametrize("kind", NPZ_FAULTS)
def test_faults_of_arrays(tmp_path: Path, kind: str) -> None:
    arrays, says = NPZ_FAULTS[kind]
    path = saved(tmp_path, **arrays)
    lines = faults(lambda: read_dataset(path))
    assert any(line.startswith(says) for line in lines), lines
    assert not WAS_HERE.exists()


def test_arrays_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("placewise.formats.npz.MAX_ARRAY_BYTES", 1000)
    path = saved(tmp_path, x=np.zeros((6, 9, 7, 3), np.uint8), y=LABELS)
    (line,) = faults(lambda: read_dataset(path))
    assert line.startswith("file: its arrays take 0 MiB, the most is")


def test_damaged_archives_are_refused_wherever_they_are_cut(tmp_path: Path) -> None:
    whole = saved(tmp_path, x=IMAGES, y=LABELS).read_bytes()
    cut = tmp_path / "cut.npz"
    for end in [4, 60, *range(100, len(whole), 97)]:
        cut.write_bytes(whole[:end])
        with pytest.raises(LabelError):
            read_dataset(cut, format="npz")
    for place in range(40, len(whole), 173):
        bent = bytearray(whole)
        bent[place] ^= 0x41
        cut.write_bytes(bent)
        try:
            read_dataset(cut, format="npz")
        except (LabelError, SettingsError):
            continue


def test_a_zip_of_something_else_is_said_to_be_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as packed:
        packed.writestr("hello.txt", "hello")
    with pytest.raises(LabelError, match=r"images: the arrays are 'hello.txt'; name them images"):
        read_dataset(tmp_path / "a.npz")


# --- idx -------------------------------------------------------------------------------------


def idx_bytes(values: np.ndarray, kind: int = 8) -> bytes:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return head + values.astype({8: ">u1", 11: ">i2", 13: ">f4"}[kind]).tobytes()


def write_idx(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    parts = {"train": slice(0, 4), "t10k": slice(4, 6)}
    for name, part in parts.items():
        for what, values in (
            (f"{name}-images-idx3-ubyte", IMAGES[part, ..., 0]),
            (f"{name}-labels-idx1-ubyte", LABELS[part]),
        ):
            data = idx_bytes(values)
            path = folder / (what + ".gz" * packed)
            path.write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_packed_or_not(tmp_path: Path, packed: bool) -> None:
    folder = write_idx(tmp_path / "digits", packed=packed)
    labels = read_dataset(folder)
    assert labels.names == ("0", "1", "2")
    assert sorted(told(labels)) == sorted(
        [(str(k), "train") for k in LABELS[:4]] + [(str(k), "test") for k in LABELS[4:]]
    )
    for number, name in enumerate(["train/00000", "train/00001", "train/00002", "train/00003"]):
        np.testing.assert_array_equal(labels.image(name)[..., 0], IMAGES[number, ..., 0])
    one = read_dataset(next(folder.glob("t10k-images*")))
    assert [sample.image for sample in one.samples] == ["test/00000", "test/00001"]


@pytest.mark.parametrize("kind", [11, 13])
def test_other_numbers_are_read_big_endian(tmp_path: Path, kind: int) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES[:4, ..., 0], kind))
    shown = read_dataset(tmp_path).image("train/00002")[..., 0]
    scale = 255 if shown.dtype == np.float32 else 1
    np.testing.assert_allclose(shown * scale, IMAGES[2, ..., 0], atol=1e-4)


IDX_FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no idx": (lambda data: b"\1" + data[1:], "it begins with"),
    "within the header": (lambda data: data[:9], "it ends within its header"),
    "too short": (lambda data: data[:-1], "it holds 251 bytes of numbers, its header says 252"),
    "too long": (lambda data: data + b"\0", "it holds more bytes of numbers"),
    "enormous": (lambda data: data[:4] + b"\xff" * 12 + data[16:], "its header asks for"),
    "empty": (lambda data: b"", "it begins with b''"),
    "not packed": (lambda data: b"\x1f\x8b" + data, "it is damaged and cannot be read"),
    "packed, cut": (lambda data: gzip.compress(data)[:-9], "it is damaged and cannot be read"),
}


@pytest.mark.parametrize("kind", IDX_FAULTS)
def test_faults_of_idx_files(tmp_path: Path, kind: str) -> None:
    write_idx(tmp_path)
    change, says = IDX_FAULTS[kind]
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    (line,) = faults(lambda: read_dataset(tmp_path))
    assert line.startswith(f"{path.name}: {says}"), line


def test_a_packed_bomb_is_never_unpacked(tmp_path: Path) -> None:
    write_idx(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    head = struct.pack(">BBBBI", 0, 0, 8, 1, 4)
    path.write_bytes(gzip.compress(head + b"\0" * 20_000_000))
    (line,) = faults(lambda: read_dataset(tmp_path))
    assert "it holds more bytes of numbers, its header says 4" in line


def test_images_without_their_labels(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    (line,) = faults(lambda: read_dataset(tmp_path))
    assert line.startswith("labels: there is no file of labels for train-images-idx3-ubyte")


# --- from one to another ---------------------------------------------------------------------


def test_what_can_be_converted(tmp_path: Path) -> None:
    folders(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/dog/c.png")
    said = convert(tmp_path, tmp_path / "labels.csv")
    assert "3 images, 2 classes, written as class_csv" in said
    read = read_dataset(tmp_path / "labels.csv")
    assert sorted(told(read)) == [("cat", "train"), ("dog", "test"), ("dog", "train")]
    with pytest.raises(SettingsError, match="class_folders is only read; write class_csv"):
        convert(tmp_path / "labels.csv", tmp_path / "new", to_format="class_folders")
    with pytest.raises(SettingsError, match=r"labels of classes, and coco holds something else"):
        convert(tmp_path / "labels.csv", tmp_path / "a.json", to_format="coco")


def test_arrays_stay_arrays(tmp_path: Path) -> None:
    saved(tmp_path, x=IMAGES, y=LABELS)
    with pytest.raises(SettingsError, match="are in arrays"):
        convert(tmp_path, tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()


def test_content_names_an_image_wherever_it_lies(tmp_path: Path) -> None:
    """Digests are equal for equal pixels, and only for them."""
    labels = read_dataset(saved(tmp_path, x=IMAGES[[0, 1, 0]], y=np.array([0, 1, 1])))
    digests = [labels.images.digest(sample.image) for sample in labels.samples]
    assert digests[0] == digests[2] != digests[1]


def test_labels_that_cannot_be() -> None:
    sample = ClassSample("a.png", (8, 8), 0)
    for names, samples, says in [
        (("a",), (sample,), "1 class is named"),
        (("a", "a"), (sample,), "two classes are named 'a'"),
        (("a", " b"), (sample,), "begins or ends with a blank"),
        (("a", "b"), (sample, sample), "two samples are of 'a.png'"),
        (("a", "b"), (ClassSample("a.png", (8, 8), 2),), "has the class 2; it must be 0 to 1"),
    ]:
        with pytest.raises(SettingsError, match=says):
            ClassDataset(Path(), names, samples)
    with pytest.raises(SettingsError, match="has the split 'dev'"):
        ClassSample("a.png", (8, 8), 0, "dev")


def test_the_real_digits(real_data: Path) -> None:
    labels = read_dataset(real_data / "mnist")
    assert len(labels.samples) == 70_000
    assert labels.counts([s for s in labels.samples if s.split == "test"]) == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert labels.image("train/00000").sum() == 27525
