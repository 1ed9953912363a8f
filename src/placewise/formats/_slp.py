"""The parts of a file of SLEAP: skeletons, videos, frames, instances and points.

Facts: sleap-io 0.9.5, `io/slp.py` and `io/skeleton.py`. The skeleton is a graph as jsonpickle
writes it; nothing of it is built but names and pairs of numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.formats._collect import Collector, located
from placewise.formats._hdf5 import EXPORT, last_part, nearest, video_there
from placewise.frames import frame_named
from placewise.frames.package import Part, parts
from placewise.hdf5 import Hdf5
from placewise.labels.names import shown

USER, PREDICTED = 0, 1
"""Types of instances."""

EDGE, SYMMETRY = 1, 2
"""Types of links between nodes."""

NEWEST = 3.0
"""Formats from this one on are not read; until then what is new only adds to the file."""

CENTERED = 1.1
"""Format from which on places count from the centre of the first pixel."""

_GROUP = re.compile(r"video(\d+)(/video)?")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Skeleton:
    """Nodes in the order of an instance's points, what is drawn joined, and mirrored pairs."""

    names: tuple[str, ...]
    edges: Pairs
    symmetry: Pairs


def skeletons_of(metadata: Any) -> list[Skeleton]:
    """The skeletons of a file, from its JSON."""
    names = [str(node["name"]).strip() for node in metadata["nodes"]]
    return [_skeleton(one.get("nx_graph", one), names) for one in metadata["skeletons"]]


def _skeleton(graph: Any, names: Sequence[str]) -> Skeleton:
    """A graph whose links refer to a type by `py/id` once it has been written out."""
    found: dict[int, list[tuple[str, str]]] = {EDGE: [], SYMMETRY: []}
    types: dict[int, int] = {}
    order = tuple(names[int(node["id"])] for node in graph["nodes"])
    for link in graph["links"]:
        told = link["type"]
        if "py/reduce" in told:
            kind = int(told["py/reduce"][1]["py/tuple"][0])
            types[len(types) + 1] = kind
        else:
            kind = types.get(int(told["py/id"]), int(told["py/id"]))
        pair = names[int(link["source"])], names[int(link["target"])]
        if kind in found and pair[0] != pair[1] and set(pair) <= set(order):
            found[kind].append(pair)
    free, symmetry = set(order), []
    for pair in found[SYMMETRY]:  # older files have each pair in both directions
        if set(pair) <= free:
            symmetry.append(pair)
            free -= set(pair)
    return Skeleton(order, tuple(dict.fromkeys(found[EDGE])), tuple(symmetry))


def joined(collector: Collector, skeletons: Sequence[Skeleton]) -> Skeleton:
    """The one skeleton of all instances; a fault where there are several with other nodes."""
    first = skeletons[0] if skeletons else Skeleton((), (), ())
    for other in skeletons[1:]:
        if set(other.names) != set(first.names):
            got = f"its instances have {len(skeletons)} skeletons with different nodes"
            collector.fault(0, "skeletons", got, "keep one of them in SLEAP, and save it anew")
            break
    for name in first.names:
        collector.name(name, 0, "nodes")
    if len(set(first.names)) < len(first.names):
        collector.fault(0, "skeletons", "two nodes have one name", "rename one in SLEAP")
    return first


@dataclass(frozen=True)
class Video:
    """A video of a file.

    Attributes:
        number: by which frames name it.
        files: paths of its images, or of the one file.
        dataset: in which the images are, of an HDF5 file.
        source: the video that embedded images come from.
    """

    number: int
    files: tuple[str, ...]
    several: bool
    dataset: str = ""
    source: Video | None = None

    @property
    def embedded(self) -> bool:
        """Whether the images are in the file of labels itself."""
        return self.files == (".",)


def videos_of(file: Hdf5, metadata: Any) -> list[Video]:
    """The videos of a file."""
    told = [json.loads(text) for text in file.texts("videos_json")] or metadata.get("videos") or []
    videos = [_video(one, number) for number, one in enumerate(told)]
    numbers = [video.number for video in videos]
    if len(set(numbers)) == len(numbers):
        return videos
    return [Video(i, v.files, v.several, v.dataset, v.source) for i, v in enumerate(videos)]


def _video(told: Any, number: int) -> Video:
    backend = told.get("backend") or {}
    files = backend.get("filenames") or backend.get("filename") or told.get("filename") or ""
    several = isinstance(files, list)
    named = tuple(map(str, files)) if several else (str(files),)
    dataset = str(backend.get("dataset") or "").strip("/")
    group = _GROUP.fullmatch(dataset)
    source = told.get("source_video") or told.get("original_video")
    below = _video(source, number) if isinstance(source, dict) else None
    number = int(group[1]) if group and named == (".",) else number
    dataset = f"{dataset}/video" if group and not group[2] else dataset
    return Video(number, named, several, dataset, below)


def root_of(collector: Collector, videos: Sequence[Video], root: Path | None) -> Path:
    """The folder of the images: the file's own where they are in it, else where they are found."""
    if root is not None or any(video.embedded for video in videos):
        return collector.path.parent if root is None else root
    return nearest(collector, [name for video in videos for name in video.files], root)


def names_of(
    collector: Collector, video: Video, frames: Sequence[int]
) -> Callable[[int], str | None]:
    """What an image of a video is called; None where there is none, which is a fault.

    Args:
        collector: takes the faults; its root is the folder of the images.
        video: the video.
        frames: those that are labelled.
    """
    root = collector.root
    if video.several:
        names = [located(root, name) or last_part(name) for name in video.files]
        return lambda frame: names[frame] if 0 <= frame < len(names) else None
    own = collector.path.absolute()
    if video.embedded and not own.is_relative_to(root.absolute()):
        got = f"its images are in it, and it is not in {root}"
        collector.fault(0, "file", got, "leave --root out, or name a folder that holds the file")
        collector.stop()
    stored = own.relative_to(root.absolute()).as_posix() if video.embedded else video.files[0]
    file = stored if video.embedded else located(root, stored) or last_part(stored)
    if video.dataset and (root / file).is_file():
        part = next((one for one in parts(root / file) if one.dataset == video.dataset), None)
        return _in_package(collector, video, file, part, frames)
    if video_there(collector, file, frames):
        return lambda frame: frame_named(file, frame)
    return lambda frame: None


def _in_package(
    collector: Collector, video: Video, file: str, part: Part | None, frames: Sequence[int]
) -> Callable[[int], str | None]:
    """Names of images in an HDF5 file; of frames that are not in it, those of their video."""
    rows = {frame: part.start + i for i, frame in enumerate(part.frames)} if part else {}
    missing = [frame for frame in frames if frame not in rows]
    other: Callable[[int], str | None] = lambda frame: None  # noqa: E731
    if missing and video.source:
        other = names_of(collector, video.source, missing)
    elif missing:
        got = f"{len(missing):,} labelled frames have no image in {shown(video.dataset)}"
        collector.fault(0, "videos", got, "save the package again with all labelled frames")
    return lambda frame: frame_named(file, rows[frame]) if frame in rows else other(frame)


@dataclass(frozen=True)
class Tables:
    """The tables of a file: frames, instances, points of people and of networks."""

    frames: NDArray[Any]
    instances: NDArray[Any]
    points: NDArray[Any]
    predicted: NDArray[Any]


def tables_of(collector: Collector, file: Hdf5) -> Tables:
    """The tables, whose columns and numbers of rows fit together."""
    wanted = {
        "frames": ("video", "frame_idx", "instance_id_start", "instance_id_end"),
        "instances": ("instance_type", "skeleton", "track", "point_id_start", "point_id_end"),
        "points": ("x", "y", "visible"),
        "pred_points": ("x", "y", "visible", "score"),
    }
    found = {}
    for name, columns in wanted.items():
        if name == "pred_points" and file.find(name) is None:
            found[name] = np.empty(0, [(column, "f8") for column in columns])
            continue
        found[name] = table = file.array(name)
        lacking = [column for column in columns if column not in (table.dtype.names or ())]
        if lacking or table.ndim != 1:
            got = f"the table has no columns {', '.join(lacking)}"
            collector.fault(0, name, got, EXPORT)
    if collector.faults:
        collector.stop()
    return Tables(found["frames"], found["instances"], found["points"], found["pred_points"])
