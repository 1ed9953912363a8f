"""What labels hold and a format of another tool cannot, in words."""

from __future__ import annotations

from collections.abc import Collection

from placewise.errors import SettingsError
from placewise.labels import KeypointDataset, Visibility, guess_symmetry


def losses_of(labels: KeypointDataset, keeps: Collection[str]) -> list[str]:
    """What of these labels a format does not keep.

    Args:
        labels: the labels.
        keeps: what it keeps: "hidden", "absent", "split", "tracks", "scores", "empty" (instances
            without a located keypoint), "skeleton", "symmetry".
    """
    samples = labels.samples
    counts = {
        "hidden": sum(int((s.visibility == Visibility.HIDDEN).sum()) for s in samples),
        "absent": sum(int((s.visibility == Visibility.ABSENT).sum()) for s in samples),
        "split": sum(s.split is not None for s in samples),
        "tracks": sum(s.tracks is not None for s in samples),
        "scores": sum(s.scores is not None for s in samples),
        "empty": sum(int((~s.located.any(1)).sum()) for s in samples if len(s.points) > 1),
        "skeleton": len(labels.skeleton),
        "regions": sum(len(s.ignored) for s in samples),
        "areas": sum(s.areas is not None for s in samples),
    }
    told = {frozenset(pair) for pair in guess_symmetry(labels.names)}
    same = {frozenset(pair) for pair in labels.symmetry} == told
    counts["symmetry"] = 0 if same else max(1, len(labels.symmetry))
    said = {
        "hidden": "that keypoints are hidden ({})",
        "absent": "that keypoints are absent ({})",
        "split": "the split of {} images",
        "tracks": "identities over images ({} images)",
        "scores": "scores ({} images)",
        "empty": "objects without a located keypoint ({})",
        "skeleton": "the skeleton",
        "regions": "{} regions that are ignored",
        "areas": "areas of objects ({} images)",
        "symmetry": f"the {len(labels.symmetry)} symmetry pairs (the names tell {len(told)})",
    }
    return [said[what].format(n) for what, n in counts.items() if n and what not in keeps]


def check_images(labels: KeypointDataset, tool: str) -> None:
    """Refuse keypoints of signals and volumes, which a tool has no place for.

    Raises:
        SettingsError: there is such a one.
    """
    other = next((sample for sample in labels.samples if len(sample.size) != 2), None)
    if other is not None:
        raise SettingsError(
            f"{other.image} has {len(other.size)} axes, and {tool} holds keypoints of images; "
            "write long_csv"
        )
