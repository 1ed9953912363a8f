"""A net along time: its wiring, and trained on spoken digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from placewise.geometry import FloatArray
from studies import Options
from studies._findings import significant
from studies._material import Labelled, load_speech, missing_speech
from studies._training import accuracy, drawing, drawn_from, fit
from studies.edges.felt import Budget, Seen, bands
from studies.edges.nets import moved, settle, sound_net
from studies.edges.paths import paths_of

SAMPLES, PARTS, OUTER = 4096, 16, 64
"""Samples of a sound, parts of its length that are told apart, and samples that are its edge."""


def sound(options: Options, budget: Budget) -> dict[str, Any]:
    """A net along time: its wiring, and trained on spoken digits at the start or anywhere."""
    paths = paths_of(sound_net(), (1, SAMPLES))
    found = {
        "samples": SAMPLES,
        "hertz": 4000,
        "parts": PARTS,
        "outer": OUTER,
        "windows": 9,
        "convolutions": 5,
        "paths": {
            **bands(paths, OUTER),
            "first": significant(float(paths.max() / paths[0])),
            "last": significant(float(paths.max() / paths[-1])),
        },
        "roots": {**bands(np.sqrt(paths), OUTER), "parts": parts(np.sqrt(paths))},
        "below_half": significant(100 * float((paths < 0.5).mean())),
    }
    missing = missing_speech(options.data)
    if missing or options.data is None:
        return {**found, "there": False, "missing": missing}
    speech = load_speech(options.data, samples=SAMPLES, most=budget.recordings)
    nets = {}
    for where in ("start", "anywhere"):
        options.tell(f"spoken digits: {where}")
        nets[where] = _spoken(where, speech, np.sqrt(paths), budget, options.seed)
    loudness = speech.test.square().mean((0, 1)).sqrt().double().numpy()
    rows = [
        [
            where,
            net["accuracy"],
            net["before"]["over_edge"],
            net["after"]["over_edge"],
            net["before"]["rank"],
            net["after"]["rank"],
        ]
        for where, net in nets.items()
    ]
    header = [
        "the word is",
        "accuracy (%)",
        "middle / edge, before training",
        "after",
        "rank correlation with the paths, before",
        "and after",
    ]
    return {
        **found,
        "there": True,
        "learnt": len(speech.train),
        "tested": len(speech.test),
        "steps": budget.steps,
        "loudness": parts(loudness),
        "nets": nets,
        "table": {"header": header, "rows": rows},
    }


def _spoken(
    where: str, speech: Labelled, roots: FloatArray, budget: Budget, seed: int
) -> dict[str, Any]:
    def placed(sounds: Tensor, generator: torch.Generator) -> Tensor:
        return moved(sounds, generator) if where == "anywhere" else sounds

    draw = drawn_from(speech.train, speech.train_classes, placed)
    with drawing(seed) as generator:
        test = placed(speech.test, generator)
        shown = test[torch.randperm(len(test), generator=generator)[: 2 * budget.images]]
        net = sound_net()
        settle(net, shown)
        before = Seen.of(net, shown, roots, seed)
        fit(net, draw, budget.steps, generator)
        after = Seen.of(net, shown, roots, seed)
    return {
        "accuracy": significant(accuracy(net, test, speech.test_classes)),
        "before": {**before.numbers(OUTER), "parts": parts(before.map)},
        "after": {**after.numbers(OUTER), "parts": parts(after.map)},
    }


def parts(values: FloatArray) -> list[float]:
    """Means over the parts of a sound, 1 on average.

    Example:
        >>> parts(np.repeat([1.0, 3.0], 8))[7:9]
        [0.5, 1.5]
    """
    means = values.reshape(PARTS, -1).mean(1)
    return [significant(float(mean)) for mean in means / means.mean()]
