"""A labelled video: every frame with its keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from placewise.files import replacing
from placewise.frames import VideoWriter
from placewise.images import ImageArray
from placewise.motion import Track
from placewise.prediction.movement import Movement
from placewise.report.drawing import as_rgb, keypoints
from placewise.report.marks import Overlay
from placewise.task import Progress

SIDE = (480, 1920)
"""Least and most pixels of the longer side."""

RATE = 30
"""Frames in a second where the source gives no times."""

AHEAD = 4
"""Frames that are read before they are drawn."""


def write_labelled(
    movement: Movement, file: Path, threshold: float, progress: Progress | None = None
) -> None:
    """Write an mp4 that browsers play, with the times of the source.

    Args:
        movement: what is drawn.
        file: the mp4.
        threshold: keypoints with a lower score are hollow.
        progress: called with (done, total).
    """
    count = len(movement.numbers)
    with replacing(file) as part, VideoWriter(part) as writer:
        for (at, tracks), pixels in zip(movement.frames(), _read(movement), strict=True):
            drawn = draw_frame(movement, at, tracks, pixels, threshold)
            writer.write(drawn, _seconds(movement, at))
            if progress and (at % 50 == 49 or at + 1 == count):
                progress(at + 1, count)


def _seconds(movement: Movement, at: int) -> float:
    """When a frame is shown; at 30 a second where the source does not say it."""
    if movement.times is None:
        return at / RATE
    return float(movement.times[at] - movement.times[0])


def _read(movement: Movement) -> Iterator[ImageArray]:
    """The frames in order, read ahead in a thread."""
    with ThreadPoolExecutor(1) as thread:
        left = iter(range(len(movement.numbers)))

        def more(number: int) -> list[Future[ImageArray]]:
            chosen = islice(left, number)
            return [thread.submit(movement.pixels, at) for at in chosen]

        waiting = more(AHEAD)
        while waiting:
            first = waiting.pop(0)
            waiting += more(1)
            yield first.result()


def draw_frame(
    movement: Movement,
    at: int,
    tracks: list[Track],
    pixels: ImageArray,
    threshold: float,
    side: tuple[int, int] = SIDE,
    crop: bool = False,
) -> Overlay:
    """(height, width, 3) a frame with its keypoints.

    Args:
        movement: names and skeleton.
        at: place of the frame.
        tracks: the objects on it.
        pixels: of the frame.
        threshold: keypoints with a lower score are hollow.
        side: least and most pixels of the longer side.
        crop: show only the surroundings of the keypoints.
    """
    if not tracks:
        nothing = np.full((1, len(movement.names), 2), np.nan)
        return keypoints(as_rgb(pixels), nothing, movement.names, side=side)
    places = np.stack([track.places[at - track.start] for track in tracks])
    scores = np.stack([track.scores[at - track.start] for track in tracks])
    return keypoints(
        as_rgb(pixels),
        places,
        movement.names,
        scores=np.nan_to_num(scores),
        threshold=threshold,
        skeleton=movement.skeleton,
        side=side,
        crop=crop,
        identities=[track.identity or 0 for track in tracks] if movement.followed else None,
    )
