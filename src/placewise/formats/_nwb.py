"""A file of NWB with ndx-pose, written with h5py.

What the schema requires and nothing knows is said in words: labels have no session, so its start is
the beginning of 1970, and images no rate, so one is a second.
"""

from __future__ import annotations

import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise import __version__
from placewise.errors import SettingsError
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.labels.sources import file_of

NWB, POSE = ("core", "2.8.0"), "ndx-pose"

START = "1970-01-01T00:00:00+00:00"

COUNTED = "timestamps are the numbers of frames"
"""What the comments of a series say where no rate of frames is known."""

REFERENCE = "(0, 0) is the centre of the top left pixel; x to the right, y down"

_HOME = "/processing/behavior"
_TAKEN = set("skeleton original_videos dimensions description scorer source_software .".split())
"""Names of other things in a group of predictions."""

_DESCRIPTION = (
    "Keypoints on images, written by placewise. The start of the session is not known; 1970-01-01 "
    "takes its place."
)


def series_named(keypoint: str) -> str:
    """What the series of a keypoint is called: names in NWB hold no / and no :.

    Example:
        >>> series_named("left/ear")
        'left_ear'
    """
    return keypoint.replace("/", "_").replace(":", "_")


def written(labels: KeypointDataset) -> bytes:
    """The bytes of the file; the same labels give the same ones."""
    import h5py

    buffer = BytesIO()
    with h5py.File(buffer, "w") as file:
        writer = _Writer(file, labels)
        writer.base()
        writer.skeleton()
        if labels.scored:
            for number, (video, samples) in enumerate(_by_video(labels)):
                writer.estimation(number, video, samples)
        else:
            writer.training()
    return buffer.getvalue()


def _by_video(labels: KeypointDataset) -> Iterator[tuple[str, list[KeypointSample]]]:
    """Images by the video that they are frames of; those that are files come together, as ""."""
    found: dict[str, list[KeypointSample]] = defaultdict(list)
    for sample in labels.samples:
        file = file_of(sample.image)
        found["" if file == sample.image else file].append(sample)
    yield from found.items()


class _Writer:
    """Puts labels into a file of NWB.

    Args:
        file: the file of h5py.
        labels: the labels.
    """

    def __init__(self, file: Any, labels: KeypointDataset) -> None:
        self.file, self.labels = file, labels
        names = (*labels.names, *(sample.image for sample in labels.samples))
        self.seed = hashlib.sha256("\0".join(names).encode()).hexdigest()

    def base(self) -> None:
        """What every file of NWB has."""
        file = self.file
        self._typed(file, "NWBFile", NWB[0])
        file.attrs["nwb_version"] = NWB[1]
        for name in ("acquisition", "analysis", "general", "stimulus/presentation"):
            file.create_group(name)
        file.create_group("stimulus/templates")
        self._texts("file_create_date", [START])
        told = {"identifier": f"placewise_{self.seed[:12]}", "session_description": _DESCRIPTION}
        told |= {"session_start_time": START, "timestamps_reference_time": START}
        for name, text in told.items():
            file.create_dataset(name, data=text)
        module = self._group(_HOME, "ProcessingModule", NWB[0])
        module.attrs["description"] = "keypoints"

    def skeleton(self) -> None:
        """Names of keypoints, and which are joined."""
        self._group(f"{_HOME}/Skeletons", "Skeletons")
        where = f"{_HOME}/Skeletons/skeleton"
        self._group(where, "Skeleton")
        self._texts(f"{where}/nodes", self.labels.names)
        names = self.labels.names
        kind = np.uint8 if len(names) < 256 else np.uint32
        pairs = [(names.index(a), names.index(b)) for a, b in self.labels.skeleton]
        self.file.create_dataset(f"{where}/edges", data=np.array(pairs, kind).reshape(-1, 2))

    def training(self) -> None:
        """Labels: a frame for each image, with its instances."""
        home = f"{_HOME}/PoseTraining"
        self._group(home, "PoseTraining")
        self._group(f"{home}/source_videos", "SourceVideos")
        self._group(f"{home}/training_frames", "TrainingFrames")
        total = 0
        for video, samples in _by_video(self.labels):
            for size in sorted({sample.size for sample in samples}):
                of_size = [sample for sample in samples if sample.size == size]
                source = f"{home}/source_videos/video_{len(self.file[f'{home}/source_videos'])}"
                self._video(source, [video] if video else [s.image for s in of_size], size)
                for number, sample in enumerate(of_size):
                    frame = f"{home}/training_frames/frame_{total}"
                    self._frame(frame, source, _frame_of(sample) if video else number, sample)
                    total += 1

    def _frame(self, where: str, source: str, number: int, sample: KeypointSample) -> None:
        import h5py

        group = self._group(where, "TrainingFrame")
        group.attrs["source_video_frame_index"] = np.uint32(number)
        group["source_video"] = h5py.SoftLink(source)
        self._group(f"{where}/skeleton_instances", "SkeletonInstances")
        located: NDArray[np.bool_] = np.asarray(sample.located.any(1))
        for i in np.flatnonzero(located | (len(located) == 1)).tolist():
            one = f"{where}/skeleton_instances/instance_{i}"
            instance = self._group(one, "SkeletonInstance")
            instance["skeleton"] = h5py.SoftLink(f"{_HOME}/Skeletons/skeleton")
            self.file.create_dataset(f"{one}/node_locations", data=sample.points[i])
            seen = sample.visibility[i] == Visibility.VISIBLE
            self.file.create_dataset(f"{one}/node_visibility", data=seen)

    def _video(self, where: str, files: Sequence[str], size: Sequence[int]) -> None:
        """Where images are; they are not in the file."""
        group = self._group(where, "ImageSeries", NWB[0])
        group.attrs["description"] = "images with labels; no rate is known, and one is a second"
        group.attrs["comments"] = "no comments"
        data = self.file.create_dataset(f"{where}/data", data=np.zeros((0, 0, 0), np.uint8))
        for name, value in (("conversion", 1.0), ("offset", 0.0), ("resolution", -1.0)):
            data.attrs[name] = value
        data.attrs["unit"] = "n.a."
        self._texts(f"{where}/external_file", files)
        starts = np.arange(len(files), dtype=np.int32)
        self.file[f"{where}/external_file"].attrs["starting_frame"] = starts
        self.file.create_dataset(f"{where}/format", data="external")
        self.file.create_dataset(f"{where}/dimension", data=np.array(size[::-1], np.int32))
        time = self.file.create_dataset(f"{where}/starting_time", data=0.0)
        time.attrs["rate"], time.attrs["unit"] = np.float32(1.0), "seconds"

    def estimation(self, number: int, video: str, samples: list[KeypointSample]) -> None:
        """Predictions of a video: a group for each instance, with a series for each keypoint."""
        import h5py

        called = {series_named(name) for name in self.labels.names}
        if len(called) < len(self.labels.names) or called & _TAKEN:
            raise SettingsError(
                f"the keypoints {', '.join(self.labels.names)} cannot be names in NWB, where / and "
                f": are _, and {', '.join(sorted(_TAKEN))} are taken; rename keypoints"
            )
        slots, count = _slots(samples)
        frames = np.array([_frame_of(s) if video else i for i, s in enumerate(samples)], np.float64)
        for slot in range(count):
            name = "_".join(["PoseEstimation", *([f"{number}"] if number else []), f"{slot}"])
            where = f"{_HOME}/{name if number or slot else 'PoseEstimation'}"
            group = self._group(where, "PoseEstimation")
            group["skeleton"] = h5py.SoftLink(f"{_HOME}/Skeletons/skeleton")
            files = [video] if video else [sample.image for sample in samples]
            self._texts(f"{where}/original_videos", files)
            sizes = np.array([s.size[::-1] for s in samples[: len(files)]], np.uint32)
            self.file.create_dataset(f"{where}/dimensions", data=sizes)
            for told, text in (("description", "predictions"), ("scorer", "placewise")):
                self.file.create_dataset(f"{where}/{told}", data=text)
            software = self.file.create_dataset(f"{where}/source_software", data="placewise")
            software.attrs["version"] = __version__
            rows = [row.get(slot) for row in slots]
            for k, keypoint in enumerate(self.labels.names):
                series = f"{where}/{series_named(keypoint)}"
                self._series(series, k, samples, rows, frames)

    def _series(
        self,
        where: str,
        keypoint: int,
        samples: list[KeypointSample],
        rows: list[int | None],
        frames: NDArray[np.float64],
    ) -> None:
        group = self._group(where, "PoseEstimationSeries")
        group.attrs["description"], group.attrs["comments"] = "places in pixels", COUNTED
        places = np.full((len(samples), 2), np.nan)
        scores = np.full(len(samples), np.nan)
        for n, (sample, row) in enumerate(zip(samples, rows, strict=True)):
            if row is not None:
                places[n] = sample.points[row, keypoint]
                scores[n] = np.nan if sample.scores is None else sample.scores[row, keypoint]
        data = self.file.create_dataset(f"{where}/data", data=places)
        for name, value in (("conversion", 1.0), ("offset", 0.0), ("resolution", -1.0)):
            data.attrs[name] = value
        data.attrs["unit"] = "pixels"
        confidence = self.file.create_dataset(f"{where}/confidence", data=scores)
        confidence.attrs["definition"] = "score of the keypoint, from 0 to 1"
        self.file.create_dataset(f"{where}/reference_frame", data=REFERENCE)
        times = self.file.create_dataset(f"{where}/timestamps", data=frames)
        times.attrs["interval"], times.attrs["unit"] = np.int32(1), "seconds"

    def _group(self, where: str, kind: str, namespace: str = POSE) -> Any:
        group = self.file.require_group(where)
        self._typed(group, kind, namespace)
        return group

    def _typed(self, node: Any, kind: str, namespace: str) -> None:
        node.attrs["neurodata_type"], node.attrs["namespace"] = kind, namespace
        node.attrs["object_id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, self.seed + node.name))

    def _texts(self, where: str, texts: Sequence[str]) -> None:
        import h5py

        self.file.create_dataset(where, data=list(texts), dtype=h5py.string_dtype())


def _frame_of(sample: KeypointSample) -> int:
    """The number of a frame of a video."""
    return int(sample.image[:-1].rpartition("[")[2])


def _slots(samples: Sequence[KeypointSample]) -> tuple[list[dict[int, int]], int]:
    """For each image which instance is in which slot: that of its track, else its place."""
    told = [sample.tracks for sample in samples if sample.tracks is not None]
    known = sorted({int(one) for tracks in told for one in tracks if one >= 0})
    place = {identity: slot for slot, identity in enumerate(known)}
    found = []
    for sample in samples:
        tracks = None if sample.tracks is None else sample.tracks.tolist()
        good = tracks is not None and min(tracks) >= 0 and len(set(tracks)) == len(tracks)
        order = [place[one] for one in tracks] if tracks and good else range(len(sample.points))
        found.append({int(slot): row for row, slot in enumerate(order)})
    return found, 1 + max((slot for row in found for slot in row), default=0)
