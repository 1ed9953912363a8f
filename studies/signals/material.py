"""Recordings with beats: excerpts of real ones, and made ones where no data are at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from placewise.errors import SettingsError
from placewise.formats import read_dataset, write_dataset
from placewise.geometry import FloatArray
from placewise.labels import KeypointSample, SpotDataset, Visibility
from studies._material import missing_files

MADE, ECG = "made", "ecg"

FOLDER = "mitbih12"
RECORDS = (
    ("100", "104", "106", "114", "119", "123"),
    ("102", "105", "108", "116", "121", "200"),
)
"""The two folds by patient that the README of these data proposes."""

RATE = 360
"""Samples in a second."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Amount:
    """How much of each patient is used.

    Attributes:
        seconds: of an excerpt.
        train: excerpts of a patient to learn from; one more is for validation.
        test: excerpts of a patient to test on.
        patients: made patients, of whom half are for the test.
    """

    seconds: int
    train: int
    test: int
    patients: int


@dataclass(frozen=True)
class Recording:
    """A patient's signal and the samples of all beats in it.

    Attributes:
        name: of the patient.
        signal: (samples,) float32.
        beats: (n,) ascending.
    """

    name: str
    signal: NDArray[np.float32]
    beats: FloatArray

    def part(self, start: int, stop: int) -> Recording:
        """From one sample up to another."""
        inside = self.beats[(self.beats >= start) & (self.beats < stop)]
        return Recording(f"{self.name}-{start}", self.signal[start:stop], inside - start)


def missing(data: Path | None) -> str:
    """Why the real recordings cannot be used; empty if they can."""
    return missing_files(data, [f"{FOLDER}/{name}.npz" for fold in RECORDS for name in fold])


def folds(name: str) -> tuple[int, ...]:
    """Numbers of the folds: each is tested once, by a net that has seen the others."""
    return (0,) if name == MADE else tuple(range(len(RECORDS)))


def excerpts(
    name: str, fold: int, data: Path | None, folder: Path, amount: Amount, seed: int
) -> Path:
    """Write the excerpts of a fold where they are not yet.

    Args:
        name: `MADE` or `ECG`.
        fold: the patients that are tested.
        data: folder of data sets.
        folder: gets the recordings and `points.csv`.
        amount: how much.
        seed: of what is made.

    Returns:
        Path of `points.csv`, in which every recording has a split.
    """
    file = folder / "points.csv"
    if file.is_file():
        return file
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        place = Path(work, "new")
        place.mkdir()
        samples = []
        for split, part in _parts(name, fold, data, amount, seed):
            np.savez(place / f"{part.name}.npz", signal=part.signal, fs=RATE)
            samples.append(_sample(part, split))
        labels = SpotDataset(place, ("beat",), tuple(samples))
        write_dataset(labels, place / "points.csv")
        place.rename(folder)
    return file


def labels_of(file: Path) -> SpotDataset:
    """Labels of beats.

    Raises:
        SettingsError: the file holds labels of another kind.
    """
    labels = read_dataset(file)
    if not isinstance(labels, SpotDataset):
        raise SettingsError(f"{file} holds {labels.what}; the study needs beats of recordings")
    return labels


def _sample(part: Recording, split: str) -> KeypointSample:
    points = part.beats.reshape(-1, 1, 1)
    seen = np.full((len(points), 1), Visibility.VISIBLE, np.int8)
    return KeypointSample(f"{part.name}.npz", (len(part.signal),), points, seen, split)


def _parts(
    name: str, fold: int, data: Path | None, amount: Amount, seed: int
) -> Iterator[tuple[str, Recording]]:
    """(split, excerpt) of all patients, spread over each recording."""
    if name == MADE:
        half = amount.patients // 2
        learnt, tested = range(half), range(half, amount.patients)
        need = amount.seconds * max(amount.train + 1, amount.test)
        patients = [made(number, need, seed) for number in (*learnt, *tested)]
        groups: Sequence[Sequence[Recording]] = (patients[:half], patients[half:])
    else:
        if data is None:
            raise SettingsError("no folder of data was given (`--data`)")
        others = [one for number, one in enumerate(RECORDS) if number != fold]
        groups = tuple(
            [_read(data / FOLDER / f"{record}.npz") for record in records]
            for records in ([record for one in others for record in one], RECORDS[fold])
        )
    for patient in groups[0]:
        spread_out = _spread(patient, amount.train + 1, amount.seconds)
        for number, part in enumerate(spread_out):
            yield ("val" if number == amount.train else "train"), part
    for patient in groups[1]:
        for part in _spread(patient, amount.test, amount.seconds):
            yield "test", part


def _spread(patient: Recording, count: int, seconds: int) -> list[Recording]:
    """So many excerpts, evenly over a recording, none over another."""
    length, whole = seconds * RATE, len(patient.signal)
    starts = [round(at) for at in np.linspace(0, whole - length, count + 2)[1:-1].tolist()]
    if any(after - before < length for before, after in pairwise(starts)):
        starts = [number * length for number in range(count)]
    return [patient.part(start, start + length) for start in starts]


def _read(file: Path) -> Recording:
    with np.load(file, allow_pickle=False) as arrays:
        signal = np.asarray(arrays["signal_adc"], np.float32)
        return Recording(file.stem, signal, np.asarray(arrays["beats"], np.float64))


def made(number: int, seconds: int, seed: int) -> Recording:
    """A made patient: waves before, at and after each beat, early beats, wander, hum and noise.

    Patient number i depends on (seed, i) alone.

    Args:
        number: of the patient.
        seconds: of the recording.
        seed: everything that is drawn follows from it.

    Example:
        >>> one = made(0, 20, 0)
        >>> one.signal.shape, 10 < len(one.beats) < 50
        ((7200,), True)
    """
    rng = np.random.default_rng([seed, number])
    time = np.arange(seconds * RATE) / RATE
    gaps = 60 / rng.uniform(55, 105) * (1 + rng.normal(0, 0.06, 3 * seconds))
    early = rng.random(len(gaps)) < 0.08
    gaps[early] *= 0.65
    at = np.cumsum(gaps)
    inside = at < seconds
    at, early = at[inside], early[inside]
    signal = rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * time)
    signal += 0.03 * np.sin(2 * np.pi * 60 * time) + rng.normal(
        0, rng.uniform(0.05, 0.2), len(time)
    )
    sign = rng.choice([-1.0, 1.0], p=[0.2, 0.8])
    waves = [  # (height, seconds from the beat, width in seconds)
        (rng.uniform(0.05, 0.3), -rng.uniform(0.13, 0.2), 0.022),
        (sign * rng.uniform(0.6, 1.4), 0.0, rng.uniform(0.009, 0.016)),
        (-sign * rng.uniform(0.1, 0.4), 0.035, 0.012),
        (rng.uniform(0.1, 0.6), rng.uniform(0.24, 0.32), 0.05),
    ]
    for beat, is_early in zip(at, early, strict=True):
        for height, away, width in waves:
            wide = 3.0 if is_early and away in (0.0, 0.035) else 1.0
            signal += height * np.exp(-0.5 * ((time - beat - away) / (wide * width)) ** 2)
    return Recording(f"made{number}", signal.astype(np.float32), np.round(at * RATE))
