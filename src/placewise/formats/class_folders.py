"""A folder of images for each class, in folders for the splits or without.

```
pets/cat/a.png               pets/train/cat/a.png
pets/dog/b.png               pets/test/dog/b.png
```
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from placewise.errors import ImageError
from placewise.formats._collect import Collector, split_named, subfolders
from placewise.formats._format import Format
from placewise.images import list_images
from placewise.labels import ClassDataset
from placewise.labels.names import shown


class ClassFolders(Format):
    """A folder for each class: CLASS/images, or train/CLASS/images, test/CLASS/images.

    The images may lie in subfolders of their class. Hidden folders are left out.
    """

    task = "classes"
    whole_folders = True

    def recognises(self, path: Path, head: str) -> bool:
        """No file is one."""
        return False

    def recognises_folder(self, path: Path) -> bool:
        """Images in two subfolders at least."""
        folders = (folder for group, _ in _groups(path) for folder in subfolders(group))
        showing = (folder for folder in folders if _shows(folder))
        return len(list(islice(showing, 2))) == 2

    def read(self, path: Path, root: Path | None = None) -> ClassDataset:
        """Read classes from the names of folders; see `Format.read`."""
        collector = Collector(path)
        if not path.is_dir():
            todo = "name the folder that holds a folder for each class"
            collector.fault(0, "folder", "this is a file", todo)
            collector.stop()
        for group, split in _groups(path):
            for folder in subfolders(group):
                _read_class(collector, folder, split)
        return collector.class_labels()


def _read_class(collector: Collector, folder: Path, split: str) -> None:
    """The images of one class, in natural order."""
    try:
        files = list_images(folder)
    except ImageError:
        todo = "put images of this class there, or take the folder out"
        where = folder.relative_to(collector.root).as_posix()
        collector.fault(0, shown(where), "the folder holds no image", todo)
        return
    for file in files:
        name = file.relative_to(collector.root).as_posix()
        image = collector.image(name, 0, "image")
        collector.label(image, folder.name, 0, "class")
        collector.split(image, split, 0, "split")


def _groups(path: Path) -> list[tuple[Path, str]]:
    """(folder that holds the classes, its split), one for each split where there are some."""
    folders = subfolders(path)
    if folders and all(split_named(folder.name) for folder in folders):
        return [(folder, folder.name) for folder in folders]
    return [(path, "")]


def _shows(folder: Path) -> bool:
    """Whether there is an image in a folder or below it."""
    try:
        return bool(list_images(folder))
    except ImageError:
        return False
