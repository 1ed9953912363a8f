"""By the clock: the schedule is where the time is, and what it did can be done again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from placewise.errors import CheckpointError, SettingsError
from placewise.formats import read_dataset
from placewise.run import Run
from placewise.training import Clock, train
from placewise.training.loop import Trainer
from placewise.training.schedule import (
    Counted,
    Recorded,
    Timed,
    learning_rate,
    places_of,
)
from placewise.training.threads import Threads

QUICK: dict[str, Any] = {
    "precision": "float32",
    "backbone_settings": {"width": 16, "depth": 1},
    "batch_size": 4,
}


class Hand:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds


def simulated(schedule: Timed, hand: Hand, pace: Any, cost: Any) -> list[float]:
    """Places of all steps of a training whose step takes pace(seconds), a validation cost(…)."""
    step, places, last = 0, [], False
    while not last:
        block = schedule.block(step)
        assert block.start == step < block.stop
        for step in range(block.start, block.stop):
            taken = pace(hand.seconds)
            hand.seconds += taken
            schedule.stepped(taken, taken)
            places.append(block.place(step))
        step, last = block.stop, block.last
        if block.validates:
            taken = cost(hand.seconds)
            hand.seconds += taken
            schedule.validated(taken)
    assert schedule.finished(step)
    return places


@pytest.mark.parametrize("minutes", [1, 4, 8])
@pytest.mark.parametrize("slower", [1.0, 2.0, 0.5])
def test_the_end_is_at_the_minute_whatever_the_speed_becomes(minutes: int, slower: float) -> None:
    """Reading at the start; calibration and report, worth two validations, at the end."""
    hand, whole = Hand(), 60.0 * minutes

    def factor(seconds: float) -> float:
        return slower if seconds > whole / 2 else 1.0

    hand.seconds = 0.05 * whole
    schedule = Timed(whole, Clock(0.0, now=hand.now), after=(3.0, 0.0))
    places = simulated(
        schedule, hand, lambda now: 0.13 * factor(now), lambda now: 0.6 * factor(now)
    )
    hand.seconds += 2 * 0.6 * factor(hand.seconds)
    assert hand.seconds == pytest.approx(whole, rel=0.015)
    assert all(0 <= a <= b <= 1 for a, b in pairwise(places))
    assert places[0] < 0.01 and places[-1] == 1.0
    half = sum(place < 0.5 for place in places) / len(places)
    assert half == pytest.approx(slower / (1 + slower), abs=0.05)


def test_steps_are_counted_exactly() -> None:
    """By steps nothing depends on a clock, and a block goes on wherever it is entered."""
    counted = Counted(25, every=12)
    stops, step = [], 0
    while not counted.finished(step):
        step = counted.block(step).stop
        stops.append(step)
    assert stops == [10, 12, 20, 24, 25]
    for step in range(25):
        assert counted.block(step).place(step) == step + 1
    assert learning_rate(25, counted, 1.0) == pytest.approx(0, abs=1e-9)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def hand(one_thread: None, monkeypatch: pytest.MonkeyPatch) -> Hand:
    """A clock that every step puts forward by an eighth of a second, or a little more."""
    hand, usual = Hand(), Trainer._one_step

    def step(self: Trainer, *given: Any) -> float:
        hand.seconds += 0.125 + self.step % 3 / 64  # no rounding
        return usual(self, *given)

    monkeypatch.setattr(Trainer, "_one_step", step)
    return hand


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(max((run / "checkpoints").glob("step-*")))


def assert_same_end(one: Run, other: Run) -> None:
    first, second = weights(one.path), weights(other.path)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    curves = [
        [{k: v for k, v in line.items() if k != "images_per_second"} for line in run.log()]
        for run in (one, other)
    ]
    assert curves[0] == curves[1]


class Stopped(Exception):
    """What stops a training here."""


def test_resumed_and_repeated_it_ends_in_the_same_bits(
    squares: Path, tmp_path: Path, hand: Hand
) -> None:
    dataset = read_dataset(squares)
    settings = {**QUICK, "max_minutes": 0.05, "val_interval": 6}

    def clock() -> Clock:
        return Clock(hand.now(), now=hand.now)

    whole = train(dataset, tmp_path / "whole", quiet=True, clock=clock(), **settings)
    lines = [line for line in whole.log() if "place" in line]
    assert len(lines) > 10 and lines[-1]["place"] == 1.0

    def stop(line: Any) -> None:
        if line["step"] >= 16:
            raise Stopped

    with pytest.raises(Stopped):
        out = tmp_path / "resumed"
        train(dataset, out, quiet=True, clock=clock(), callbacks=[stop], **settings)
    with pytest.raises(SettingsError, match="is not finished, so it cannot be repeated"):
        train(dataset, tmp_path / "none", repeat=out)
    hand.seconds += 1000.0  # while it stood still
    resumed = train(dataset, out, quiet=True, resume=True, clock=clock(), **settings)
    assert_same_end(whole, resumed)
    repeated = train(dataset, tmp_path / "repeated", quiet=True, repeat=whole.path)
    assert_same_end(whole, repeated)
    assert repeated.stamp == whole.stamp
    with pytest.raises(SettingsError, match=r"seed=3 .*A repeated run keeps"):
        train(dataset, tmp_path / "none", repeat=whole.path, seed=3)
    (repeated.path / "schedule.json").write_text('{"steps": [1], "sha256": "0"}')
    with pytest.raises(CheckpointError, match=r"schedule\.json is damaged"):
        train(dataset, repeated.path, quiet=True, resume=True)
    places = places_of(whole)
    assert places is not None and Recorded(places).total(0) == lines[-1]["step"]


def test_threads_follow_the_load() -> None:
    """Crowded, two threads wait for each other: one takes over, and two again when it is calm."""
    threads, counts = Threads(2), []
    for number in range(200):
        count, most = threads.chosen()
        counts.append(count)
        crowded = 50 <= number < 120
        seconds = {1: 1.75, 2: 1.0}[count] if not crowded else {1: 2.6, 2: 9.0}[count]
        share = 0.66 if crowded and count == 1 else 0.4 if crowded else 0.97
        for _ in range(min(most, 3)):
            threads.stepped(seconds, share * seconds)
    assert set(counts[:50]) == {2}
    assert counts[55:120].count(1) > 60
    assert counts[125:].count(2) > 70
    assert {count for count, _ in [Threads(1).chosen()]} == {1}
