"""Look at labels before training: counts, gaps, borders, swaps, copies, and the decode floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from placewise.check._advice import advise
from placewise.check._facts import Facts, PointFacts, Swap, gather
from placewise.check._show import as_text, cards, page
from placewise.checkpoint import write_bytes, write_json, write_text
from placewise.errors import PlacewiseError
from placewise.formats import Labels, read_labels
from placewise.geometry import PIXEL_CONVENTION
from placewise.report.drawing import sheet, to_png
from placewise.report.folder import check_folder
from placewise.report.text import counting

__all__ = ["Facts", "Findings", "PointFacts", "Swap", "check", "check_data", "write_findings"]


@dataclass(frozen=True)
class Findings:
    """What a look at the labels found.

    Attributes:
        verdict: in a sentence, whether training on them makes sense.
        warnings: sentences, the weightiest first.
        facts: what was counted.
    """

    verdict: str
    warnings: tuple[str, ...]
    facts: Facts

    def __str__(self) -> str:
        return as_text(self.facts, self.verdict, self.warnings)

    def as_json(self) -> dict[str, Any]:
        """What `check.json` holds."""
        facts = asdict(self.facts)
        facts["instances"] = {str(count): n for count, n in self.facts.instances.items()}
        head = {"verdict": self.verdict, "warnings": list(self.warnings)}
        return {**head, "pixel_convention": PIXEL_CONVENTION, **facts}


def check(
    labels: Labels,
    *,
    floor: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Look at labels and their pictures; nothing is written.

    Args:
        labels: what `read_labels` returned.
        floor: decode floor in px, where it has been measured.
        seed: seed of the split that training would draw.
        progress: told (done, total) pictures.

    Example:
        >>> import numpy as np
        >>> from placewise.formats import Sample
        >>> sample = Sample("gone.png", (48, 64), np.ones((1, 1, 2)), np.full((1, 1), 3, np.int8))
        >>> check(Labels(Path("nowhere"), ("nose",), (sample,))).verdict
        'Not ready to train: 2 things must be mended first (1 picture, 1 point).'
    """
    facts = gather(labels, floor, seed, progress)
    return Findings(*advise(facts), facts)


def check_data(
    data: Path, *, out: Path | None = None, format: str | None = None, seed: int = 0
) -> str:
    """Look at a file of labels, as `placewise check` does.

    Args:
        data: file of labels, or the folder that holds one.
        out: folder for check.json, sheet.png and check.html; nothing is written without it.
        format: force a format.
        seed: seed of the split that training would draw.

    Returns:
        The findings as text.

    Raises:
        LabelError: the faults of the file.
        SettingsError: the folder is in use.
    """
    if out is not None:
        check_folder(out, "check.json")
    labels = read_labels(data, format=format)
    with counting("pictures") as progress:
        findings = check(labels, floor=_floor(labels, seed), seed=seed, progress=progress)
    if out is None:
        return str(findings)
    write_findings(findings, labels, out)
    return f"{findings}\n\npage: {out / 'check.html'}"


def write_findings(findings: Findings, labels: Labels, out: Path) -> None:
    """Write check.json, sheet.png and check.html, in place of those of a former check.

    Args:
        findings: what `check` returned.
        labels: what it looked at.
        out: a new or empty folder, or that of a former check.

    Raises:
        SettingsError: the folder holds something else.
    """
    check_folder(out, "check.json")
    out.mkdir(parents=True, exist_ok=True)
    shown = cards(findings.facts, labels)
    write_json(out / "check.json", findings.as_json())
    if shown:
        captions, pictures = zip(*shown, strict=True)
        write_bytes(out / "sheet.png", to_png(sheet(pictures, captions, names=labels.names)))
    text = page(findings.facts, findings.verdict, findings.warnings, labels, shown)
    write_text(out / "check.html", text)


def _floor(labels: Labels, seed: int) -> float | None:
    """Decode floor in px with the model that training would choose; None where it cannot train."""
    import numpy as np

    from placewise.data import of_split, single, split_images
    from placewise.model import Localiser, choose_model, decode_floor

    try:
        samples = of_split(labels, split_images(labels, seed), "train")
        truth = [single(sample, labels.source) for sample in samples]
        model = Localiser(choose_model(labels, samples, seed=seed))
        points, states = (np.stack(arrays) for arrays in zip(*truth, strict=True))
        return decode_floor(model, samples, points, states)
    except PlacewiseError:
        return None
