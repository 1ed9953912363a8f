"""SLEAP's analysis file (`.h5`): places of all tracks in all frames of one video.

Facts (sleap-io 0.9.5, `io/analysis_h5.py`): `tracks` has the axes track, xy, node and frame, unless
its attribute `dims` says another order; `track_occupancy` says which there are. Places count from
the centre of the first pixel.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.formats._collect import Collector, located
from placewise.formats._format import KeypointFormat
from placewise.formats._hdf5 import is_file_of, last_part, nearest, reading, video_there
from placewise.formats._slp import Pairs
from placewise.frames import frame_named
from placewise.hdf5 import Hdf5, Hdf5Error
from placewise.labels import KeypointDataset, Visibility

NAMES = ("tracks", "node_names", "track_occupancy")

MAX_NUMBERS = 1 << 26
"""Most places that are read."""

_TRACKS = ("frame", "track", "node", "xy")
_STORED = {"tracks": ("track", "xy", "node", "frame"), "point_scores": ("track", "node", "frame")}


class SleapAnalysis(KeypointFormat):
    """SLEAP's analysis (.h5): tracks × xy × keypoints × frames of a video.

    Frames without a place are left out. The video is looked for near the file, or in `root`.
    """

    patterns = ("*.h5",)

    def recognises(self, path: Path, head: str) -> bool:
        """HDF5 with tracks, node_names and track_occupancy."""
        return is_file_of(path, NAMES, (".analysis.h5",))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`."""
        collector = Collector(path, root)
        with reading(collector) as file:
            places = _ordered(file, "tracks", _TRACKS)
            scored = file.find("point_scores") is not None
            scores = _ordered(file, "point_scores", _TRACKS[:3]) if scored else None
            names = tuple(name.strip() for name in file.texts("node_names"))
            tracked, stored = bool(file.texts("track_names")), file.texts("video_path")
            edges, symmetry = _edges(file, names), _symmetry(file, names)
            if places.shape[2:] != (len(names), 2) or len(set(names)) < len(names):
                raise Hdf5Error(f"'tracks' has {places.shape[2]} nodes, and {len(names)} are named")
            if scores is not None and scores.shape != places.shape[:3]:
                raise Hdf5Error(f"'point_scores' has the shape {scores.shape}")
        for name in names:
            collector.name(name, 0, "node_names")
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(places).all(-1))
        shown = np.flatnonzero(finite.reshape(len(finite), -1).any(1))
        named = _namer(collector, stored, shown.tolist(), root)
        for frame in shown.tolist():
            image = collector.image(named(frame), 0, f"frame {frame}")
            there = np.flatnonzero(finite[frame].any(1)).tolist()
            for number, track in enumerate(there):
                if tracked:
                    collector.track(image, number, track)
                told = None if scores is None else scores[frame, track]
                _mark(collector, image, number, names, places[frame, track], told)
        return collector.labels(names, symmetry or None, edges)


def _ordered(file: Hdf5, name: str, wanted: tuple[str, ...]) -> NDArray[np.float64]:
    """An array with its axes in the order that is wanted."""
    if np.prod(file.shape(name), dtype=float) > MAX_NUMBERS:
        raise Hdf5Error(f"{name!r} has the shape {file.shape(name)}, which is too much")
    told = file.attributes(name).get("dims")
    dims = tuple(json.loads(told)) if told else _STORED[name]
    values = file.array(name)
    if values.ndim != len(wanted) or set(dims) != set(wanted) or values.dtype.kind not in "iuf":
        raise Hdf5Error(f"{name!r} has the axes {dims} and the shape {values.shape}")
    return values.transpose([dims.index(axis) for axis in wanted]).astype(np.float64)


def _edges(file: Hdf5, names: tuple[str, ...]) -> Pairs:
    if file.find("edge_inds") is None or file.shape("edge_inds")[1:] != (2,):
        return ()
    pairs = file.array("edge_inds").astype(int).tolist()
    return tuple(
        (names[a], names[b])
        for a, b in pairs
        if a != b and 0 <= min(a, b) <= max(a, b) < len(names)
    )


def _symmetry(file: Hdf5, names: tuple[str, ...]) -> Pairs:
    """Mirrored pairs, which newer files name in an attribute."""
    told: Any = file.attributes().get("skeleton_symmetries")
    free, pairs = set(names), []
    for pair in json.loads(told) if told else ():
        if len(pair) == 2 and set(pair) <= free and pair[0] != pair[1]:
            pairs.append((str(pair[0]), str(pair[1])))
            free -= set(pair)
    return tuple(pairs)


def _namer(
    collector: Collector, stored: list[str], frames: list[int], root: Path | None
) -> Callable[[int], str]:
    """What the image of a frame is called: a frame of the video, or one of the images."""
    collector.root = nearest(collector, stored, root)
    names = [located(collector.root, name) or last_part(name) for name in stored]
    if len(names) > 1:
        if frames and frames[-1] >= len(names):
            got = f"{len(names)} images are named, and frame {frames[-1]} has a place"
            collector.fault(0, "video_path", got, "write the file again with SLEAP")
            collector.stop()
        return lambda frame: names[frame]
    video = names[0] if names and names[0] else "video"
    if not video_there(collector, video, frames):
        collector.stop()
    return lambda frame: frame_named(video, frame)


def _mark(
    collector: Collector,
    image: str | None,
    number: int,
    names: tuple[str, ...],
    points: NDArray[np.float64],
    scores: NDArray[np.float64] | None,
) -> None:
    """The keypoints of an instance."""
    for k, name in enumerate(names):
        x, y = points[k].tolist()
        if np.isfinite(x) and np.isfinite(y):
            collector.within(image, (x, y), 0, name)
            score = np.nan if scores is None else float(scores[k])
            collector.mark(image, (number, name, Visibility.VISIBLE, x, y, score))
        else:
            nothing = np.nan, np.nan, np.nan
            collector.mark(image, (number, name, Visibility.UNLABELLED, *nothing))
