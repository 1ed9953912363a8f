"""The verb that shows the layers of a network."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from placewise.cli._words import Pairs, parse_settings, tell


def show(
    model: Positional[str],
    /,
    size: str | None = None,
    in_channels: int | None = None,
    axes: int | None = None,
    input: str | None = None,
    classes: int = 10,
    backbone_set: Pairs = (),
    head_set: Pairs = (),
    paths: bool = True,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Show a network layer by layer: maps, filters, costs, receptive fields, paths.

    Like this:

      placewise show lenet+flatten --size 32 --in-channels 1 --classes 10
      placewise show resnet+palm_tree --backbone-set blocks=1 --head-set hidden=4
      placewise show torchvision:resnet18 --size 224 --no-paths
      placewise show my_tagger.py:build --axes 1 --size 16000 --in-channels 1

    Args:
        model: BACKBONE+HEAD of placewise, a backbone alone, or what placewise audit takes:
            torchvision:NAME, timm:NAME, module:callable, file.py:callable, a program.pt2, a run.
        size: sides of the image, e.g. 224 or 240x320 (height x width).
        in_channels: channels of the image; by default 3, or those of the first convolution.
        axes: of space: 1 for signals, 2 for images, 3 for volumes; by default those of --input or
            of the first convolution.
        input: an example of what the network takes, as for placewise audit.
        classes: number of classes, or of keypoints if the head is for keypoints.
        backbone_set: settings of a backbone of placewise as KEY=VALUE, e.g. padding_mode=symmetric.
        head_set: settings of a head of placewise as KEY=VALUE, e.g. hidden=84.
        paths: count the paths from the middle, edges and corners to each layer; --no-paths is
            faster.
        out: folder for show.json and volumes.png; by default nothing is written.
        quiet: print nothing.
    """
    from placewise.display.named import show_target

    shown = show_target(
        model,
        size=size,
        in_channels=in_channels,
        axes=axes,
        example=input,
        classes=classes,
        backbone=parse_settings(backbone_set),
        head=parse_settings(head_set),
        paths=paths,
    )
    if not quiet:
        tell(shown.table())
    if out is not None:
        shown.save(out)
