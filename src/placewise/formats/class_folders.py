"""A folder of images, recordings or volumes for each class, in folders for the splits or without.

```
pets/cat/a.png               pets/train/cat/a.png            words/yes/a.wav
pets/dog/b.png               pets/test/dog/b.png             words/no/b.wav
```
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from placewise.errors import ImageError
from placewise.formats._collect import Collector, split_named, subfolders
from placewise.formats._format import Format
from placewise.images import is_image_name
from placewise.labels import ClassDataset
from placewise.labels.names import shown
from placewise.readers import list_files

_NO_CLASSES = (
    *("images", "image", "imgs", "masks", "mask", "labels", "annotations", "overlays"),
    *("jpegimages", "segmentationclass", "segmentationobject", "ground_truth", "groundtruth"),
    *("imagestr", "imagests", "labelstr", "labelsts"),
)
"""Names that folders of images have where they are something else, in small letters."""

_AXES = {2: "image", 1: "recording", 3: "volume"}
"""What the files of a class are, by their number of axes; the first that a folder holds counts."""

_TELLING = (".wav", ".wave", ".hea", ".nii", ".nii.gz")
"""Endings of recordings and volumes that are nothing else; others need `--format class_folders`."""


class ClassFolders(Format):
    """A folder for each class: CLASS/images, or train/CLASS/images, test/CLASS/images.

    In place of images they may hold recordings (wav, WFDB, npz, csv) or volumes (NIfTI, npz). The
    files may lie in subfolders of their class. Hidden folders are left out.
    """

    tasks = ("classes",)
    whole_folders = True

    def recognises(self, path: Path, head: str) -> bool:
        """No file is one."""
        return False

    def recognises_folder(self, path: Path) -> bool:
        """Images, or files that are surely recordings or volumes, in two subfolders at least."""
        folders = (folder for group, _ in _groups(path) for folder in subfolders(group))
        showing = (folder for folder in folders if _shows(folder))
        return len(list(islice(showing, 2))) == 2

    def doubt(self, path: Path) -> str:
        """What speaks against its folders being the classes."""
        folders = [folder for group, _ in _groups(path) for folder in subfolders(group)]
        within = {f: {one.name for one in subfolders(f) if _shows(one)} for f in folders}
        named = [f.name for f in folders if f.name.lower() in _NO_CLASSES]
        if named:
            return f"'{named[0]}' is no name of a class"
        splits = [f.name for f, names in within.items() if names and split_named(f.name)]
        if splits:
            return f"'{splits[0]}' is a split, and other folders beside it are none"
        counts = Counter(name for names in within.values() for name in names)
        twice = [name for name, count in counts.items() if count > 1]
        return f"several of its folders hold a folder '{twice[0]}'" if twice else ""

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read classes from the names of folders; see `Format.read`."""
        collector = Collector(path)
        if not path.is_dir():
            todo = "name the folder that holds a folder for each class"
            collector.fault(0, "folder", "this is a file", todo)
            collector.stop()
        groups = _groups(path)
        folders = [folder for group, _ in groups for folder in subfolders(group)]
        axes = next((axes for axes in _AXES if any(_files(f, axes) for f in folders)), 2)
        for group, split in groups:
            for folder in subfolders(group):
                _read_class(collector, folder, split, axes)
            loose = sum(is_image_name(one.name) and one.is_file() for one in group.iterdir())
            if loose:
                collector.assume(f"{loose} images outside of the folders of classes left out")
        return collector.class_labels()


def _read_class(collector: Collector, folder: Path, split: str, axes: int) -> None:
    """The files of one class, in natural order."""
    files, what = _files(folder, axes), _AXES[axes]
    if not files:
        todo = f"put {what}s of this class there, or take the folder out"
        where = folder.relative_to(collector.root).as_posix()
        collector.fault(0, shown(where), f"the folder holds no {what}", todo)
    for file in files:
        name = file.relative_to(collector.root).as_posix()
        image = collector.image(name, 0, what)
        collector.label(image, folder.name, 0, "class")
        collector.split(image, split, 0, "split")


def _groups(path: Path) -> list[tuple[Path, str]]:
    """(folder that holds the classes, its split), one for each split where there are some."""
    folders = subfolders(path)
    if folders and all(split_named(folder.name) for folder in folders):
        return [(folder, folder.name) for folder in folders]
    return [(path, "")]


def _files(folder: Path, axes: int) -> list[Path]:
    """Images, signals or volumes of a folder and below it, in natural order."""
    try:
        return list_files(folder, axes)
    except ImageError:
        return []


def _shows(folder: Path) -> bool:
    """Whether a folder, or one below it, holds an image or what is surely a recording or volume."""
    others = (file for axes in (1, 3) for file in _files(folder, axes))
    return bool(_files(folder, 2)) or any(f.name.lower().endswith(_TELLING) for f in others)
