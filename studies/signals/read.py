"""A trained run on windows of the test recordings; and the path counts of its net."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.images import ImageArray
from placewise.run import Run
from placewise.tasks.spots.model import SpotModel
from studies.edges.paths import paths_of
from studies.signals import material
from studies.signals.net import Straight
from studies.signals.windows import (
    Judged,
    Window,
    bands_of,
    judge_window,
    pairs_of,
    summed,
    windows_of,
)

TOLERANCE = 0.15
"""Seconds within which a spot is a beat (ANSI/AAMI EC57)."""

BATCH = 128


def examined(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a run finds in windows of all test recordings.

    Args:
        settings: `run`, its folder; `labels`, their file; `side`, samples of a window.

    Returns:
        `pairs` and `bands` as counted by `pairs_of` and `bands_of`, and the number of `beats`.
    """
    labels = material.labels_of(Path(settings["labels"]))
    model = Run.open(Path(settings["run"])).model(lambda words: None)
    if not isinstance(model, SpotModel):
        raise SettingsError(f"{settings['run']} does not find spots; the study needs such a run")
    pairs, bands, beats = [], [], 0
    for sample in labels.samples:
        if sample.split != "test":
            continue
        at = np.sort(sample.points[sample.located][:, 0])
        judged = judge_recording(model, labels.image(sample.image), at, int(settings["side"]))
        pairs.append(pairs_of(judged))
        bands.append(bands_of(judged))
        beats += sum(one.window.distance is None for one in judged)
    return {"pairs": summed(pairs), "bands": summed(bands), "beats": beats}


def judge_recording(
    model: SpotModel, recording: ImageArray, beats: FloatArray, side: int
) -> list[Judged]:
    """All windows of a recording, each shown to the model alone.

    The recording is normalised once, as a whole, so that a beat is the same in all of its windows.

    Args:
        model: the trained net.
        recording: (samples, channels).
        beats: (n,) ascending samples.
        side: samples of a window.
    """
    shown = model.prepared(recording)
    asked = windows_of(beats, len(shown), side)
    tolerance = TOLERANCE * material.RATE
    found: list[Judged] = []
    for first in range(0, len(asked), BATCH):
        some = asked[first : first + BATCH]
        for window, spots in zip(some, spots_in(model, shown, some, side), strict=True):
            found.append(judge_window(window, side, beats, spots, tolerance))
    return found


def spots_in(
    model: SpotModel, shown: ImageArray, windows: list[Window], side: int
) -> list[FloatArray]:
    """(m,) samples of the spots in each window, counted from its start."""
    cut = np.stack([shown[one.start : one.start + side] for one in windows])
    return [one.points[:, 0] for one in model.predict_scaled(cut, [(side,)] * len(windows))]


def paths_at(rule: str, side: int, layers: int) -> FloatArray:
    """(side,) paths from each sample to the maps of a straight net, as shares of the most.

    Args:
        rule: member of `PADDINGS`.
        side: samples.
        layers: of the net; its width changes nothing of the shares.
    """
    with torch.random.fork_rng(devices=[]):
        net = Straight(1, 1, width=1, layers=layers, padding_mode=rule).eval()
    return paths_of(net, (1, side))
