"""Which files of labels a path means, and where their images are: layouts of other tools."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from placewise.cli import main
from placewise.errors import DataError, LabelError, SettingsError
from placewise.family import PLUGINS, load_plugin
from placewise.formats import FORMATS, convert, read_dataset, write_dataset
from placewise.labels import ClassDataset, Dataset, KeypointDataset

IMAGES = ("a.png", "b.png", "c.png")


def write_images(folder: Path, *names: str) -> None:
    """Small images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or IMAGES:
        Image.new("L", (40, 30)).save(folder / name)


def coco_text(*images: str, names: tuple[str, ...] = ("nose", "tail")) -> str:
    """One object on each image, its keypoints at (10, 11), (11, 12) …."""
    places = [value for k in range(len(names)) for value in (10 + k, 11 + k, 2)]
    content = {
        "categories": [{"id": 1, "name": "mouse", "keypoints": list(names)}],
        "images": [{"id": k, "file_name": image} for k, image in enumerate(images, 1)],
        "annotations": [
            {"id": k, "image_id": k, "category_id": 1, "keypoints": places}
            for k in range(1, len(images) + 1)
        ],
    }
    return json.dumps(content)


def long_text(*images: str, names: tuple[str, ...] = ("nose", "tail")) -> str:
    """The same as long CSV."""
    rows = [f"{image},{name},{10 + k},{11 + k}" for image in images for k, name in enumerate(names)]
    return "\n".join(["image,keypoint,x,y", *rows]) + "\n"


def dlc_text(*images: str, names: tuple[str, ...] = ("nose", "tail")) -> str:
    """The same as DeepLabCut's CSV."""
    cells = ",".join(f"{10 + k},{11 + k}" for k in range(len(names)))
    parts = ",".join(f"{name},{name}" for name in names)
    head = [f"scorer{',me' * 2 * len(names)}", f"bodyparts,{parts}", f"coords{',x,y' * len(names)}"]
    return "\n".join([*head, *(f"{image},{cells}" for image in images)]) + "\n"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def labelled(dataset: Dataset[Any]) -> dict[str, str | None]:
    """The images with their splits; each has its two keypoints where they were put.

    Roboflow's files count from the corner; here their numbers are compared.
    """
    assert isinstance(dataset, KeypointDataset)
    for sample in dataset.counted_from("center").samples:
        order = [dataset.names.index(name) for name in ("nose", "tail")]
        assert sample.points[0, order].tolist() == [[10, 11], [11, 12]]
        assert (dataset.root / sample.image).is_file()
    return {sample.image: sample.split for sample in dataset.samples}


# The folder of the images


@pytest.mark.parametrize("verb", ["check", "train", "evaluate", "convert"])
def test_every_verb_that_reads_labels_takes_the_folder_of_the_images(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert "--root" in capsys.readouterr().out


@pytest.mark.parametrize("images", ["images/default", "images", "default", "."])
def test_images_of_coco_annotations_are_found(
    tmp_path: Path, images: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path / images)
    file = put(tmp_path / "annotations" / "person_keypoints_default.json", coco_text(*IMAGES))
    for path in (tmp_path, file):
        assert labelled(read_dataset(path)) == dict.fromkeys(IMAGES)
    assert "is read with images in" in caplog.text
    assert labelled(read_dataset(file, root=tmp_path / images)) == dict.fromkeys(IMAGES)


def test_of_two_folders_with_the_images_the_one_in_the_name_is_taken(tmp_path: Path) -> None:
    for folder in ("left", "right"):
        write_images(tmp_path / "images" / folder)
    file = put(tmp_path / "annotations" / "right.json", coco_text(*IMAGES))
    assert read_dataset(file).root.name == "right"
    file.rename(file.with_name("both.json"))
    with pytest.raises(LabelError, match=r"in 2 folders: .*left, .*right; name the right one with"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, root=tmp_path / "images" / "left").root.name == "left"
    with pytest.raises(SettingsError, match="there is no folder"):
        read_dataset(tmp_path, root=tmp_path / "nowhere")


@pytest.mark.parametrize("gone", [["a.png"], ["b.png"], ["a.png", "b.png"]])
@pytest.mark.parametrize("text", [dlc_text, coco_text])
def test_a_missing_image_hides_no_other(tmp_path: Path, gone: list[str], text: Any) -> None:
    """The folder of the images is not guessed from one row."""
    write_images(tmp_path / "labeled-data" / "video")
    for name in gone:
        (tmp_path / "labeled-data" / "video" / name).unlink()
    names = [f"labeled-data/video/{name}" for name in IMAGES]
    name = "CollectedData_me.csv" if text is dlc_text else "labels.json"
    above = "labeled-data/video" if text is dlc_text else "labeled-data"
    file = put(tmp_path / above / name, text(*names))
    with pytest.raises(LabelError) as caught:
        read_dataset(file)
    assert [Path(fault.got.split("'")[1]).name for fault in caught.value.faults] == gone
    assert all("--root" in fault.todo for fault in caught.value.faults)


def test_where_no_image_is_found_one_line_says_so(tmp_path: Path) -> None:
    path = put(tmp_path / "points.csv", long_text(*IMAGES))
    with pytest.raises(LabelError) as caught:
        read_dataset(path)
    (fault,) = caught.value.faults
    assert fault.got == f"none of the 3 images is in {tmp_path}: there is no image 'a.png', …"


@pytest.mark.parametrize("index", [",", ",,,"])
@pytest.mark.parametrize("named", ["", "image"])
def test_a_row_for_the_names_of_the_index_is_passed_over(
    tmp_path: Path, index: str, named: str
) -> None:
    """Pandas writes one where the index has a name."""
    write_images(tmp_path / "labeled-data" / "video")
    lines = dlc_text(*(f"labeled-data{index[:1]}video{index[:1]}{name}" for name in IMAGES))
    if index == ",":
        lines = lines.replace("labeled-data,video,", "labeled-data/video/")
    head, rows = lines.splitlines()[:3], lines.splitlines()[3:]
    head = [line.replace(",", index, 1) for line in head]
    text = "\n".join([*head, named + "," * head[0].count(","), *rows])
    file = put(tmp_path / "labeled-data" / "video" / "CollectedData_me.csv", text)
    assert len(labelled(read_dataset(file))) == 3


def test_what_the_system_refuses_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        read_dataset("a" * 5000)
    write_images(tmp_path)

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied; check the path"):
        read_dataset(tmp_path)


# Several files of one project


def dlc_project(folder: Path, videos: int = 2) -> Path:
    for k in range(videos):
        name = f"labeled-data/video{k}"
        write_images(folder / name)
        text = dlc_text(*(f"{name}/{image}" for image in IMAGES))
        put(folder / name / "CollectedData_kim.csv", text)
    return folder


def test_all_videos_of_a_project_are_read_together(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = dlc_project(tmp_path)
    wanted = {f"labeled-data/video{k}/{image}": None for k in (0, 1) for image in IMAGES}
    for path in (folder, folder / "labeled-data"):
        caplog.clear()
        dataset = read_dataset(path)
        assert labelled(dataset) == wanted
        assert dataset.source == folder / "labeled-data/*/CollectedData_kim.csv"
        (line,) = caplog.messages
        assert "2 files are read together: " in line
        assert line.count("CollectedData_kim.csv") == 2
    with pytest.raises(SettingsError, match="is a file the labels were read from"):
        convert(
            folder,
            folder / "labeled-data/video1/CollectedData_kim.csv",
            to_format="deeplabcut",
            overwrite=True,
        )


@pytest.mark.parametrize("text", [dlc_text, coco_text])
def test_a_folder_is_the_same_from_wherever_it_is_named(
    tmp_path: Path, text: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is dlc_text:
        folder, inner = dlc_project(tmp_path), "labeled-data/video0"
    else:
        folder, inner = tmp_path, "annotations"
        for split in ("train", "val"):
            write_images(folder / "images" / split)
            put(folder / inner / f"{split}.json", coco_text(*IMAGES))
    wanted = labelled(read_dataset(folder))
    assert len(wanted) == 6
    for here, path in [("", "."), (inner, "../" * (1 + inner.count("/"))), ("..", folder.name)]:
        monkeypatch.chdir(folder / here)
        assert labelled(read_dataset(path)) == wanted


def test_faults_of_several_files_come_together(tmp_path: Path) -> None:
    folder = dlc_project(tmp_path, 3)
    for k in (0, 2):
        (folder / f"labeled-data/video{k}/b.png").unlink()
    with pytest.raises(LabelError) as caught:
        read_dataset(folder)
    assert [Path(fault.file).parent.name for fault in caught.value.faults] == ["video0", "video2"]


def test_files_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    folder = dlc_project(tmp_path)
    file = folder / "labeled-data/video1/CollectedData_kim.csv"
    names = [f"labeled-data/video1/{image}" for image in IMAGES]
    put(file, dlc_text(*names, names=("nose", "tail", "paw")))
    with pytest.raises(DataError, match=r"do not name the same keypoints: paw only in .*video1"):
        read_dataset(folder)
    put(file, dlc_text(*names, names=("tail", "nose")).replace("10,11,11,12", "11,12,10,11"))
    assert len(labelled(read_dataset(folder))) == 6, "another order of columns does not matter"
    shutil.copy(file, file.with_name("CollectedData_lee.csv"))
    with pytest.raises(DataError, match=r"kim\.csv and .*lee\.csv both label 'labeled-data/video1"):
        read_dataset(folder)


@pytest.mark.parametrize("name", ["_annotations.coco.json", "points.csv", "mine.csv"])
@pytest.mark.parametrize("folders", [("train", "valid", "test"), ("Training", "val", "testing")])
def test_folders_of_splits_are_read_together(
    tmp_path: Path, name: str, folders: tuple[str, ...]
) -> None:
    text = coco_text if name.endswith("json") else long_text
    for folder in folders:
        write_images(tmp_path / folder)
        put(tmp_path / folder / name, text(*IMAGES))
    splits = dict(zip(folders, ("train", "val", "test"), strict=True))
    wanted = {f"{folder}/{image}": splits[folder] for folder in folders for image in IMAGES}
    assert labelled(read_dataset(tmp_path)) == wanted
    alone = read_dataset(tmp_path / folders[1])
    assert labelled(alone) == dict.fromkeys(IMAGES), "one file alone is not all of one split"


def test_files_named_by_their_splits_are_read_together(tmp_path: Path) -> None:
    """COCO's own layout, with files of boxes and captions among them."""
    for split in ("train", "val"):
        images = [f"{split}{image}" for image in IMAGES]
        write_images(tmp_path / f"{split}2017", *images)
        put(tmp_path / "annotations" / f"person_keypoints_{split}2017.json", coco_text(*images))
        boxes = json.loads(coco_text(*images))
        del boxes["categories"][0]["keypoints"]
        put(tmp_path / "annotations" / f"instances_{split}2017.json", json.dumps(boxes))
    wanted = {f"{s}2017/{s}{image}": s for s in ("train", "val") for image in IMAGES}
    assert labelled(read_dataset(tmp_path)) == wanted


def test_classes_of_several_tables_are_read_together(tmp_path: Path) -> None:
    for split, classes in (("train", "cat dog emu"), ("test", "dog cat dog")):
        write_images(tmp_path / split)
        rows = [f"{i},{c}" for i, c in zip(IMAGES, classes.split(), strict=True)]
        put(tmp_path / split / "labels.csv", "\n".join(["image,class", *rows]))
    dataset = read_dataset(tmp_path)
    assert isinstance(dataset, ClassDataset)
    assert dataset.names == ("cat", "dog", "emu")
    found = [(s.image, s.split, dataset.names[s.label or 0]) for s in dataset.samples]
    assert found[:2] == [("test/a.png", "test", "dog"), ("test/b.png", "test", "cat")]
    assert found[3:] == [
        ("train/a.png", "train", "cat"),
        ("train/b.png", "train", "dog"),
        ("train/c.png", "train", "emu"),
    ]


def test_two_files_of_a_folder_are_not_guessed_between(tmp_path: Path) -> None:
    write_images(tmp_path)
    put(tmp_path / "mine.csv", long_text("a.png"))
    put(tmp_path / "yours.csv", long_text("b.png"))
    with pytest.raises(SettingsError, match=r"mine\.csv, yours\.csv; name one.*all with a wild"):
        read_dataset(tmp_path)
    assert labelled(read_dataset(tmp_path / "*.csv")) == {"a.png": None, "b.png": None}


# Folders of labels are no classes


@pytest.mark.parametrize("deep", ["", "2024/"])
def test_folders_with_files_of_labels_are_no_classes(tmp_path: Path, deep: str) -> None:
    for camera in ("cam1", "cam2"):
        write_images(tmp_path / deep / camera)
        put(tmp_path / deep / camera / "points.csv", long_text(*IMAGES))
    with pytest.raises(SettingsError) as caught:
        read_dataset(tmp_path)
    said = str(caught.value)
    assert f"{deep}cam1/points.csv, {deep}cam2/points.csv" in said
    pattern = said.split("'")[1]
    assert len(labelled(read_dataset(pattern))) == 6, "the remedy works"
    assert len(labelled(read_dataset(tmp_path / deep / "cam1"))) == 3


def test_files_of_a_tool_that_are_read_are_named_to_be_read(tmp_path: Path) -> None:
    for session in ("s1", "s2"):
        write_images(tmp_path / session)
        put(tmp_path / session / "wings.tps", "LM=1\n10.5 8\nIMAGE=a.png\n")
    with pytest.raises(SettingsError, match=r"s1/wings\.tps, s2/wings\.tps; name") as caught:
        read_dataset(tmp_path)
    pattern = str(caught.value).split("'")[1]
    assert [s.image for s in read_dataset(pattern).samples] == ["s1/a.png", "s2/a.png"]


def test_a_file_of_splits_that_contradicts_itself_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path)
    put(tmp_path / "points.csv", long_text(*IMAGES))
    rows = ["image,split", *(f"{image},train" for image in IMAGES)]
    table = put(tmp_path / "splits.csv", "\n".join([*rows, f"{IMAGES[0]},val"]))
    with pytest.raises(LabelError, match="is in 'val' here and in 'train' in row 2"):
        read_dataset(tmp_path / "points.csv", splits=table)
    put(table, "\n".join(["image,split", "*.png,train", f"{IMAGES[0]},val"]))
    read_dataset(tmp_path / "points.csv", splits=table)
    assert f"row 3: '{IMAGES[0]}' is named by rows above already" in caplog.text


@pytest.mark.parametrize("ending", ["json", "xml", "txt", "csv"])
@pytest.mark.parametrize("layout", ["session{}/{}", "train{}/images/{}", "images/train{}/{}"])
def test_folders_with_labels_of_other_tools_are_no_classes(
    tmp_path: Path, ending: str, layout: str
) -> None:
    """A file for each image, beside it or in a folder `labels`."""
    for k in (1, 2):
        for image in IMAGES:
            path = tmp_path / layout.format(k, image)
            write_images(path.parent, path.name)
            sidecar = path.with_suffix(f".{ending}")
            put(Path(str(sidecar).replace("/images/", "/labels/")), '{"shapes": []}')
    with pytest.raises(SettingsError, match="files of another tool in it") as caught:
        read_dataset(tmp_path)
    assert "--format class_folders" in str(caught.value)
    if layout.startswith("session"):
        forced = read_dataset(tmp_path, format="class_folders")
        assert forced.names == ("session1", "session2")


@pytest.mark.parametrize("name", ["labels.h5", "wings.tps", "A.MAT", "project.slp", "table.xlsx"])
@pytest.mark.parametrize("where", ["", "session1/", "session1/deep/"])
def test_folders_beside_labels_of_other_tools_are_no_classes(
    tmp_path: Path, name: str, where: str
) -> None:
    """One file for the whole project, in or above its folders."""
    for session in ("session1", "session2"):
        write_images(tmp_path / session)
    put(tmp_path / where / name, "labels")
    with pytest.raises(SettingsError, match=f"another tool in it.*{where}{name}"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, format="class_folders").names == ("session1", "session2")


@pytest.mark.parametrize(
    ("folders", "says"),
    {
        "a set that is no split": (["train/a", "train/b", "dev/a", "dev/b"], "'train' is a split"),
        "images without labels": (["train/a", "train/b", "new"], "'train' is a split"),
        "folds": (["1/cat", "1/dog", "2/cat", "2/dog"], "hold a folder '(cat|dog)'"),
        "splits within": (["cat/train", "cat/test", "dog/train", "dog/test"], "hold a folder"),
        "images and drawings": (["images", "overlays"], "'images' is no name of a class"),
    }.values(),
)  # fmt: skip
def test_folders_that_may_be_no_classes_are_not_guessed(
    tmp_path: Path, folders: list[str], says: str
) -> None:
    for folder in folders:
        write_images(tmp_path / folder)
    with pytest.raises(SettingsError, match=says) as caught:
        read_dataset(tmp_path)
    assert "--format class_folders" in str(caught.value)
    tops = sorted({folder.partition("/")[0] for folder in folders})
    assert read_dataset(tmp_path, format="class_folders").names == tuple(tops)


@pytest.mark.parametrize("strange", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", ".thumbs"])
def test_folders_of_systems_are_no_classes(tmp_path: Path, strange: str) -> None:
    for name in ("cat", "dog", strange, f"cat/{strange}"):
        write_images(tmp_path / name)
    dataset = read_dataset(tmp_path)
    assert dataset.names == ("cat", "dog") and len(dataset.samples) == 6


def test_images_beside_folders_of_classes_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("cat", "dog", "."):
        write_images(tmp_path / name)
    assert len(read_dataset(tmp_path).samples) == 6
    assert "3 images outside of the folders of classes left out" in caplog.text


def test_a_folder_further_down_is_named(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "data" / name)
    with pytest.raises(SettingsError, match=r"did you mean .*data"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["Labels.CSV", "mine.tsv", "POINTS.csv"])
def test_names_of_files_may_have_capitals(tmp_path: Path, name: str) -> None:
    write_images(tmp_path)
    put(tmp_path / name, long_text(*IMAGES).replace(",", "\t"))
    assert len(labelled(read_dataset(tmp_path))) == 3


# Names of images that systems and spreadsheets change


@pytest.mark.parametrize(
    ("on_disk", "in_table"),
    [
        ("a.png", " a.png "),
        ("IMG_1.JPG.png", "img_1.jpg.png"),
        ("cafe\u0301.png", "caf\u00e9.png"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("deep/A.png", "deep/a.png"),
    ],
)
def test_images_are_found_under_names_that_mean_the_same(
    tmp_path: Path, on_disk: str, in_table: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_images((tmp_path / on_disk).parent, Path(on_disk).name)
    put(tmp_path / "points.csv", long_text(in_table))
    assert list(labelled(read_dataset(tmp_path))) == [on_disk]
    assert "as the folder spells them" in caplog.text


def test_a_name_that_may_mean_two_images_is_not_guessed(tmp_path: Path) -> None:
    write_images(tmp_path, "A.png", "a.png")
    assert list(labelled(read_dataset(put(tmp_path / "points.csv", long_text("a.png"))))) == [
        "a.png"
    ]
    write_images(tmp_path, "B.pNg", "b.png")
    put(tmp_path / "points.csv", long_text("B.png"))
    with pytest.raises(LabelError, match=r"there is no image 'B\.png'"):
        read_dataset(tmp_path)


def test_other_files_in_folders_of_classes_do_not_matter(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name)
        put(tmp_path / name / "README.txt", "photographs of 2024\n")
        put(tmp_path / name / "camera.json", '{"lens": 50}\n')
    assert read_dataset(tmp_path).names == ("cat", "dog")


def test_valid_is_a_split_of_classes(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        for name in ("cat", "dog"):
            write_images(tmp_path / split / name, "a.png")
    dataset = read_dataset(tmp_path)
    assert dataset.names == ("cat", "dog")
    assert {sample.image.split("/")[0]: sample.split for sample in dataset.samples} == {
        "train": "train", "valid": "val", "test": "test",
    }  # fmt: skip


# Formats of others


OUTSIDE = '''
"""A format of classes in lines `image: class`."""

from pathlib import Path

from placewise.formats import Text
from placewise.labels import ClassDataset, ClassSample


class Colons(Text):
    """Lines of image: class."""

    tasks = ("classes",)
    patterns = ("*.colons",)
    endings = (".colons",)

    def recognises(self, path, head):
        return path.suffix == ".colons"

    def read(self, path, root=None):
        pairs = [line.split(": ") for line in path.read_text().splitlines()]
        names = tuple(sorted({name for _, name in pairs}))
        samples = (ClassSample(image, (30, 40), names.index(name)) for image, name in pairs)
        return ClassDataset(Path(root or path.parent), names, tuple(samples), path)

    def losses(self, labels):
        return []

    def text(self, labels):
        return "".join(f"{s.image}: {labels.names[s.label]}\\n" for s in labels.samples)
'''


@pytest.fixture
def outside(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A module with a format that is not in the package, as --plugin imports it."""
    folder = tmp_path_factory.mktemp("plugin")
    put(folder / "colons_module.py", OUTSIDE)
    monkeypatch.syspath_prepend(str(folder))
    load_plugin("colons_module")
    yield "colons_module:Colons"
    PLUGINS.remove(sys.modules.pop("colons_module"))
    assert "colons_module:Colons" not in FORMATS.names()


def test_a_format_outside_the_package_works_like_a_member(tmp_path: Path, outside: str) -> None:
    write_images(tmp_path)
    path = put(tmp_path / "mine.colons", "a.png: cat\nb.png: dog\nc.png: cat\n")
    for dataset in (
        read_dataset(tmp_path),
        read_dataset(path),
        read_dataset(path, format=outside),
        read_dataset(tmp_path, format=outside),
    ):
        assert (dataset.names, dataset.source) == (("cat", "dog"), path)
    said = convert(path, tmp_path / "labels.csv")
    assert said.endswith("written as class_csv")
    said = convert(tmp_path / "labels.csv", tmp_path / "other.colons")
    assert said.endswith(f"written as {outside}")
    assert (tmp_path / "other.colons").read_text() == path.read_text()
    with pytest.raises(SettingsError, match=f"class_csv or {outside}"):
        write_dataset(dataset, tmp_path / "x.txt")
    with pytest.raises(DataError, match="read one at a time"):
        read_dataset(tmp_path / "*.colons")


def test_a_task_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no task is named 'mask'; .*Did you mean 'masks'\?"):
        read_dataset(tmp_path, task="mask")


def test_a_run_is_no_folder_of_labels(tmp_path: Path) -> None:
    """Its files count images, and are no lists of them."""
    for name in ("run.json", "calibration.json"):
        put(tmp_path / "run" / name, '{"images": 2}')
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(SettingsError, match="placewise wrote it; name the file of labels; runs of"):
        read_dataset(tmp_path / "run")


@pytest.mark.parametrize("before", ["/home/me/", "D:\\mice\\", "\\\\host\\share\\", "/x/sub/"])
def test_absolute_paths_of_another_machine_are_found_by_their_ends(
    tmp_path: Path, before: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_images(tmp_path)
    rows = [f"{before}{name}.png,nose,{x},2" for x, name in enumerate("abc")]
    put(tmp_path / "points.csv", "\n".join(["image,keypoint,x,y", *rows]) + "\n")
    with caplog.at_level("INFO", logger="placewise"):
        found = read_dataset(tmp_path)
    assert [s.image for s in found.samples] == ["a.png", "b.png", "c.png"]
    assert [s.points[0, 0, 0] for s in found.samples] == [0, 1, 2]
    assert "images by the ends of absolute paths" in caplog.text
    put(tmp_path / "points.csv", f"image,keypoint,x,y\n{before}z.png,nose,1,2\n")
    with pytest.raises(LabelError, match=r"absolute path|drive letter"):
        read_dataset(tmp_path)
