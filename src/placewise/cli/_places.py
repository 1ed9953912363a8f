"""Verbs of the second flow: any network to findings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from placewise.cli._words import Pairs


def audit(
    target: Positional[str],
    /,
    size: str | None = None,
    input_channels: int | None = None,
    data: Path | None = None,
    normalise: Literal["auto", "imagenet", "none"] = "auto",
    out: Path | None = None,
    fail_if: Pairs = (),
    sizes: str | None = None,
    channel_aware: bool = False,
    measure: bool = True,
    seed: int = 0,
    device: str = "cpu",
    quiet: bool = False,
) -> None:
    """Show any network's blind places: paths, borders, shifts, even sizes.

    Like this:

      placewise audit torchvision:resnet18 --out findings
      placewise audit my_net.py:build --size 240x320 --data my_images
      placewise audit timm:resnet50 --no-measure --fail-if "max_over_corner>150" "even==false"

    A budget of --fail-if that is broken is told, and the exit code is 1. Numbers for budgets:
    max_over_corner, max_over_edge, corner_ratio, gini, unseen_pixels, even, uneven_layers,
    receptive_field, stride, padding_share, unknown; and, measured, effective_field,
    sensitivity_ratio, consistency, phase_share, position. See docs/audit.md.

    Args:
        target: torchvision:NAME, timm:NAME, module:callable, file.py:callable, a program.pt2 that
            torch.export.save wrote, or the folder of a run.
        size: sides of the image, e.g. 224, 240x320 (height x width) or 32x64x64; by default
            what the network says, else 224 (64 of a volume).
        input_channels: of the image; by default those of the first convolution.
        data: image or folder of images to measure with, seen at twice the size; noise without.
        normalise: auto does what torchvision's and timm's networks want, and leaves 0..1 to others.
        out: folder for audit.json, figures and report.html; nothing is written without it.
        fail_if: budgets, e.g. "max_over_corner>150"; one of > >= < <= == != and a number, true
            or false.
        sizes: range of sides whose evenness is told, e.g. 192:256; those near --size by default.
        channel_aware: tell channels apart when paths are counted.
        measure: run the network on images; --no-measure takes seconds.
        seed: everything that is drawn follows from it.
        device: where the network runs: cpu, cuda, …
        quiet: print nothing but broken budgets.
    """
    from placewise.target import audit_target

    broken = audit_target(
        target,
        size=size,
        channels=input_channels,
        data=data,
        normalise=normalise,
        out=out,
        budgets=fail_if,
        sizes=sizes,
        channel_aware=channel_aware,
        measure=measure,
        seed=seed,
        device=device,
        quiet=quiet,
    )
    if broken:
        print("\n".join(broken), file=sys.stderr)
        raise SystemExit(1)


def remedy(
    target: Positional[str],
    /,
    padding: str | None = None,
    blur: bool = False,
    even: bool = False,
    recommend: Pairs = (),
    size: str | None = None,
    input_channels: int | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Mend a copy of a network, its weights kept, and audit it before and after.

    Like this:

      placewise remedy torchvision:resnet18 --padding symmetric --blur
      placewise remedy my_net.py:build --even --out mended
      placewise remedy my_net.py:build --recommend "max_over_corner<2" "corner_ratio<=1.1"

    With --recommend the exit code is 1 where no remedies keep the bounds. See docs/remedy.md.

    Args:
        target: torchvision:NAME, timm:NAME, module:callable, file.py:callable, or the folder of
            a run.
        padding: rule for every padded layer: symmetric, circular, replicate, reflect, partial, …
        blur: blur before each stride.
        even: go to the nearest even size; no layer is changed.
        recommend: bounds that have to hold; the cheapest remedies that do it are looked for.
        size: sides of the image, e.g. 224 or 240x320 (height x width).
        input_channels: of the image; by default those of the first convolution.
        out: folder for remedy.json and mended.safetensors; nothing is written without it.
        quiet: print nothing.
    """
    from placewise.target.remedied import remedy_target

    made = remedy_target(
        target,
        size=size,
        channels=input_channels,
        padding=padding,
        blur=blur,
        even=even,
        bounds=recommend,
        out=out,
        quiet=quiet,
    )
    if made is None:
        raise SystemExit(1)
