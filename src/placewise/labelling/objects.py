"""What is labelled: the keypoints' definition, and the objects on one image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from placewise.errors import DataError, SettingsError
from placewise.labels import KeypointDataset, KeypointSample, Visibility, guess_symmetry
from placewise.labels.names import shown

LONGEST = 255
"""Characters of a name at most."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST)]
Place = Annotated[float, Field(ge=-1e6, le=1e6, strict=True)]
Pair = tuple[Name, Name]

Absent = tuple[Literal[1]]
Located = tuple[Literal[2, 3], Place, Place]
Point = Absent | Located
"""Visibility, and x and y in pixels of a keypoint that is located."""


class Definition(BaseModel):
    """The keypoints of a folder.

    Attributes:
        names: of the keypoints, in the order in which they are placed.
        skeleton: pairs of names that are drawn joined.
        symmetry: pairs of names that change places in a mirror.
        objects: "one" object on an image, "several", or "many" keypoints of a kind.

    Example:
        >>> Definition.of("nose, left ear, right ear").symmetry
        (('left ear', 'right ear'),)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2000)]
    skeleton: Annotated[tuple[Pair, ...], Field(max_length=10_000)] = ()
    symmetry: Annotated[tuple[Pair, ...], Field(max_length=2000)] = ()
    objects: Literal["one", "several", "many"] = "one"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        try:
            KeypointDataset(Path(), self.names, (), self.symmetry, self.skeleton)
        except SettingsError as error:
            raise ValueError(str(error)) from error
        return self

    @classmethod
    def of(cls, names: str) -> Definition:
        """A definition from names between commas; pairs are guessed.

        Raises:
            SettingsError: names that cannot be.
        """
        parts = [name.strip() for name in names.split(",") if name.strip()]
        return checked(cls, {"names": parts, "symmetry": guess_symmetry(parts)}, "keypoints")

    @property
    def task(self) -> str:
        """Name of the task that learns such labels."""
        return {"one": "keypoints", "several": "poses", "many": "spots"}[self.objects]


class Labelled(BaseModel):
    """One object on an image.

    Attributes:
        points: what is known of its keypoints, by their names; one that is not there is not
            labelled.
        track: which object over the images it is; None where nobody says.
        area: in px²; None where nobody says.

    Example:
        >>> Labelled(points={"nose": (3, 4.5, 6.0), "tail": (1,)}).model_dump(exclude_none=True)
        {'points': {'nose': (3, 4.5, 6.0), 'tail': (1,)}}
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    points: Annotated[dict[Name, Point], Field(max_length=2000)] = {}
    track: Annotated[int, Field(ge=0, lt=2**53, strict=True)] | None = None
    area: Annotated[float, Field(ge=0, le=1e12, strict=True)] | None = None


Objects = tuple[Labelled, ...]
M = TypeVar("M", bound=BaseModel)

_OBJECTS: TypeAdapter[Objects] = TypeAdapter(
    Annotated[tuple[Labelled, ...], Field(max_length=100_000)]
)


def checked(model: type[M], content: Any, what: str) -> M:
    """Content as a model, with one line of ours where it does not fit.

    Raises:
        SettingsError: names the field.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SettingsError(_told(error, what)) from None


def read_objects(content: Any) -> Objects:
    """Objects from plain JSON.

    Raises:
        SettingsError: names the field that does not fit.

    Example:
        >>> read_objects([{"points": {"nose": [3, 1, 2]}}])[0].points
        {'nose': (3, 1.0, 2.0)}
    """
    try:
        return _OBJECTS.validate_python(content)
    except ValidationError as error:
        raise SettingsError(_told(error, "objects")) from None


def plain(objects: Objects) -> list[dict[str, Any]]:
    """Objects as plain JSON."""
    return [one.model_dump(mode="json", exclude_none=True) for one in objects]


def tag_of(objects: Objects) -> str:
    """A short name of what is labelled: two equal ones have the same.

    Example:
        >>> tag_of(()) == tag_of((Labelled(),))
        False
    """
    text = json.dumps(plain(objects), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def renamed(objects: Objects, names: Mapping[str, str]) -> Objects:
    """The same with keypoints of other names; a name that another takes is left out."""
    if not names:
        return objects
    found = []
    for one in objects:
        kept = {k: v for k, v in one.points.items() if k not in names and k not in names.values()}
        moved = {names[k]: v for k, v in one.points.items() if k in names}
        found.append(one.model_copy(update={"points": {**kept, **moved}}))
    return tuple(found)


def is_empty(objects: Objects) -> bool:
    """Whether nothing is labelled."""
    return not any(one.points for one in objects)


def left(objects: Objects, definition: Definition) -> int:
    """How many keypoints are not labelled yet on an image; one at least where nothing is.

    Example:
        >>> left((Labelled(points={"nose": (1,)}),), Definition.of("nose, tail"))
        1
    """
    if definition.objects == "many":
        return 0 if any(one.points for one in objects) else 1
    per = [sum(name not in one.points for name in definition.names) for one in objects]
    return sum(per) if per else len(definition.names)


def objects_of(sample: KeypointSample, names: Sequence[str]) -> Objects:
    """The objects of a sample."""
    found = []
    for i, (places, seen) in enumerate(zip(sample.points, sample.visibility, strict=True)):
        points: dict[str, Any] = {}
        for name, place, state in zip(names, places, seen, strict=True):
            if state >= Visibility.HIDDEN:
                points[name] = (int(state), float(place[0]), float(place[1]))
            elif state == Visibility.ABSENT:
                points[name] = (1,)
        track = -1 if sample.tracks is None else int(sample.tracks[i])
        area = np.nan if sample.areas is None else float(sample.areas[i])
        found.append(
            Labelled(
                points=points,
                track=track if track >= 0 else None,
                area=area if np.isfinite(area) else None,
            )
        )
    while found and found[-1] == Labelled():
        found.pop()
    return tuple(found)


def sample_of(
    image: str, size: tuple[int, ...], objects: Objects, names: Sequence[str]
) -> KeypointSample:
    """The objects of an image as a sample.

    Example:
        >>> sample_of("a.png", (8, 8), (Labelled(points={"nose": (1,)}),), ["nose"]).visibility
        array([[1]], dtype=int8)
    """
    if len(size) != 2:
        raise DataError(f"{image} has {len(size)} axes; the page shows images of two")
    count = max(1, len(objects))
    points = np.full((count, len(names), 2), np.nan)
    visibility = np.zeros((count, len(names)), np.int8)
    for i, one in enumerate(objects):
        for k, name in enumerate(names):
            known = one.points.get(name)
            if known is not None:
                visibility[i, k] = known[0]
                points[i, k] = known[1:] if len(known) == 3 else np.nan
    tracks = np.array([-1 if one.track is None else one.track for one in objects], np.int64)
    areas = np.array([np.nan if one.area is None else one.area for one in objects])
    return KeypointSample(
        image,
        size,
        points,
        visibility,
        tracks=tracks if (tracks >= 0).any() else None,
        areas=areas if np.isfinite(areas).any() else None,
    )


def _told(error: ValidationError, what: str) -> str:
    """The first fault of a model in one line of plain words."""
    first = error.errors(include_url=False)[0]
    place, kind, got = first["loc"], first["type"], first.get("input")
    if kind == "value_error":
        return first["msg"].removeprefix("Value error, ")[:300]
    if kind in ("string_too_long", "string_too_short") or place[-1:] == ("[key]",):
        if not isinstance(got, str) or not got:
            return "a name is empty; write at least one letter"
        return (
            f"the name {shown(got)} has {len(got)} characters; a name has {LONGEST} at most: "
            "choose a shorter one"
        )
    if "points" in place[:-1]:
        name = place[place.index("points") + 1]
        return (
            f"the keypoint {shown(name)} is not understood; expected [1] where it is absent, or "
            "[3, x, y] where it is visible and [2, x, y] where it is hidden, with numbers in pixels"
        )
    field = next((str(part) for part in reversed(place) if isinstance(part, str)), what)
    if kind == "missing":
        return f"{shown(field)} is missing in what was sent as {what}"
    if kind == "extra_forbidden":
        return f"{shown(field)} is not known in what was sent as {what}; leave it out"
    if kind in ("too_long", "too_short"):
        few = "many" if kind == "too_long" else "few"
        return f"there are too {few} {field}; {_limits(first)}"
    return f"{what}: got {shown(got)} for {shown(field)}, which it cannot be; {_limits(first)}"


def _limits(fault: Any) -> str:
    """What a value may be, as far as the fault says it."""
    limits = fault.get("ctx", {})
    words = {
        "min_length": "at least",
        "max_length": "at most",
        "ge": "at least",
        "gt": "more than",
        "le": "at most",
        "lt": "less than",
        "expected": "one of",
    }
    said = [f"{word} {limits[key]}" for key, word in words.items() if key in limits]
    kinds = {"float": "a number", "int": "a whole number", "string": "a text", "bool": "yes or no"}
    kind = kinds.get(fault["type"].split("_")[0], "a value of another kind")
    return f"expected {' and '.join(said) or kind}"
