"""Look at labels before training: counts, gaps, borders, swaps, copies, and the decode floor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from placewise.checking import _classes, _keypoints
from placewise.checking._classes import ClassFacts, ClassFindings
from placewise.checking._facts import Facts, PointFacts, Swap
from placewise.checking._findings import Findings
from placewise.checking._keypoints import KeypointFindings
from placewise.errors import SettingsError
from placewise.files import claim_folder, write_bytes, write_json, write_text
from placewise.formats import read_dataset
from placewise.labels import ClassDataset, Dataset, KeypointDataset
from placewise.progress import Display
from placewise.report.drawing import sheet, to_png

__all__ = [
    "ClassFacts",
    "ClassFindings",
    "Facts",
    "Findings",
    "KeypointFindings",
    "PointFacts",
    "Swap",
    "check",
    "check_data",
    "write_findings",
]


def check(
    labels: Dataset[Any],
    *,
    floor: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Look at labels and their images; nothing is written.

    Args:
        labels: what `read_dataset` returned.
        floor: decode floor of points in px, where it has been measured.
        seed: seed of the split that training would draw.
        progress: told (done, total) images.

    Example:
        >>> import numpy as np
        >>> from placewise.labels import KeypointDataset, KeypointSample
        >>> seen = np.full((1, 1), 3, np.int8)
        >>> sample = KeypointSample("gone.png", (48, 64), np.ones((1, 1, 2)), seen)
        >>> check(KeypointDataset(Path("nowhere"), ("nose",), (sample,))).verdict
        'Not ready to train: 2 things must be mended first (1 image, 1 point).'
    """
    if isinstance(labels, KeypointDataset):
        return _keypoints.look(labels, floor, seed, progress)
    if isinstance(labels, ClassDataset):
        return _classes.look(labels, seed, progress)
    raise SettingsError(f"nothing is known of labels of {labels.what}; give Labels or ClassDataset")


def check_data(
    data: Path,
    *,
    out: Path | None = None,
    format: str | None = None,
    root: Path | None = None,
    seed: int = 0,
) -> str:
    """Look at a file of labels, as `placewise check` does.

    Args:
        data: file of labels, or the folder that holds one.
        out: folder for check.json, sheet.png and check.html; nothing is written without it.
        format: force a format.
        root: folder of the images, where it is not the folder of the file.
        seed: seed of the split that training would draw.

    Returns:
        The findings as text.

    Raises:
        LabelError: the faults of the file.
        SettingsError: the folder is in use.
    """
    if out is not None:
        claim_folder(out, "check.json")
    labels = read_dataset(data, format=format, root=root)
    with Display("images") as progress:
        floor = _keypoints.floor_of(labels, seed) if isinstance(labels, KeypointDataset) else None
        findings = check(labels, floor=floor, seed=seed, progress=progress)
    if out is None:
        return str(findings)
    write_findings(findings, labels, out)
    return f"{findings}\n\npage: {out / 'check.html'}"


def write_findings(findings: Findings, labels: Dataset[Any], out: Path) -> None:
    """Write check.json, sheet.png and check.html, in place of those of a former check.

    Args:
        findings: what `check` returned.
        labels: what it looked at.
        out: a new or empty folder, or that of a former check.

    Raises:
        SettingsError: the folder holds something else.
    """
    claim_folder(out, "check.json")
    out.mkdir(parents=True, exist_ok=True)
    shown = findings.cards(labels)
    write_json(out / "check.json", findings.as_json())
    if shown:
        captions, images = zip(*shown, strict=True)
        write_bytes(
            out / "sheet.png", to_png(sheet(images, captions, names=findings.legend(labels)))
        )
    write_text(out / "check.html", findings.report(labels, shown).html())
