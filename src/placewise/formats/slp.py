"""SLEAP: labels in `.slp`, also with their images in the file (`.pkg.slp`).

Facts (sleap-io 0.9.5, `io/slp.py`): from format 1.1 on places count from the centre of the first
pixel, before from its corner. A point that is not `visible` is hidden or absent with a place that
means nothing, so it is read as not labelled. Instances are of type 0 (a person) or 1 (a network).
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.formats._collect import Collector
from placewise.formats._format import WrittenKeypoints
from placewise.formats._hdf5 import EXPORT, is_file_of, reading
from placewise.formats._losses import check_images, losses_of
from placewise.formats._slp import (
    CENTERED,
    EDGE,
    NEWEST,
    PREDICTED,
    SYMMETRY,
    USER,
    Skeleton,
    Tables,
    joined,
    names_of,
    root_of,
    skeletons_of,
    tables_of,
    videos_of,
)
from placewise.frames.package import parts
from placewise.hdf5 import has_h5py, is_hdf5, needs_h5py
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.sources import file_of

FORMAT = 1.4
"""Of the files that are written: the newest that SLEAP 1.4 and sleap-io 0.5 read."""

MAX_METADATA = 64_000
"""Most bytes of names and skeleton: an attribute of HDF5 has at most 64 KiB."""

_FRAMES = [(n, "u4" if n == "video" else "u8") for n in "frame_id video frame_idx".split()]
_FRAMES += [("instance_id_start", "u8"), ("instance_id_end", "u8")]
_INSTANCES = [
    ("instance_id", "i8"),
    ("instance_type", "u1"),
    ("frame_id", "u8"),
    ("skeleton", "u4"),
    ("track", "i4"),
    ("from_predicted", "i8"),
    ("score", "f4"),
    ("point_id_start", "u8"),
    ("point_id_end", "u8"),
    ("tracking_score", "f4"),
]
_POINTS = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]
_ROWS = ("frames", "instances", "points", "videos_json", "metadata")


class Slp(WrittenKeypoints):
    """SLEAP's labels (.slp), also with images (.pkg.slp): instances, tracks, skeleton.

    What people labelled is read; predictions are where nobody labelled anything.
    """

    endings = (".slp",)
    patterns = ("*.slp", "*.h5")

    def recognises(self, path: Path, head: str) -> bool:
        """HDF5 with SLEAP's tables."""
        return is_file_of(path, _ROWS, (".slp",))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels; see `Format.read`.

        Images are found by the ends of the paths in the file: in its folder, or one of three above
        it, or in `root`.
        """
        collector = Collector(path, root)
        with reading(collector) as file:
            told = file.attributes("metadata")
            metadata, version = json.loads(told["json"]), float(told.get("format_id") or 1.0)
            if version >= NEWEST:
                got = f"format {version:g} of SLEAP is newer than what is read (below {NEWEST:g})"
                collector.fault(0, "format_id", got, "save it with an older version of SLEAP")
                collector.stop()
            if version < CENTERED:
                collector.from_corner("SLEAP before 1.1")
            skeletons, tables = skeletons_of(metadata), tables_of(collector, file)
            chosen = _chosen(collector, tables)
            used = sorted({int(tables.instances["skeleton"][i]) for _, row in chosen for i in row})
            skeleton = joined(collector, [skeletons[i] for i in used] or skeletons[:1])
            videos = videos_of(file, metadata)
        if collector.faults:
            collector.stop()
        collector.root = root_of(collector, videos, root)
        wanted: dict[int, list[int]] = defaultdict(list)
        for number, _ in chosen:
            frame = tables.frames[number]
            wanted[int(frame["video"])].append(int(frame["frame_idx"]))
        by = {
            video.number: names_of(collector, video, wanted[video.number])
            for video in videos
            if video.number in wanted
        }
        if collector.faults:
            collector.stop()
        count: Counter[str | None] = Counter()
        for number, row in chosen:
            frame = tables.frames[number]
            field, named = f"frames[{number}]", by.get(int(frame["video"]))
            name = named(int(frame["frame_idx"])) if named else None
            if name is None:
                collector.fault(0, field, "it is of no video of the file", EXPORT)
                continue
            image = collector.image(name, 0, field, once=False)
            for i in row:
                _read_instance(collector, image, count[image], i, tables, skeletons)
                count[image] += 1
        return collector.labels(skeleton.names, skeleton.symmetry or None, skeleton.edges)

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Hidden and absent, a split, areas, regions, objects without a keypoint."""
        keeps = {"tracks", "scores", "skeleton", *(["symmetry"] if labels.symmetry else [])}
        return losses_of(labels, keeps)

    def content(self, labels: KeypointDataset) -> bytes:
        """Tables, skeleton and videos; see `Written.content`."""
        check_images(labels, "SLEAP")
        if not has_h5py():
            needs_h5py("SLEAP's files")
        import h5py

        buffer = BytesIO()
        with h5py.File(buffer, "w") as file:
            group = file.create_group("metadata")
            group.attrs["format_id"] = FORMAT
            group.attrs["json"] = np.bytes_(_metadata(labels))
            videos, places = _videos(labels)
            _write_texts(file, "videos_json", videos)
            _write_texts(file, "tracks_json", [f'[0,"track_{i}"]' for i in _tracks(labels)])
            _write_texts(file, "suggestions_json", [])
            for name, table in _tables(labels, places).items():
                file.create_dataset(name, data=table)
        return buffer.getvalue()


def _chosen(collector: Collector, tables: Tables) -> list[tuple[int, list[int]]]:
    """Frames that are read, each with its instances: those of people, else of networks.

    A frame on which there are only instances that are not read is left out.
    """
    kinds = tables.instances["instance_type"]
    kind = USER if (kinds == USER).any() or not len(kinds) else PREDICTED
    if kind == PREDICTED:
        collector.assume("predictions, since nobody labelled an instance")
    found = []
    for number, frame in enumerate(tables.frames):
        start, stop = int(frame["instance_id_start"]), int(frame["instance_id_end"])
        if not 0 <= start <= stop <= len(kinds):
            collector.fault(0, f"frames[{number}]", "it has instances that do not exist", EXPORT)
            continue
        row = [i for i in range(start, stop) if kinds[i] == kind]
        if row or start == stop:
            found.append((number, row))
    return found


def _read_instance(
    collector: Collector,
    image: str | None,
    number: int,
    index: int,
    tables: Tables,
    skeletons: list[Skeleton],
) -> None:
    """The keypoints of an instance."""
    told = tables.instances[index]
    points = tables.points if told["instance_type"] == USER else tables.predicted
    start, stop = int(told["point_id_start"]), int(told["point_id_end"])
    names = skeletons[int(told["skeleton"])].names
    field = f"instances[{index}]"
    if not 0 <= start <= stop <= len(points) or stop - start != len(names):
        got = f"it has {stop - start} points, and its skeleton {len(names)} nodes"
        collector.fault(0, field, got, EXPORT)
        return
    if int(told["track"]) >= 0:
        collector.track(image, number, int(told["track"]))
    scored = points is tables.predicted
    block = points[start:stop]
    scores = block["score"].tolist() if scored else [np.nan] * len(block)
    told_of = (block["x"].tolist(), block["y"].tolist(), block["visible"].tolist(), scores)
    for name, x, y, visible, score in zip(names, *told_of, strict=True):
        if visible and math.isfinite(x) and math.isfinite(y):
            collector.within(image, (x, y), 0, f"{field}, {name}")
            collector.mark(image, (number, name, Visibility.VISIBLE, x, y, score))
        else:
            collector.mark(image, (number, name, Visibility.UNLABELLED, *[math.nan] * 3))


def _metadata(labels: KeypointDataset) -> bytes:
    """Nodes, and the skeleton as a graph in the words of jsonpickle."""
    index = {name: i for i, name in enumerate(labels.names)}
    links: list[dict[str, Any]] = []
    types: list[int] = []
    for kind, pairs in ((EDGE, labels.skeleton), (SYMMETRY, labels.symmetry)):
        for number, (source, target) in enumerate(pairs):
            if kind in types:
                told: dict[str, Any] = {"py/id": types.index(kind) + 1}
            else:
                types.append(kind)
                made = {"py/type": "sleap.skeleton.EdgeType"}, {"py/tuple": [kind]}
                told = {"py/reduce": list(made)}
            order = {"edge_insert_idx": number} if kind == EDGE else {}
            ends = {"key": 0, "source": index[source], "target": index[target]}
            links.append({**order, **ends, "type": told})
    graph = {
        "directed": True,
        "graph": {"name": "placewise", "num_edges_inserted": len(labels.skeleton)},
        "links": links,
        "multigraph": True,
        "nodes": [{"id": i} for i in index.values()],
    }
    nodes = [{"name": name, "weight": 1.0} for name in labels.names]
    empty: dict[str, Any] = {"videos": [], "tracks": [], "suggestions": [], "negative_anchors": {}}
    content = {"version": "2.0.0", "skeletons": [graph], "nodes": nodes, **empty, "provenance": {}}
    text = json.dumps(content, separators=(",", ":")).encode()
    if len(text) > MAX_METADATA:
        raise SettingsError(
            f"the names and joints of {len(labels.names)} keypoints take {len(text):,} bytes, and "
            f"SLEAP's files hold {MAX_METADATA:,}; shorten the names, or write coco"
        )
    return text


def _videos(labels: KeypointDataset) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The videos as JSON, and for each image the number of its video and frame.

    Images of one size are one video of images, as SLEAP opens them.
    """
    images: dict[tuple[int, ...], list[str]] = defaultdict(list)
    frames: dict[str, list[str]] = defaultdict(list)
    for sample in labels.samples:
        file = file_of(sample.image)
        alone = file == sample.image
        (images[sample.size] if alone else frames[file]).append(sample.image)
    home = labels.root.resolve()
    told: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    for size, names in images.items():
        paths = [(home / name).as_posix() for name in names]
        shape = {"height_": size[0], "width_": size[1], "channels_": 3}
        backend = {"type": "ImageVideo", "filename": paths[0], "filenames": paths, **shape}
        places |= {name: (len(told), i) for i, name in enumerate(names)}
        told.append(json.dumps({"filename": paths, "backend": {**backend, "grayscale": None}}))
    for file, names in frames.items():
        for dataset, numbers in _frames(home / file, names).items():
            path = (home / file).as_posix()
            backend = {"type": "MediaVideo", "filename": path, "grayscale": None}
            if dataset:
                kind = {"type": "HDF5Video", "dataset": dataset, "input_format": "channels_last"}
                backend = {**backend, **kind, "convert_range": False}
            places |= {name: (len(told), number) for name, number in numbers.items()}
            told.append(json.dumps({"filename": path, "backend": backend}))
    return told, places


def _frames(path: Path, names: list[str]) -> dict[str, dict[str, int]]:
    """Numbers of frames by dataset and name; the dataset is empty for a video."""
    wanted = {name: int(name[:-1].rpartition("[")[2]) for name in names}
    if not is_hdf5(path):
        return {"": wanted}
    found: dict[str, dict[str, int]] = {}
    for part in parts(path):
        rows = {n: part.frames[k - part.start] for n, k in wanted.items() if part.holds(k)}
        found |= {part.dataset: rows} if rows else {}
    return found


def _write_texts(file: Any, name: str, texts: list[str]) -> None:
    import h5py

    file.create_dataset(name, data=[text.encode() for text in texts], dtype=h5py.string_dtype())


def _tables(labels: KeypointDataset, places: dict[str, tuple[int, int]]) -> dict[str, NDArray[Any]]:
    """The tables of frames, instances and points."""
    frames: list[tuple[Any, ...]] = []
    instances: list[tuple[Any, ...]] = []
    points: dict[int, list[tuple[Any, ...]]] = {USER: [], PREDICTED: []}
    kind = PREDICTED if labels.scored else USER
    tracks = {-1: -1, **{identity: i for i, identity in enumerate(_tracks(labels))}}
    for number, sample in enumerate(labels.samples):
        start = len(instances)
        for i in np.flatnonzero(sample.located.any(1)).tolist():
            first, scores = len(points[kind]), _scores(sample, i)
            for k, seen in enumerate(sample.located[i].tolist()):
                row = (*sample.points[i, k], seen, seen)
                points[kind].append((*row, scores[k]) if kind == PREDICTED else row)
            known = scores[np.isfinite(scores)]
            mean = float(known.mean()) if len(known) else 0.0
            track = -1 if sample.tracks is None else tracks[int(sample.tracks[i])]
            told = (len(instances), kind, number, 0, track, -1, mean)
            instances.append((*told, first, len(points[kind]), np.nan))
        frames.append((number, *places[sample.image], start, len(instances)))
    return {
        "frames": np.array(frames, _FRAMES),
        "instances": np.array(instances, _INSTANCES),
        "points": np.array(points[USER], _POINTS),
        "pred_points": np.array(points[PREDICTED], [*_POINTS, ("score", "f8")]),
    }


def _tracks(labels: KeypointDataset) -> list[int]:
    """The identities, each of which becomes a track; in the file they have numbers from 0."""
    told = [sample.tracks for sample in labels.samples if sample.tracks is not None]
    return sorted({int(one) for tracks in told for one in tracks if one >= 0})


def _scores(sample: KeypointSample, instance: int) -> NDArray[np.float64]:
    """Scores of the keypoints of an instance; NaN where there are none."""
    if sample.scores is None:
        return np.full(sample.points.shape[1], np.nan)
    return np.asarray(sample.scores[instance], np.float64)
