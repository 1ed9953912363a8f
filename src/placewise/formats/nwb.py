"""NWB with ndx-pose: labels as PoseTraining, predictions as PoseEstimation.

Facts (ndx-pose 0.4, `spec/ndx-pose.extensions.yaml`; NWB 2): a training frame links to its video
and says the number of its frame there; an instance has `node_locations` and `node_visibility`. A
series of PoseEstimation has the places of one node in all frames. Places count from the centre of
the first pixel, which `reference_frame` says. The file is written with h5py; see decision 26.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from placewise.formats._collect import Collector, located
from placewise.formats._format import WrittenKeypoints
from placewise.formats._hdf5 import is_file_of, last_part, nearest, reading, video_there
from placewise.formats._losses import check_images, losses_of
from placewise.formats._nwb import COUNTED, series_named, written
from placewise.frames import frame_named
from placewise.hdf5 import Hdf5, Hdf5Error, glanced, has_h5py, needs_h5py
from placewise.images import is_image_name
from placewise.labels import KeypointDataset, Visibility
from placewise.wording import natural

KINDS = ("PoseTraining", "PoseEstimation")

Pairs = tuple[tuple[str, str], ...]
_Namer = Callable[[int], str | None]


class Nwb(WrittenKeypoints):
    """NWB with ndx-pose (.nwb): PoseTraining for labels, PoseEstimation for predictions.

    Hidden keypoints keep their places.
    """

    endings = (".nwb",)
    patterns = ("*.nwb",)

    def recognises(self, path: Path, head: str) -> bool:
        """NWB that holds poses."""
        if not is_file_of(path, ("processing", "session_start_time"), (".nwb",)):
            return False
        return not has_h5py() or bool(_poses_of(path))

    def read(self, path: Path, root: Path | None = None) -> KeypointDataset:
        """Read labels, else predictions; see `Format.read`."""
        collector = Collector(path, root)
        with reading(collector) as file:
            found = _groups(file)
            labels = [where for where, kind in found if kind == KINDS[0]]
            poses = [where for where, kind in found if kind == KINDS[1]]
            reader = _Reader(collector, file, root)
            for where in labels[:1] or poses:
                (reader.training if labels else reader.estimation)(where)
            if len(labels) > 1 or (labels and poses):
                collector.assume(f"{labels[0].rpartition('/')[2]} alone")
        return collector.labels(reader.names, None, reader.edges)

    def losses(self, labels: KeypointDataset) -> list[str]:
        """Absent keypoints, a split, identities of labels, areas, regions."""
        scored = labels.scored
        keeps = {"skeleton", *(["scores", "tracks"] if scored else ["hidden"])}
        return losses_of(labels, keeps)

    def content(self, labels: KeypointDataset) -> bytes:
        """A file of NWB; see `Written.content`."""
        check_images(labels, "NWB")
        if not has_h5py():
            needs_h5py("NWB")
        return written(labels)


def _poses_of(path: Path) -> list[tuple[str, str]]:
    return glanced(path, _groups, otherwise=[])


def _groups(file: Hdf5) -> list[tuple[str, str]]:
    """Groups of poses in the processing modules, each with its kind, in natural order."""
    found = []
    for module in sorted(file.names("processing"), key=natural)[:100]:
        for name in sorted(file.names(f"processing/{module}"), key=natural)[:1000]:
            where = f"processing/{module}/{name}"
            kind = file.attributes(where).get("neurodata_type")
            if kind in KINDS:
                found.append((where, str(kind)))
    return found


class _Reader:
    """Takes poses from a file into a collector.

    Args:
        collector: takes images, marks and faults.
        file: the file.
        root: folder of the images, if the user named one.
    """

    def __init__(self, collector: Collector, file: Hdf5, root: Path | None) -> None:
        self.collector, self.file, self.root = collector, file, root
        self.names: tuple[str, ...] = ()
        self.edges: Pairs = ()
        self.count: Counter[str | None] = Counter()

    def training(self, where: str) -> None:
        """The labels of all training frames."""
        frames = sorted(self.file.names(f"{where}/training_frames"), key=natural)
        stored: dict[str, list[str]] = {}
        wanted: dict[str, list[int]] = {}
        for name in frames:
            source = f"{where}/training_frames/{name}/source_video"
            video = self._name_of(source)
            if video not in stored:
                stored[video] = self.file.texts(f"{source}/external_file")
            wanted.setdefault(video, []).append(self._number(f"{where}/training_frames/{name}"))
        everything = [file for files in stored.values() for file in files]
        self.collector.root = nearest(self.collector, everything, self.root)
        named = {video: self._namer(files, wanted[video]) for video, files in stored.items()}
        if self.collector.faults:
            self.collector.stop()
        for name in frames:
            frame = f"{where}/training_frames/{name}"
            image = self._image(named[self._name_of(f"{frame}/source_video")], frame)
            instances = self.file.names(f"{frame}/skeleton_instances")
            for one in sorted(instances, key=natural):
                self._instance(image, f"{frame}/skeleton_instances/{one}")

    def estimation(self, where: str) -> None:
        """The predictions of one animal in one video."""
        self._skeleton(self._link(where), self._series(where))
        stored = self.file.texts(f"{where}/original_videos")
        stored = stored or self.file.texts(f"{where}/source_video/external_file")
        values, scores, numbers = self._places(where)
        finite: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(-1))
        rows = np.flatnonzero(finite.any(1)).tolist()
        frames = [numbers[row] for row in rows]
        self.collector.root = nearest(self.collector, stored, self.root)
        named = self._namer(stored, frames)
        if self.collector.faults:
            self.collector.stop()
        for row, frame in zip(rows, frames, strict=True):
            image = self._image(named, where, frame)
            for k, name in enumerate(self.names):
                self._mark(image, name, values[row, k].tolist(), True, float(scores[row, k]))
            self.count[image] += 1

    def _name_of(self, source: str) -> str:
        found = self.file.find(source)
        return "" if found is None else str(found.name)

    def _link(self, where: str) -> str:
        """Where the skeleton of a group is; the link has the name of what it leads to."""
        for name in self.file.names(where)[:1000]:
            below = f"{where}/{name}"
            if self.file.attributes(below).get("neurodata_type") == "Skeleton":
                return below
        return f"{where}/skeleton"

    def _number(self, frame: str) -> int:
        told = self.file.attributes(frame).get("source_video_frame_index")
        return told if isinstance(told, int) else 0

    def _namer(self, stored: list[str], frames: list[int]) -> _Namer:
        """What the image of a frame is called: one of the images, or a frame of the video."""
        root = self.collector.root
        names = [located(root, name) or last_part(name) for name in stored]
        if not names:
            got = "it does not say of which video or images its places are"
            todo = "write the paths of images as external_file of the source video"
            self.collector.fault(0, "source_video", got, todo)
            return lambda frame: None
        if len(names) > 1 and not all(map(is_image_name, names)):
            got = f"its places are of {len(names)} videos, and it does not say of which"
            todo = "write one PoseEstimation for each video"
            self.collector.fault(0, "original_videos", got, todo)
        if len(names) > 1 or is_image_name(names[0]):
            return lambda frame: names[frame] if 0 <= frame < len(names) else None
        video_there(self.collector, names[0], frames)
        return lambda frame: frame_named(names[0], frame)

    def _image(self, named: _Namer, where: str, frame: int | None = None) -> str | None:
        number = self._number(where) if frame is None else frame
        name = named(number)
        if name is None:
            got = f"its video has no frame {number}"
            self.collector.fault(0, where, got, "write the file again with the tool that wrote it")
            return None
        return self.collector.image(name, 0, where, once=False)

    def _skeleton(self, where: str, names: tuple[str, ...] = ()) -> None:
        """Take the names and edges of the first skeleton; others have to have the same."""
        told = tuple(name.strip() for name in self.file.texts(f"{where}/nodes"))
        found = told or names
        if self.names and set(found) != set(self.names):
            raise Hdf5Error("its instances have skeletons with different nodes")
        if self.names:
            return
        for name in found:
            self.collector.name(name, 0, "nodes")
        if len(set(found)) < len(found):
            raise Hdf5Error("two nodes of its skeleton have one name")
        self.names = found
        if self.file.find(f"{where}/edges") is not None:
            pairs = self.file.array(f"{where}/edges").astype(int).reshape(-1, 2).tolist()
            most = len(found)
            good = ((a, b) for a, b in pairs if a != b and 0 <= min(a, b) <= max(a, b) < most)
            self.edges = tuple((found[a], found[b]) for a, b in good)

    def _instance(self, image: str | None, where: str) -> None:
        skeleton = self._link(where)
        self._skeleton(skeleton)
        places = self.file.array(f"{where}/node_locations").astype(np.float64)
        nodes = [name.strip() for name in self.file.texts(f"{skeleton}/nodes")]
        if places.shape != (len(nodes), 2):
            raise Hdf5Error(f"{where!r} has places of shape {places.shape} for {len(nodes)} nodes")
        seen = np.ones(len(nodes), bool)
        if self.file.find(f"{where}/node_visibility") is not None:
            seen = self.file.array(f"{where}/node_visibility").astype(bool).ravel()
        for name, place, visible in zip(nodes, places.tolist(), seen.tolist(), strict=True):
            self._mark(image, name, place, visible, np.nan)
        self.count[image] += 1

    def _mark(
        self, image: str | None, name: str, place: list[float], visible: bool, score: float
    ) -> None:
        number = self.count[image]
        if np.isfinite(place).all():
            self.collector.within(image, place, 0, name)
            state = Visibility.VISIBLE if visible else Visibility.HIDDEN
            self.collector.mark(image, (number, name, state, *place, score))
        else:
            nothing = np.nan, np.nan, np.nan
            self.collector.mark(image, (number, name, Visibility.UNLABELLED, *nothing))

    def _series(self, where: str) -> tuple[str, ...]:
        """Names of the series of an animal."""
        names = self.file.names(where)
        return tuple(n for n in names if self.file.find(f"{where}/{n}/data") is not None)

    def _places(self, where: str) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
        """(frames, keypoints, 2) places, (frames, keypoints) scores, and the numbers of frames."""
        values, scores, numbers = [], [], list[int]()
        for name in self.names:
            series = f"{where}/{series_named(name)}"
            data = self.file.array(f"{series}/data").astype(np.float64)
            if data.ndim != 2 or data.shape[1] != 2:
                raise Hdf5Error(f"{series!r} has places of shape {data.shape}; (frames, 2) is read")
            values.append(data)
            given = self.file.find(f"{series}/confidence") is not None
            told = self.file.array(f"{series}/confidence") if given else np.full(len(data), np.nan)
            scores.append(told.astype(np.float64).ravel())
            numbers = list(range(len(data)))
            if self.file.attributes(series).get("comments") == COUNTED:
                numbers = self.file.array(f"{series}/timestamps").astype(int).ravel().tolist()
        if not values or {one.shape[:1] for one in values + scores} != {(len(numbers),)}:
            raise Hdf5Error(f"{where!r} has series of different lengths")
        return np.stack(values, 1), np.stack(scores, 1), numbers
