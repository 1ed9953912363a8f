"""All measured findings of one network, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from placewise.auditing._finding import Finding
from placewise.auditing._layers import Strides, common_shift, find_layers
from placewise.auditing._probe import noise_images
from placewise.auditing._windows import room, window
from placewise.auditing.effective import EffectiveField, effective_field
from placewise.auditing.equivariance import Equivariance, equivariance
from placewise.auditing.position import BorderSwap, PositionProbe, border_swap, position_probe
from placewise.auditing.sensitivity import (
    Comparison,
    Sensitivity,
    compare,
    gradient_sensitivity,
    occlusion,
    perturbation,
)
from placewise.auditing.shift import (
    Consistency,
    PhaseMap,
    PlaceMap,
    consistency,
    phase_map,
    place_map,
)
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import undisturbed

MANY, SOME, FEW = 32, 8, 4
"""Images for what is cheap, for what is not, and for what runs the network at many places."""

ROOM = 2
"""Sides of the images for a side of what the network gets: real image lies around it."""

PLACES = {1: 16, 2: 5, 3: 3}
"""Occluded cells, places of an object, and phases along each axis, by the number of axes."""

GRADIENTS = 4
"""For each image, of the effective field and of the sensitivity."""


@dataclass(frozen=True, eq=False)
class Hints:
    """What counting tells measuring.

    Attributes:
        theoretical: sides of the receptive field of the last map, in pixels.
        prediction: (*space) what the sensitivity is held against: the number of paths.
        stride: pixels per axis after which phases repeat, where no layer tells.
    """

    theoretical: Sequence[int] | None = None
    prediction: FloatArray | None = None
    stride: Sequence[int] | None = None


@dataclass(frozen=True)
class Measured(Finding):
    """What was measured; None where that was not possible, and `missing` says why.

    Attributes:
        source: "images" or "noise".
        images: how many were looked at, at most.
        effective_field: of the middle place of the last map.
        sensitivity: to small noise, by pixel.
        occlusion: to painting over, by cell.
        comparison: of the sensitivity with the number of paths.
        occlusion_comparison: of the occlusion with them.
        consistency: of the class of shifted crops.
        phases: shifts by less than the stride.
        places: of an object on even ground.
        equivariance: of each layer's map, by distance from the border.
        border_swap: padding against real image, by distance from the border.
        position: how well the place can be read off each layer.
        missing: what could not be measured, and why.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(2))
        >>> found = measure(net, (1, 16, 16))
        >>> found.source, found.effective_field.theoretical is None
        ('noise', True)
    """

    source: str
    images: int
    effective_field: EffectiveField | None = None
    sensitivity: Sensitivity | None = None
    occlusion: Sensitivity | None = None
    comparison: Comparison | None = None
    occlusion_comparison: Comparison | None = None
    consistency: Consistency | None = None
    phases: PhaseMap | None = None
    places: PlaceMap | None = None
    equivariance: tuple[Equivariance, ...] | None = None
    border_swap: tuple[BorderSwap, ...] | None = None
    position: tuple[PositionProbe, ...] | None = None
    missing: dict[str, str] = field(default_factory=dict)


def measure(
    model: nn.Module,
    shape: Sequence[int],
    images: Tensor | None = None,
    hints: Hints | None = None,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Measured:
    """Measure all that this network lets be measured.

    Args:
        model: any network; it stays as found.
        shape: (C, *space) of the image that it gets.
        images: (N, C, *space) as the network wants them, of this size or larger: of larger ones
            it gets the middle, and what lies around serves for shifts and borders, for which twice
            the size is a good choice. None: noise.
        hints: what is known from counting.
        seed: of all draws.
        progress: told (done, total) runs of the network after each of them; a run on larger
            images counts as several, and so does a gradient.

    Raises:
        SettingsError: the images do not fit, or nothing can be measured with them.
    """
    space = tuple(shape[1:])
    source = "noise" if images is None else "images"
    if images is None:
        wide = (shape[0], *(ROOM * side for side in space))
        images = noise_images(wide, MANY, seed)
    with undisturbed(model):
        layers = _layers(model, shape)
    bench = _Bench(model, _fitted(images, shape), space, layers, hints or Hints(), seed)
    steps = bench.steps()
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    meter = _Meter(math.prod(shape), sum(runs for _, runs, _ in steps), progress)
    with meter.on(model):
        for name, runs, step in steps:
            with meter.during(runs):
                try:
                    found[name] = step()
                except SettingsError as error:
                    missing[name] = str(error)
    if not found:
        raise SettingsError(f"nothing could be measured: {missing[steps[0][0]]}")
    if hints and hints.prediction is not None:
        for name, held in (("sensitivity", "comparison"), ("occlusion", "occlusion_comparison")):
            if name in found:
                found[held] = compare(found[name], hints.prediction)
    return Measured(source, min(MANY, len(images)), **found, missing=missing)


def _fitted(images: Tensor, shape: Sequence[int]) -> Tensor:
    """The images that are looked at, if they have these channels and at least this size."""
    if images.ndim != len(shape) + 1 or images.shape[1] != shape[0]:
        raise SettingsError(
            f"the images have shape {tuple(images.shape)}, and the network is audited at "
            f"{tuple(shape)}; give (images, {', '.join(map(str, shape))}) or larger ones"
        )
    room(images, tuple(shape[1:]), (0,) * (len(shape) - 1))
    return images[:MANY]


def _layers(model: nn.Module, shape: Sequence[int]) -> dict[str, Strides]:
    """Layers that give maps; none where none does."""
    try:
        return find_layers(model, tuple(shape))
    except SettingsError:
        return {}


class _Meter:
    """Counts the runs of a network while it runs, and tells how many are done."""

    def __init__(
        self, values: int, total: int, tell: Callable[[int, int], None] | None = None
    ) -> None:
        self.values, self.total, self.tell = values, total, tell
        self.done, self.end = 0.0, 0

    @contextmanager
    def on(self, model: nn.Module) -> Iterator[None]:
        """Listen to a network; the hook is gone afterwards."""
        handle = model.register_forward_hook(self._ran)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def during(self, runs: int) -> Iterator[None]:
        """A measurement for which so many runs are planned."""
        self.end += runs
        yield
        self.done = self.end
        self._say()

    def _ran(self, _model: nn.Module, inputs: tuple[Any, ...], _output: object) -> None:
        done = self.done + inputs[0].numel() / self.values
        self.done = min(done, self.end)
        self._say()

    def _say(self) -> None:
        if self.tell:
            self.tell(round(self.done), self.total)


def _few_phases(stride: int, most: int) -> list[int]:
    """Offsets from 0 to the stride: all, or powers of two, of which each breaks other layers."""
    if stride < most:
        return list(range(stride + 1))
    powers = [2**n for n in range(stride.bit_length()) if 2**n < stride]
    chosen = np.linspace(0, len(powers) - 1, min(most - 2, len(powers))).round().astype(int)
    return [0, *(powers[one] for one in chosen), stride]


@dataclass(frozen=True)
class _Bench:
    """One network with its images, ready to be measured."""

    model: nn.Module
    wide: Tensor
    space: tuple[int, ...]
    layers: dict[str, Strides]
    hints: Hints
    seed: int

    def middle(self, count: int, spare: Sequence[int] | None = None) -> Tensor:
        """Middles of images, of the network's size and so many pixels more."""
        sides = (
            self.space if spare is None else tuple(map(sum, zip(self.space, spare, strict=True)))
        )
        free = room(self.wide, sides, (0,) * len(sides))
        return self.wide[:count][window([left // 2 for left in free], sides)]

    def steps(self) -> list[tuple[str, int, Callable[[], object]]]:
        """(name, runs of the network, what to do) of each measurement."""
        axes = len(self.space)
        cells = PLACES[axes] ** axes
        return [
            ("effective_field", (1 + GRADIENTS) * SOME, self.effective_field),
            ("sensitivity", (2 + GRADIENTS) * SOME, self.sensitivity),
            ("position", MANY, self.position),
            ("equivariance", (1 + axes) * SOME, self.equivariance),
            ("border_swap", (1 + ROOM**axes) * SOME, self.border_swap),
            ("consistency", 2 * MANY, self.consistency),
            ("phases", cells * FEW, self.phases),
            ("places", cells * FEW, self.places),
            ("occlusion", (1 + cells) * FEW, self.occlusion),
        ]

    def effective_field(self) -> EffectiveField:
        name = list(self.layers)[-1] if self.layers else ""
        return effective_field(
            self.model,
            self.middle(SOME),
            layer=name,
            channels=GRADIENTS,
            theoretical=self.hints.theoretical if self.layers else None,
            seed=self.seed,
        )

    def sensitivity(self) -> Sensitivity:
        """By differentiation; of networks that cannot be differentiated, by trying."""
        try:
            images = self.middle(SOME)
            return gradient_sensitivity(self.model, images, projections=GRADIENTS, seed=self.seed)
        except SettingsError:
            cells = PLACES[len(self.space)]
            return perturbation(self.model, self.middle(FEW), grid=cells, seed=self.seed)

    def occlusion(self) -> Sensitivity:
        return occlusion(self.model, self.middle(FEW), grid=PLACES[len(self.space)])

    def position(self) -> tuple[PositionProbe, ...]:
        return position_probe(self.model, self.middle(MANY), layers=self._named(), seed=self.seed)

    def equivariance(self) -> tuple[Equivariance, ...]:
        wide = self.middle(SOME, self._shift())
        return equivariance(self.model, wide, size=self.space, layers=self._named())

    def border_swap(self) -> tuple[BorderSwap, ...]:
        return border_swap(self.model, self.wide[:SOME], size=self.space, layers=self._named())

    def consistency(self) -> Consistency:
        """As with 256 pixels for 224, and a whole stride at least."""
        spare = [max(s, side // 7) for s, side in zip(self._shift(), self.space, strict=True)]
        wide = self.middle(MANY, spare)
        return consistency(self.model, wide, size=self.space, pairs=1, seed=self.seed)

    def phases(self) -> PhaseMap:
        stride = self._shift()
        few = [_few_phases(step, PLACES[len(stride)]) for step in stride]
        wide = self.middle(FEW, stride)
        return phase_map(self.model, wide, size=self.space, stride=stride, offsets=few)

    def places(self) -> PlaceMap:
        at = PLACES[len(self.space)]
        return place_map(self.model, self.middle(FEW), stride=self._shift(), places=at)

    def _named(self) -> dict[str, Strides]:
        if not self.layers:
            raise SettingsError(
                "no layer gives a map that grows with the image, so there is nothing to compare "
                "place by place"
            )
        return self.layers

    def _shift(self) -> tuple[int, ...]:
        if not self.layers and self.hints.stride is not None:
            return tuple(self.hints.stride)
        return common_shift(self._named())
