"""Keypoints of tools that tell objects by a group, or not at all, and keypoints without a name.

Most tools mark points one by one. Which points are of one object is said by a group, if by
anything. What nothing says is found from all images together:

- Keypoints of an image that have no group are one object, as long as each name is there once.
- Where a name repeats so often that repeating is what the file is about (cells), every point is an
  object, and a name without a point on an image is absent there.
- Points without a name are numbered in their order where every image has the same number of them;
  else they are many of a kind.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from placewise.formats._collect import Collector
from placewise.labels import Visibility
from placewise.labels.names import shown

MANY = 0.1
"""A keypoint that repeats in this share of the images that hold it is one of many of a kind."""

SLIPS = 2
"""Up to this many surplus points of a name are slips, however few images there are."""

KIND = "point"
"""Name of points that have none and are many of a kind."""

Placed = tuple[Visibility, float, float]
"""Visibility and place of a keypoint; the place is NaN where it has none."""


def many_of_a_kind(marks: Iterable[tuple[str, str]]) -> bool:
    """Whether some keypoint repeats so often that repeating is what a file is about.

    Args:
        marks: (image, name of the keypoint) of each mark.

    Example:
        >>> many_of_a_kind([("a.png", "cell")] * 5), many_of_a_kind([("a.png", "nose")] * 2)
        (True, False)
    """
    counts = Counter(marks)
    held = Counter(name for _, name in counts)
    repeated = Counter(name for (_, name), count in counts.items() if count > 1)
    surplus: Counter[str] = Counter()
    for (_, name), count in counts.items():
        surplus[name] += count - 1
    return any(surplus[p] > SLIPS and repeated[p] >= MANY * held[p] for p in repeated)


@dataclass(slots=True)
class _Mark:
    """A keypoint on an image; `group` is None where nothing says which object it is of."""

    image: str
    name: str
    placed: Placed
    group: Hashable
    row: int
    field: str
    kind: str | None = None


class Objects:
    """Gathers keypoints one by one, and says at the end which object each is of.

    Args:
        collector: takes the marks, and the faults.
        todo: what a user does where a keypoint is on an image twice.
    """

    def __init__(self, collector: Collector, todo: str) -> None:
        self.collector, self.todo = collector, todo
        self.numbers: dict[tuple[str, Hashable], int] = {}
        self._names: dict[str, None] = {}
        self._marks: list[_Mark] = []

    def name(self, *names: str) -> None:
        """Note names that a file lists, in their order."""
        self._names.update(dict.fromkeys(names))

    def add(
        self,
        image: str | None,
        name: str | None,
        placed: Placed,
        *,
        group: Hashable = None,
        row: int = 0,
        field: str = "",
        kind: str | None = None,
    ) -> None:
        """Keep a keypoint.

        Args:
            image: the image, None where its name is a fault.
            name: of the keypoint; None where it has none and `kind` is given, or where the name is
                a fault.
            placed: its visibility and place.
            group: which object of the image it is of; None where nothing says it.
            row: where it is in the file.
            field: where it is in the file.
            kind: of a keypoint without a name: what its points are called, may be empty.
        """
        if image is not None and (name is not None or kind is not None):
            self._marks.append(_Mark(image, name or "", placed, group, row, field, kind))

    def settle(self) -> tuple[str, ...]:
        """Hand all keypoints to the collector.

        `numbers` then says which instance each group of an image is.

        Returns:
            The names of the keypoints: those that were listed, then in the order of the marks.
        """
        self._name_the_nameless()
        self.name(*(mark.name for mark in self._marks))
        loose = [mark for mark in self._marks if mark.group is None]
        many = many_of_a_kind((mark.image, mark.name) for mark in loose)
        if many:
            self._add_absent()
        first: dict[tuple[str, Hashable, str], _Mark] = {}
        counts: Counter[str] = Counter()
        for number, mark in enumerate(self._marks):
            group = (None, number) if many and mark.group is None else mark.group
            before = first.setdefault((mark.image, group, mark.name), mark)
            if before is not mark:
                got = f"{shown(mark.name)} is on this object of the image already ({before.field})"
                self.collector.fault(mark.row, mark.field, got, self.todo)
                continue
            if (mark.image, group) not in self.numbers:
                self.numbers[mark.image, group] = counts[mark.image]
                counts[mark.image] += 1
            instance = self.numbers[mark.image, group]
            self.collector.mark(mark.image, (instance, mark.name, *mark.placed, math.nan))
        return tuple(self._names)

    def _add_absent(self) -> None:
        """Of many of a kind: a name without a point on an image is absent there."""
        held: dict[str, set[str]] = defaultdict(set)
        for mark in self._marks:
            held[mark.image].add(mark.name)
        for image, names in held.items():
            for name in self._names:
                if name not in names:
                    absent = (0, name, Visibility.ABSENT, math.nan, math.nan, math.nan)
                    self.collector.mark(image, absent)
                    self.collector.assume("keypoints without a point on an image as absent there")

    def _name_the_nameless(self) -> None:
        """Number points without a name, or make them many of a kind."""
        kinds: dict[str, list[_Mark]] = defaultdict(list)
        for mark in self._marks:
            if mark.kind is not None:
                kinds[mark.kind].append(mark)
        for kind, marks in kinds.items():
            together: dict[tuple[str, Hashable], list[_Mark]] = defaultdict(list)
            for mark in marks:
                together[mark.image, mark.group].append(mark)
            counts = {len(points) for points in together.values()}
            if len(together) > 1 and len(counts) == 1 and counts != {1}:
                self.collector.assume("points without a name numbered in their order")
                for points in together.values():
                    for k, mark in enumerate(points, 1):
                        mark.name = f"{kind} {k}".strip()
                continue
            for mark in marks:
                mark.name = kind or KIND
                mark.group = mark.group if counts == {1} else (None, id(mark))
