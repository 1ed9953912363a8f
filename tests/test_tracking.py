"""Identities over frames: laws on made sequences, and two real flies with noise and gaps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from placewise.errors import SettingsError, ShapeError
from placewise.metrics import TrackedFrame, track_scores
from placewise.tracking import Tracker, track

FLIES = Path(__file__).parents[1] / ".." / "shared" / "data" / "fly_pair" / "tracks.csv"


def judged(truth, found, reach):
    """Scores of identities, where truth and found are (identities, places) of each frame."""
    frames = []
    for (one, at), (other, place) in zip(truth, found, strict=True):
        apart = np.linalg.norm(at[:, None] - place[None], axis=-1)
        near = np.where(apart <= reach, apart, np.nan)
        frames.append(TrackedFrame(np.asarray(one), np.asarray(other), near))
    return track_scores(frames)


def middles(poses):
    """(objects, axes) mean places."""
    return np.nanmean(poses, axis=1) if len(poses) else np.empty((0, poses.shape[-1]))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_objects_that_pass_each_other_keep_their_identity(axes):
    """Their shapes and their velocities tell them apart, in any number of dimensions."""
    rng = np.random.default_rng(axes)
    shape = rng.uniform(-9, 9, (2, 4, axes))
    aim = np.stack([np.full(axes, 2.0), np.full(axes, -2.0)])
    frames = [shape + aim[:, None] * (t - 15) for t in range(31)]
    orders = [rng.permutation(2) for _ in frames]
    found = track([one[order] for one, order in zip(frames, orders, strict=True)])
    first = found[0][np.argsort(orders[0])]
    for identities, order in zip(found, orders, strict=True):
        assert np.array_equal(identities, first[order])


def test_the_order_of_objects_and_their_place_do_not_matter():
    """Identities belong to the objects; a shift or a turn of all frames changes nothing."""
    rng = np.random.default_rng(1)
    shape = 30 * rng.random((3, 4, 2)) + 20 * np.arange(3)[:, None, None]
    frames = [shape + rng.normal(0, 3, shape.shape) + 2 * t for t in range(9)]
    plain = track(frames)
    turned = track([one[..., ::-1] * [1, -1] + 7.0 for one in frames])
    mixed = track([one[::-1] for one in frames])
    assert all(np.array_equal(a, b) for a, b in zip(plain, turned, strict=True))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(plain, turned, strict=True))
    names = dict(zip(plain[0].tolist(), mixed[0][::-1].tolist(), strict=True))
    for one, other in zip(plain, mixed, strict=True):
        assert [names[i] for i in one.tolist()] == other[::-1].tolist()


def test_birth_gap_and_death():
    """Who comes gets a new number, who is lost for a while keeps it, and for long loses it."""
    one, nobody = np.array([[[0.0, 0.0], [8.0, 8.0]]]), np.empty((0, 2, 2))
    other = one + 100
    tracker = Tracker(patience=3)
    assert tracker.step(one).tolist() == [0]
    assert tracker.step(np.concatenate([other, one])).tolist() == [1, 0]
    for _ in range(3):
        assert tracker.step(nobody).tolist() == []
    assert tracker.step(one).tolist() == [0]
    for _ in range(4):
        tracker.step(nobody)
    assert tracker.step(one).tolist() == [2]


def test_a_missing_keypoint_is_expected_where_it_would_have_moved_to():
    """Objects without a common keypoint are compared by their middles."""
    frames = [np.array([[[2.0 * t, 0.0], [2.0 * t + 8, 8.0]]]) for t in range(6)]
    frames[3][0, 0], frames[4][0, 1] = np.nan, np.nan
    assert [identities.tolist() for identities in track(frames)] == [[0]] * 6
    halves = [np.array([[[0.0, 0.0], [np.nan] * 2]]), np.array([[[np.nan] * 2, [1.0, 0.0]]])]
    assert [i.tolist() for i in track(halves, size=5.0)] == [[0], [0]]


def test_what_cannot_be_is_refused():
    """Numbers, shapes, and points without a size."""
    with pytest.raises(SettingsError, match="window 0"):
        Tracker(window=0)
    with pytest.raises(ShapeError, match="objects, keypoints, axes"):
        Tracker().step(np.zeros((2, 2)))
    with pytest.raises(SettingsError, match="size"):
        track([np.zeros((1, 1, 2))] * 2)


@pytest.fixture(scope="module")
def flies():
    """(tracks, keypoints, 2) of each frame of the clip."""
    if not FLIES.is_file():
        pytest.skip(f"the flies are not in {FLIES.parent}")
    with FLIES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["point"] for row in rows))
    count = 1 + max(int(row["frame"]) for row in rows)
    poses = np.full((count, 2, len(names), 2), np.nan)
    for row in rows:
        if row["x"] and row["y"]:
            place = int(row["frame"]), int(row["track"]), names.index(row["point"])
            poses[place] = float(row["x"]), float(row["y"])
    return poses


@pytest.mark.parametrize(("noise", "lost", "gone"), [(0, 0, 0), (4, 0.3, 0.02), (8, 0.5, 0.1)])
def test_two_flies_keep_their_identities(flies, noise, lost, gone):
    """1,100 frames with shuffled animals, noise, missing keypoints, and animals not found."""
    rng = np.random.default_rng(0)
    truth, given = [], []
    for poses in flies:
        here = np.flatnonzero(np.isfinite(poses).all(-1).any(-1))
        truth.append((here, middles(poses[here])))
        order = rng.permutation(here[rng.random(len(here)) >= gone])
        shown = poses[order] + rng.normal(0, noise, poses[order].shape) * (noise > 0)
        hidden = rng.random(shown.shape[:2]) < lost
        hidden[:, 2] = False
        shown[hidden] = np.nan
        given.append(shown[np.isfinite(shown).all(-1).any(-1)])
    found = track(given)
    places = [middles(shown) for shown in given]
    scores = judged(truth, list(zip(found, places, strict=True)), 40.0)
    assert scores["identity_switches"] == 0 and scores["idf1"] > 0.94 - gone
    assert max(map(max, filter(len, found))) == 1
