"""The verb that draws up what a network is made of."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from placewise.cli._words import Pairs, parse_settings


def show(
    model: Positional[str],
    /,
    size: str | None = None,
    channels: int | None = None,
    classes: int = 10,
    backbone_set: Pairs = (),
    head_set: Pairs = (),
    paths: bool = True,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Show a network layer by layer: maps, filters, costs, receptive fields, paths.

    Like this:

      placewise show lenet+flatten --size 32 --channels 1 --classes 10
      placewise show resnet+palm_tree --backbone-set blocks=1 --head-set hidden=4
      placewise show torchvision:resnet18 --size 224 --no-paths

    Args:
        model: BACKBONE+HEAD of ours, a backbone of ours alone, or what placewise audit takes:
            torchvision:NAME, timm:NAME, module:callable, file.py:callable, a program.pt2, a run.
        size: sides of the image, e.g. 224 or 240x320 (height x width).
        channels: of the image; 3, or what the network says.
        classes: of a head for classes; points of a head for keypoints.
        backbone_set: settings of a backbone of ours as KEY=VALUE, e.g. padding_mode=symmetric.
        head_set: settings of a head of ours as KEY=VALUE, e.g. hidden=84.
        paths: count the ways from the middle, edges and corners to each layer; --no-paths is
            quicker.
        out: folder for show.json and volumes.png; nothing is written without it.
        quiet: print nothing.
    """
    from placewise.display.named import show_target

    shown = show_target(
        model,
        size=size,
        channels=channels,
        classes=classes,
        backbone=parse_settings(backbone_set),
        head=parse_settings(head_set),
        paths=paths,
    )
    if not quiet:
        print(shown.table())
    if out is not None:
        shown.save(out)
