"""What the formats that are HDF5 files share: recognising, faults, and where videos are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from placewise.errors import ImageError, PlacewiseError
from placewise.formats._collect import LOOKED_AT, Collector, located
from placewise.frames import frame_named
from placewise.hdf5 import Hdf5, Hdf5Error, has_h5py, is_hdf5, opened, root_names
from placewise.labels import Files
from placewise.labels.names import normal, shown

UP = 3
"""Levels above the file's folder that are tried as the folder of its videos and images."""

EXPORT = "export it again with the tool that wrote it"


def is_file_of(path: Path, names: Iterable[str], endings: Sequence[str]) -> bool:
    """Whether a file is HDF5 and has these names at its top; without h5py, whether it may."""
    if not (path.is_file() and is_hdf5(path)):
        return False
    if not has_h5py():
        return path.name.lower().endswith(tuple(endings))
    return set(names) <= root_names(path)


@contextmanager
def reading(collector: Collector) -> Iterator[Hdf5]:
    """The file of a collector; whatever is wrong in it becomes a fault.

    Raises:
        LabelError: what is wrong in the file.
        SettingsError: h5py is not installed.
    """
    try:
        with opened(collector.path) as file:
            yield file
    except Hdf5Error as error:
        collector.fault(0, "file", str(error), EXPORT)
        collector.stop()
    except PlacewiseError:
        raise
    except Exception as error:  # h5py and damaged numbers raise any kind
        reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
        collector.fault(0, "file", f"it is damaged and cannot be read ({reason})", EXPORT)
        collector.stop()


def folders_of(path: Path, root: Path | None) -> list[Path]:
    """Folders that may be that of the images: the named one, else the file's and some above it."""
    if root is not None:
        return [root]
    home = path.absolute().parent
    above = [home, *list(home.parents)[:UP]]
    return [path.parent, *(folder for folder in above[1:] if folder != folder.parent)]


def nearest(collector: Collector, stored: Sequence[str], root: Path | None) -> Path:
    """The folder in which the most of these files are found; see `located`."""
    looked = stored[:: max(1, len(stored) // LOOKED_AT)]
    folders = folders_of(collector.path, root)
    counts = [sum(located(folder, name) is not None for name in looked) for folder in folders]
    return folders[counts.index(max(counts, default=0))] if any(counts) else folders[0]


def last_part(stored: str) -> str:
    """The name of a file without its folders, whatever system wrote the path."""
    return normal(stored).rpartition("/")[2]


def video_there(collector: Collector, video: str, frames: Sequence[int]) -> bool:
    """Whether a video and its first labelled frame can be read; one fault where not."""
    got = ""
    if not (collector.root / video).is_file():
        got = f"there is no video {shown(video)} in {collector.root}"
        todo = "put it there, or name its folder with --root (root=)"
    else:
        try:
            Files(collector.root).size(frame_named(video, min(frames, default=0)))
        except ImageError as error:
            got, todo = str(error), "or save its labelled frames as images"
    if got:
        collector.fault(0, f"{len(frames):,} frames of {shown(video)}", got, todo)
    return not got
