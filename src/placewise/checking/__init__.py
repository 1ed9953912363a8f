"""Look at labels before training: counts, gaps, borders, swaps, copies, and the decode floor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placewise.files import claim_folder, make_folder, write_bytes, write_json, write_text
from placewise.findings import Findings
from placewise.labels import Dataset
from placewise.report.drawing import to_png
from placewise.report.sheets import sheet
from placewise.task import Progress
from placewise.tasks import task_of

__all__ = ["Findings", "check", "write_findings"]


def check(
    dataset: Dataset[Any],
    *,
    out: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Findings:
    """Look at labels and their images.

    Args:
        dataset: what `read_dataset` returned.
        out: folder for check.json, sheet.png and check.html; nothing is written without it.
        seed: seed of the split that training would draw.
        progress: called with (done, total) images.

    Raises:
        SettingsError: the folder is in use.

    Example:
        >>> import numpy as np
        >>> from placewise.labels import KeypointDataset, KeypointSample
        >>> seen = np.full((1, 1), 3, np.int8)
        >>> sample = KeypointSample("gone.png", (48, 64), np.ones((1, 1, 2)), seen)
        >>> check(KeypointDataset(Path("nowhere"), ("nose",), (sample,))).verdict
        'Not ready to train: 2 things must be mended first (1 image, 1 keypoint).'
    """
    if out is not None:
        claim_folder(Path(out), "check.json")
    findings = task_of(dataset).check(dataset, seed=seed, progress=progress)
    if out is not None:
        write_findings(findings, dataset, Path(out))
    return findings


def write_findings(findings: Findings, dataset: Dataset[Any], out: Path) -> None:
    """Write check.json, sheet.png and check.html, in place of those of a former check.

    Args:
        findings: what `check` returned.
        dataset: what it looked at.
        out: a new or empty folder, or that of a former check.

    Raises:
        SettingsError: the folder holds something else.
    """
    claim_folder(out, "check.json")
    make_folder(out)
    shown = findings.cards(dataset)
    write_json(out / "check.json", findings.as_json())
    if shown:
        captions, images = zip(*shown, strict=True)
        axes = len(dataset.samples[0].size)
        names, by_shape = findings.legend(dataset), findings.by_shape
        drawn = sheet(images, captions, names=names, axes=axes, by_shape=by_shape)
        write_bytes(out / "sheet.png", to_png(drawn))
    write_text(out / "check.html", findings.report(dataset, shown).html())
