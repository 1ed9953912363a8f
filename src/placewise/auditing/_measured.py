"""All measured findings of one network, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from placewise.auditing._draws import noise_images
from placewise.auditing._faster import fastest, following
from placewise.auditing._numbers import Finding
from placewise.auditing._run import (
    OUTPUT,
    MapOf,
    Strides,
    as_input,
    batches,
    channels_last,
    common_shift,
    crop,
    find_layers,
    forward,
    map_sizes,
    measurable,
    outputs,
    reporting,
    room,
    run,
)
from placewise.auditing.borders import BorderSwap, Equivariance, border_swap, equivariance
from placewise.auditing.effective import EffectiveField, effective_field
from placewise.auditing.position import PlacesRead, PositionProbe
from placewise.auditing.receptive_field import GLOBAL, ReceptiveField
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
    compared,
    crop_pairs,
    phase_map,
    place_map,
)
from placewise.errors import SettingsError
from placewise.geometry import FloatArray
from placewise.graph import uncompiled, undisturbed
from placewise.undisturbed import lacks_values

MANY, PAIRS, FEW, PAINTED = 32, 16, 4, 2
"""Images for the position, for the consistency, for what averages over many places or directions,
and for what runs the network for each of many places."""

ROOM = 2
"""Sides of the images over those of the network's input, so that real image surrounds it."""

CELLS = {1: 16, 2: 5, 3: 3}
"""Occluded cells along each axis, by the number of axes."""

PLACES = {1: 16, 2: 3, 3: 3}
"""Places of an object, and phases, along each axis."""

CHANNELS, PROJECTIONS = 4, 8
"""Gradients for each image: for the effective field, and for the sensitivity."""

BATCH = 8
"""Most images in one run: more of 224 pixels do not fit into the cache of a processor."""


@dataclass(frozen=True, eq=False)
class Hints:
    """What is known from counting.

    Attributes:
        fields: receptive fields of maps, by the submodule that returns them and their sides.
        prediction: (*space) what the sensitivity is compared with: the path counts.
        stride: pixels per axis after which phases repeat, used if no layer shows it.
    """

    fields: Mapping[MapOf, ReceptiveField] = field(default_factory=dict)
    prediction: FloatArray | None = None
    stride: Sequence[int] | None = None

    def strides(self) -> dict[MapOf, Strides]:
        """Strides of maps along the axes: those that are whole, or one over a whole number."""
        found: dict[MapOf, Strides] = {}
        for name, one in self.fields.items():
            steps = [step for step in one.stride if step and 1 in step.as_integer_ratio()]
            if len(steps) == len(one.stride):
                found[name] = tuple(steps)
        return found


@dataclass(frozen=True)
class Measured(Finding):
    """The measured findings; None for those that were not possible, with the reason in `missing`.

    Attributes:
        source: "images" or "noise".
        images: largest number of images that a measurement used.
        effective_field: of the middle place of the last map.
        sensitivity: to small noise, by pixel.
        occlusion: to painting over, by cell.
        comparison: of the sensitivity with the path counts.
        occlusion_comparison: of the occlusion with the path counts.
        consistency: of the class of shifted crops.
        phases: shifts by less than the stride.
        places: of an object on a uniform ground.
        equivariance: of each layer's map, by distance from the border.
        border_swap: padding against real image, by distance from the border.
        position: how well the place can be read off each layer.
        missing: measurements that were not possible, with the reason.

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
    """Measure everything that this network allows.

    Args:
        model: any network; it is left unchanged.
        shape: (C, *space) of the network's input.
        images: (N, C, *space), normalised as the network expects, of this size or larger. The
            network gets the middle of larger ones, and their surroundings are used for shifts and
            borders; twice the size is a good choice. None: noise.
        hints: what is known from counting.
        seed: for all random draws.
        progress: called with (done, total) runs of the network after each of them; a run on
            larger images counts as several, and so does a gradient.

    Raises:
        SettingsError: the images do not fit.
    """
    hints = hints or Hints()
    source = "noise" if images is None else "images"
    given = None if images is None else _fitted(images, shape)
    bench = _Bench(uncompiled(model), given, tuple(shape), {}, hints, seed)
    found: dict[str, Any] = {}
    try:
        bench = bench.prepared()
    except SettingsError as error:
        missing = dict.fromkeys(bench.runs(), str(error))
    else:
        found, missing = _measurements(bench, _Meter(math.prod(shape), progress))
    pairs = {"sensitivity": "comparison", "occlusion": "occlusion_comparison"}
    if hints.prediction is not None:
        for name in found.keys() & pairs.keys():
            found[pairs[name]] = compare(found[name], hints.prediction)
    count = MANY if given is None else len(given)
    return Measured(source, count, **found, missing=missing)


def _measurements(bench: _Bench, meter: _Meter) -> tuple[dict[str, Any], dict[str, str]]:
    """What each measurement found, or why it was not possible."""
    planned = bench.runs()
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    meter.total = sum(planned.values())
    with reporting(meter.ran), channels_last(use=bench.channels_last):
        for name, runs in planned.items():
            with meter.during(runs):
                try:
                    found[name] = getattr(bench, name)()
                except SettingsError as error:
                    missing[name] = str(error)
    return found, missing


def _fitted(images: Tensor, shape: Sequence[int]) -> Tensor:
    """The images to measure with, if they have these channels and at least this size."""
    if not isinstance(images, Tensor):
        raise SettingsError(
            f"the images are a {type(images).__name__}; give a tensor (images, channels, *space)"
        )
    if images.ndim != len(shape) + 1 or images.shape[1] != shape[0]:
        raise SettingsError(
            f"the images have shape {tuple(images.shape)}, and the network is audited at "
            f"{tuple(shape)}; give (images, {', '.join(map(str, shape))}) or larger ones"
        )
    room(images, tuple(shape[1:]))
    return images[:MANY]


class _Meter:
    """Counts the runs of a network, and reports how many are done.

    Args:
        values: of one image.
        report: called with (done, total).
    """

    def __init__(self, values: int, report: Callable[[int, int], None] | None = None) -> None:
        self.values, self.total, self.report = values, 0, report
        self.done, self.end = 0.0, 0

    @contextmanager
    def during(self, runs: int) -> Iterator[None]:
        """A measurement for which so many runs are planned."""
        self.end += runs
        yield
        self._reach(self.end)

    def ran(self, images: Tensor) -> None:
        """The network has run on images."""
        self._reach(min(self.done + images.numel() / self.values, self.end))

    def _reach(self, done: float) -> None:
        self.done = done
        if self.report:
            self.report(round(done), self.total)


def _few_phases(stride: int, most: int) -> list[int]:
    """Offsets from 0 to the stride: all, or powers of two, each of which affects other layers."""
    if stride < most:
        return list(range(stride + 1))
    powers = [2**n for n in range(stride.bit_length()) if 2**n < stride]
    chosen = np.linspace(len(powers) - 1, 0, min(most - 2, len(powers))).round().astype(int)
    return [0, *(powers[one] for one in reversed(chosen)), stride]


def _at_once(model: nn.Module, images: Tensor) -> int:
    """How many images the network takes at once: many, or one.

    Raises:
        SettingsError: it takes no image, or its output has no axis for images.
    """
    one = run(model, images[:1])[OUTPUT]
    try:
        both = forward(model, images)
    except SettingsError:
        return 1
    two = measurable(both, len(images))
    if one.shape[1:] != two.shape[1:]:
        raise SettingsError(
            f"the output has the shape {tuple(one.shape)} for one image and {tuple(two.shape)} for "
            "two; wrap the network so that it returns the same for each image"
        )
    return BATCH


@dataclass(frozen=True)
class _FirstCrops:
    """What one run on many crops showed: features at places, and the output in float64."""

    places: PlacesRead
    output: Tensor


@dataclass(frozen=True)
class _Bench:
    """One network with its images, ready to be measured."""

    model: nn.Module
    given: Tensor | None
    shape: tuple[int, ...]
    layers: dict[str, Strides]
    hints: Hints
    seed: int
    theoretical: Sequence[int] | None = None
    at_once: int = BATCH
    channels_last: bool = False
    moved: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    @property
    def space(self) -> tuple[int, ...]:
        """Sides of the network's input."""
        return self.shape[1:]

    @cached_property
    def wide(self) -> Tensor:
        """A few images with surroundings: of `ROOM` times the size if they are noise."""
        if self.given is not None:
            return self.given[:FEW]
        return noise_images((self.shape[0], *(ROOM * side for side in self.space)), FEW, self.seed)

    @cached_property
    def many(self) -> Tensor:
        """Many images; if they are noise, with room for shifts alone, which saves half a second."""
        if self.given is not None:
            return self.given
        sides = map(sum, zip(self.space, self._spare(), strict=True))
        return noise_images((self.shape[0], *sides), MANY, self.seed)

    def prepared(self) -> _Bench:
        """The same with the layers that give maps, and the number of images for one run.

        Raises:
            SettingsError: the network does not run, or its output cannot be measured.
        """
        if lacks_values(self.model):
            raise SettingsError(
                "the network's weights have no values: they are on the meta device; load them"
            )
        two = noise_images(self.shape, 2, self.seed) if self.given is None else self.middle(2)
        with undisturbed(self.model), torch.no_grad():
            images = as_input(self.model, two)
            at_once = _at_once(self.model, images)
            try:
                layers = find_layers(self.model, self.shape, known=self.hints.strides())
                name = list(layers)[-1]
                read = self._read(name, map_sizes(self.model, self.shape, [name])[name])
            except SettingsError:
                layers, read = {}, None
            images, names = images[:at_once], tuple(dict.fromkeys([*layers, OUTPUT]))
            with following(self.model) as found:
                expected = run(self.model, images, names)
            model, last = fastest(self.model, images, expected, found.foldable(expected))
        return replace(
            self,
            model=model,
            layers=layers,
            theoretical=read,
            at_once=at_once,
            channels_last=last,
        )

    def _read(self, layer: str, sides: tuple[int, ...]) -> Sequence[int] | None:
        """Pixels along each axis that a place of a map can read; None if they were not counted."""
        found = self.hints.fields.get((layer, sides))
        if found is None:
            return None
        return self.space if found.status == GLOBAL else found.size

    def middle(self, count: int, spare: Sequence[int] | None = None) -> Tensor:
        """Middles of images, with the network's size and so many pixels more."""
        spare = (0,) * len(self.space) if spare is None else spare
        sides = tuple(map(sum, zip(self.space, spare, strict=True)))
        free = room(self.many, sides)
        return self.many[:count][crop([left // 2 for left in free], sides)]

    def runs(self) -> dict[str, int]:
        """Planned runs of the network for each measurement; its method has the same name."""
        axes = len(self.space)
        cells, places = CELLS[axes] ** axes, PLACES[axes] ** axes
        return {
            "effective_field": (1 + CHANNELS) * FEW,
            "sensitivity": (1 + PROJECTIONS) * FEW,
            "position": MANY,
            "consistency": PAIRS,
            "equivariance": (1 + axes) * FEW,
            "border_swap": (1 + ROOM**axes) * FEW,
            "phases": (places - 1 - axes) * FEW,
            "places": places * PAINTED,
            "occlusion": (1 + cells) * PAINTED,
        }

    def effective_field(self) -> EffectiveField:
        layer = list(self.layers)[-1] if self.layers else OUTPUT
        return effective_field(
            self.model,
            self.middle(FEW),
            layer=layer,
            channels=CHANNELS,
            theoretical=self.theoretical,
            seed=self.seed,
            batch_size=self.at_once,
        )

    def sensitivity(self) -> Sensitivity:
        """By differentiation; by perturbation for networks that cannot be differentiated."""
        try:
            return gradient_sensitivity(
                self.model,
                self.middle(FEW),
                projections=PROJECTIONS,
                seed=self.seed,
                batch_size=self.at_once,
            )
        except SettingsError:
            return perturbation(
                self.model,
                self.middle(PAINTED),
                grid=CELLS[len(self.space)],
                seed=self.seed,
                batch_size=self.at_once,
            )

    def occlusion(self) -> Sensitivity:
        cells = CELLS[len(self.space)]
        return occlusion(self.model, self.middle(PAINTED), grid=cells, batch_size=self.at_once)

    def position(self) -> tuple[PositionProbe, ...]:
        self._named()
        return self._first_crops.places.probes()

    def equivariance(self) -> tuple[Equivariance, ...]:
        """It runs on crops of which `phases` needs the outputs, too."""
        wide, layers = self.middle(FEW, self._shift()), self._named()
        kept: dict[tuple[int, ...], list[Tensor]] = {}
        found = equivariance(
            self.model,
            wide,
            size=self.space,
            layers=layers,
            batch_size=self.at_once,
            keep=lambda offset, output: kept.setdefault(offset, []).append(output.double().cpu()),
        )
        self.moved.update({offset: torch.cat(parts) for offset, parts in kept.items()})
        return found

    def border_swap(self) -> tuple[BorderSwap, ...]:
        wide, layers = self.wide, self._named()
        return border_swap(
            self.model, wide, size=self.space, layers=layers, batch_size=self.at_once
        )

    def consistency(self) -> Consistency:
        second = self._pairs()[1][:PAIRS]
        with undisturbed(self.model):
            found = outputs(self.model, as_input(self.model, second), batch_size=self.at_once)
        first = self._first_crops.output[: len(found)]
        return compared(first, found, images=len(found), offsets=self._spare())

    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Two crops of each image."""
        wide = self.middle(MANY, self._spare())
        return crop_pairs(wide, self.space, seed=self.seed)

    def _spare(self) -> tuple[int, ...]:
        """Offsets of crops as with 256 pixels for 224, and a whole stride at least."""
        try:
            shift = self._shift()
        except SettingsError:  # it gives no map
            shift = (1,) * len(self.space)
        return tuple(max(step, side // 7) for step, side in zip(shift, self.space, strict=True))

    @cached_property
    def _first_crops(self) -> _FirstCrops:
        """One run on the first crops of pairs, for all that needs many images.

        Where the images have no room for shifts, on their middles.
        """
        try:
            images = self._pairs()[0]
        except SettingsError:
            images = self.middle(MANY)
        places, seen = PlacesRead(seed=self.seed), []
        with undisturbed(self.model):
            images = as_input(self.model, images)
            names = dict.fromkeys([*self.layers, OUTPUT])
            for maps in batches(self.model, images, tuple(names), self.at_once):
                places.add(images, {name: maps[name] for name in self.layers})
                seen.append(maps[OUTPUT].double().cpu())
        return _FirstCrops(places, torch.cat(seen))

    def phases(self) -> PhaseMap:
        stride = self._shift()
        few = [_few_phases(step, PLACES[len(stride)]) for step in stride]
        return phase_map(
            self.model,
            self.middle(FEW, stride),
            size=self.space,
            stride=stride,
            offsets=few,
            batch_size=self.at_once,
            known=self.moved,
            others=self._first_crops.output if len(self.many) > 1 else None,
        )

    def places(self) -> PlaceMap:
        return place_map(
            self.model,
            self.middle(PAINTED),
            stride=self._shift(),
            places=PLACES[len(self.space)],
            batch_size=self.at_once,
        )

    def _named(self) -> dict[str, Strides]:
        if not self.layers:
            raise SettingsError(
                "no layer gives a map that grows with the image, so that nothing can be compared "
                "place by place"
            )
        return self.layers

    def _shift(self) -> tuple[int, ...]:
        if not self.layers and self.hints.stride is not None:
            return tuple(self.hints.stride)
        return common_shift(self._named())
