"""Identities of predicted objects over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from placewise.geometry import Size
from placewise.tasks.poses.prediction import TRACK, PosePrediction, read_rows
from placewise.tracking import Follower, Tracker


class PoseFollower(Follower[PosePrediction]):
    """Follows objects by their keypoints; see `placewise.tracking`."""

    column = TRACK

    def __init__(self, names: Sequence[str] = (), size: float | None = None) -> None:
        self.names, self.tracker = tuple(names), Tracker(size)

    def follow(self, one: PosePrediction) -> PosePrediction:
        """See `Follower.follow`: the objects that are there, as a file holds them."""
        kept = one.kept
        places = kept.places.round(3)
        kept = replace(kept, places=places)
        return replace(kept, tracks=self.tracker.step(kept.keypoints))

    def replay(self, image: str, size: Size, rows: Sequence[Sequence[str]]) -> None:
        """See `Follower.replay`."""
        cells = [row[: len(row) - 1] for row in rows]
        self.follow(read_rows(self.names, image, size, cells))
