r"""Splits that a file of their own says: `image,split[,start,stop]`.

```
image,split,start,stop
100.hea,train,0,432000
100.hea,test,432000,650000
```
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from placewise.errors import DataError
from placewise.formats._collect import Collector, split_named
from placewise.formats._tables import Row, read_table
from placewise.labels import Dataset
from placewise.labels.names import shown

KNOWN = {
    **{column: column for column in ("image", "split", "start", "stop")},
    **dict.fromkeys(("recording", "signal", "volume"), "image"),
}

_log = logging.getLogger("placewise")


@dataclass(frozen=True)
class _Rule:
    """A row: images that it names, their split, and the part of them that is meant."""

    row: int
    pattern: str
    split: str
    span: tuple[int, int] | None


def with_splits(dataset: Dataset[Any], path: Path) -> Dataset[Any]:
    """The labels with the splits, and the parts of recordings, that a file says.

    Images that no row names are left out.

    Args:
        dataset: the labels.
        path: a table with the columns image and split; `image` may hold stars, as in
            `*_theo_*.wav`, and the first row that fits an image counts. With start and stop a row
            is the part of a recording from one sample up to another; there may be several.

    Raises:
        LabelError: what is wrong in the file, all of it at once.
        DataError: no row names an image of the labels.
    """
    collector = Collector(path)
    _, rows = read_table(collector, ("image", "split"), KNOWN)
    rules = [rule for row in rows if (rule := _rule(collector, row))]
    _check_conflicts(collector, rules)
    if collector.faults:
        collector.stop()
    samples: list[Any] = []
    used: dict[int, int] = defaultdict(int)
    for sample in dataset.samples:
        for rule in _fitting(rules, sample.image):
            used[rule.row] += 1
            part = sample if rule.span is None else dataset.part(sample, *rule.span)
            samples.append(replace(part, split=rule.split))
    if not samples:
        raise DataError(
            f"{path} names none of the {len(dataset.samples):,} images of the labels; they are "
            f"named like {shown(dataset.samples[0].image)}: write such names, or *.wav"
        )
    left = len(dataset.samples) - len({sample.image.partition("[")[0] for sample in samples})
    if left:
        _log.warning(f"{left:,} images are not named in {path} and are left out")
    for rule in rules:
        if not used[rule.row]:
            there = any(_fits(sample.image, rule.pattern) for sample in dataset.samples)
            what = "is named by rows above already" if there else "is no image of the labels"
            _log.warning(f"{path}, row {rule.row}: {shown(rule.pattern)} {what}")
    return replace(dataset, samples=tuple(samples))  # type: ignore[type-var]


def _check_conflicts(collector: Collector, rules: list[_Rule]) -> None:
    """Note a fault where a name is there again with another split."""
    first: dict[str, _Rule] = {}
    for rule in rules:
        before = first.setdefault(rule.pattern, rule)
        if rule.span is before.span is None and rule.split != before.split:
            got = f"{shown(rule.pattern)} is in '{rule.split}' here and in '{before.split}' in row "
            todo = "write one split for an image"
            collector.fault(rule.row, "split", f"{got}{before.row}", todo)


def _fitting(rules: list[_Rule], image: str) -> list[_Rule]:
    """The first rule of an image, or all of its parts."""
    found = [rule for rule in rules if _fits(image, rule.pattern)]
    spans = [rule for rule in found if rule.span is not None]
    return spans or found[:1]


def _fits(image: str, pattern: str) -> bool:
    return image == pattern or fnmatch.fnmatchcase(image, pattern)


def _rule(collector: Collector, row: Row) -> _Rule | None:
    """A row, if it is good."""
    pattern, split = row["image"].text.strip(), split_named(row["split"].text)
    if not pattern or split is None:
        got = f"{shown(row['split'].text)} is not a split" if pattern else "no image is named"
        collector.fault(row.number, "split", got, "write a name, and train, val or test")
        return None
    ends = [row[column].text.strip() for column in ("start", "stop")]
    if not any(ends):
        return _Rule(row.number, pattern, split, None)
    if not all(re.fullmatch("[0-9]{1,12}", end) for end in ends) or int(ends[0]) >= int(ends[1]):
        got = f"the part goes from {shown(ends[0])} to {shown(ends[1])}"
        collector.fault(row.number, "start,stop", got, "write two samples, the smaller one first")
        return None
    return _Rule(row.number, pattern, split, (int(ends[0]), int(ends[1])))
