"""Tables of keypoints over a video: from the rows of a prediction to tracks, and back to files."""

from __future__ import annotations

import csv
import logging
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from placewise.errors import SettingsError
from placewise.files import replacing
from placewise.formats import FORMATS
from placewise.formats.deeplabcut_h5 import h5_of
from placewise.frames import Frames, frame_named
from placewise.geometry import FloatArray, Size
from placewise.images import ImageArray
from placewise.labels import KeypointDataset, KeypointSample, Visibility
from placewise.motion import FAR, Track, doubt, jumps_of, longest, steps_of

_LOG = logging.getLogger("placewise")

SCORER = "placewise"
"""Who has labelled, in the names of DeepLabCut's files."""

CHUNK = 1000
"""Frames that are turned into text together."""

DECIMALS = 3
"""Decimals of numbers in files: a thousandth of a pixel."""

MOST_ANIMALS = 64
"""Animals that DeepLabCut's tables get columns for, at most."""

VALUES = 4
"""Numbers of a keypoint: x, y, score, radius_90."""


@dataclass(frozen=True)
class Movement:
    """Keypoints over the frames of a video.

    Attributes:
        video: the file.
        reader: what reads it.
        names: of the K keypoints.
        numbers: of the T frames in the file, rising.
        times: (T,) seconds since the first frame of the file; None where it gives no times.
        size: (height, width) of the first frame.
        tracks: of the objects.
        skeleton: pairs of names that are drawn joined.
        task: of the run, for the kind of labels.
    """

    video: Path
    reader: Frames
    names: tuple[str, ...]
    numbers: range
    times: FloatArray | None
    size: Size
    tracks: tuple[Track, ...]
    skeleton: tuple[tuple[str, str], ...] = ()
    task: str = "keypoints"

    @property
    def far(self) -> float:
        """Pixels of a radius above which a keypoint is not sure, as on the labelling page."""
        return FAR * math.hypot(*self.size)

    @property
    def followed(self) -> bool:
        """Whether objects have identities."""
        return any(track.identity is not None for track in self.tracks)

    def pixels(self, at: int) -> ImageArray:
        """(height, width, channels) of a frame."""
        return self.reader.read(self.video, self.numbers[at])

    def seconds(self, at: int) -> float:
        """When a frame is shown; NaN where that is not known."""
        return float("nan") if self.times is None else float(self.times[at])

    def frames(self) -> Iterator[tuple[int, list[Track]]]:
        """(place, the tracks that have it) of each frame, by identity."""
        ordered = sorted(self.tracks, key=lambda track: (track.start, track.identity or 0))
        active: list[Track] = []
        for at in range(len(self.numbers)):
            while ordered and ordered[0].start <= at:
                active.append(ordered.pop(0))
            active = [track for track in active if track.stop > at]
            yield at, sorted(active, key=lambda track: track.identity or 0)

    def on(self, at: int, tracks: Sequence[Track]) -> KeypointSample:
        """What is on a frame, as labels with scores.

        Args:
            at: place of the frame.
            tracks: whose rows it gets; those that are not there have no place.
        """
        shape = (max(1, len(tracks)), len(self.names))
        places, scores = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
        for row, track in enumerate(tracks):
            if track.start <= at < track.stop:
                places[row], scores[row] = (
                    track.places[at - track.start],
                    track.scores[at - track.start],
                )
        there = np.isfinite(places).all(-1)
        visibility = np.where(there, Visibility.VISIBLE, Visibility.ABSENT).astype(np.int8)
        name = frame_named(self.video.name, self.numbers[at])
        return KeypointSample(name, self.size, places, visibility, scores=scores)

    def labels(self, at: range) -> KeypointDataset:
        """Some frames as labels, with a row for each track on every frame."""
        samples = tuple(self.on(place, self.tracks) for place in at)
        held = KeypointDataset(self.video.parent, self.names, samples, (), self.skeleton)
        return held.for_task(self.task)


class _Growing:
    """A track while its rows are read."""

    def __init__(self, start: int, width: int) -> None:
        self.start, self.width, self.values = start, width, array("d")

    def put(self, at: int, column: int, cells: Sequence[float]) -> None:
        """Numbers of a keypoint on a frame; frames between are empty."""
        missing = (at - self.start + 1) * self.width - len(self.values)
        if missing > 0:
            self.values.extend([float("nan")] * missing)
        first = (at - self.start) * self.width + column * VALUES
        for offset, cell in enumerate(cells):
            self.values[first + offset] = cell

    def track(self, identity: int | None) -> Track:
        numbers = np.frombuffer(self.values, np.float64).reshape(-1, self.width // VALUES, VALUES)
        places, scores, radii = numbers[..., :2], numbers[..., 2], numbers[..., 3]
        return Track(places.copy(), scores.copy(), radii.copy(), identity, self.start)


def read_tracks(file: Path, names: Sequence[str], numbers: range) -> tuple[Track, ...]:
    """Tracks of a `predictions.csv` of frames.

    Args:
        file: with the columns image, keypoint, x, y, score, and perhaps radius_90 and track.
        names: of the keypoints.
        numbers: of the frames.
    """
    column = {name: i for i, name in enumerate(names)}
    growing: dict[int | None, _Growing] = {}
    with file.open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            match = re.search(r"\[(\d+)\]$", row["image"])
            if match is None:
                continue
            at = numbers.index(int(match[1]))
            identity = int(row["track"]) if row.get("track") else None
            one = growing.setdefault(identity, _Growing(at, len(names) * VALUES))
            cells = (row["x"], row["y"], row["score"], row.get("radius_90") or "")
            one.put(at, column[row["keypoint"]], [float(cell or "nan") for cell in cells])
    return tuple(one.track(identity) for identity, one in growing.items())


def write_table(movement: Movement, file: Path) -> None:
    """`frame,time[,track],keypoint,x,y,score,radius_90`: a row for each keypoint of each object."""
    more = ["track"] if movement.followed else []
    with replacing(file) as part, part.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["frame", "time", *more, "keypoint", "x", "y", "score", "radius_90"])
        for at, tracks in movement.frames():
            head = [movement.numbers[at], _short(movement.seconds(at), 6)]
            for track in tracks:
                row = at - track.start
                own = [track.identity] if more else []
                for k, name in enumerate(movement.names):
                    cells = (*track.places[row, k], track.scores[row, k], track.radii[row, k])
                    writer.writerow([*head, *own, name, *(_short(cell) for cell in cells)])


def write_doubts(movement: Movement, file: Path, threshold: float) -> FloatArray:
    """`frame,time,doubt,jumps`: which frames need a look; (T,) the doubts."""
    doubts = doubt(movement.tracks, len(movement.numbers), threshold, movement.far)
    jumps = np.zeros(len(doubts), np.int64)
    for track in movement.tracks:
        jumps[track.start : track.stop] += jumps_of(track.places).sum(1)
    with replacing(file) as part, part.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["frame", "time", "doubt", "jumps"])
        for at, number in enumerate(movement.numbers):
            cells = [_short(movement.seconds(at), 6), _short(doubts[at], 4), int(jumps[at])]
            writer.writerow([number, *cells])
    return doubts


def read_doubts(file: Path) -> dict[int, tuple[float, int]]:
    """(doubt, jumps) by frame, as `write_doubts` has written them."""
    with file.open(encoding="utf-8", newline="") as text:
        rows = csv.DictReader(text)
        return {int(row["frame"]): (float(row["doubt"]), int(row["jumps"])) for row in rows}


def write_deeplabcut(movement: Movement, out: Path) -> list[str]:
    """Tables as DeepLabCut writes them for a video; names of the files.

    The text is made piece by piece, so that memory does not grow with the video.
    """
    if not 0 < len(movement.tracks) <= MOST_ANIMALS:
        return []
    file = out / f"{movement.video.stem}{SCORER}.csv"
    writer: Any = FORMATS["deeplabcut"]()
    heads = 4 if len(movement.tracks) > 1 else 3
    with replacing(file) as part, part.open("w", encoding="utf-8", newline="") as text:
        for start in range(0, len(movement.numbers), CHUNK):
            stop = min(start + CHUNK, len(movement.numbers))
            labels = movement.labels(range(start, stop))
            lines = writer.text(labels).splitlines(keepends=True)
            text.writelines(lines[:heads] if start == 0 else [])
            text.writelines(_numbered(line) for line in lines[heads:])
    table = file.with_suffix(".h5")
    rows = [(str(number),) for number in movement.numbers]
    try:
        data = h5_of(rows, movement.names, _values(movement))
    except SettingsError as error:  # the library is not there
        _LOG.warning("%s was not written: %s", table.name, error)
        return [file.name]
    with replacing(table) as part:
        part.write_bytes(data)
    return [file.name, table.name]


def _values(movement: Movement) -> FloatArray:
    """(T, A, K, 3) x, y and score in all tracks; NaN on frames without one."""
    shape = (len(movement.numbers), len(movement.tracks), len(movement.names), 3)
    values = np.full(shape, np.nan)
    for column, track in enumerate(movement.tracks):
        span = slice(track.start, track.stop)
        values[span, column, :, :2], values[span, column, :, 2] = track.places, track.scores
    return values


def _numbered(line: str) -> str:
    """A row of a video: DeepLabCut names it by the number of the frame."""
    image, comma, cells = line.partition(",")
    return f"{image.rpartition('[')[2].rstrip(']')}{comma}{cells}"


def _short(value: Any, decimals: int = DECIMALS) -> float | str:
    return round(float(value), decimals) if np.isfinite(value) else ""


def changed(movement: Movement, tracks: Sequence[Track], **more: Any) -> Movement:
    """The same video with other tracks."""
    return replace(movement, tracks=tuple(tracks), **more)


def facts_of(movement: Movement, track: Track, threshold: float) -> list[Mapping[str, Any]]:
    """What a report says of each keypoint of a track: shares, jumps, gaps."""
    steps = steps_of(track.places)
    unsure = track.unsure(threshold, movement.far)
    jumps = jumps_of(track.places)
    rows: list[Mapping[str, Any]] = []
    for k, name in enumerate(movement.names):
        known = steps[:, k][np.isfinite(steps[:, k])]
        first, length = longest(unsure[:, k])
        rows.append(
            {
                "track": track.identity,
                "keypoint": name,
                "unsure": float(unsure[:, k].mean()),
                "jumps": int(jumps[:, k].sum()),
                "gap": length,
                "gap_at": movement.numbers[track.start + first],
                "p99": float(np.quantile(known, 0.99)) if len(known) else None,
            }
        )
    return rows
