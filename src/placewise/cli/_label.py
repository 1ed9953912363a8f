"""The verb that opens the labelling page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import FlagCreatePairsOff, Positional

from placewise.cli._words import Pairs, import_all


def label(
    data: Positional[Path],
    /,
    run: Path | None = None,
    keypoints: str | None = None,
    order: Literal["kmeans", "worst", "name", "random"] = "kmeans",
    keys: Literal["dlc", "sleap", "cvat"] = "dlc",
    port: int = 0,
    no_browser: Annotated[bool, FlagCreatePairsOff] = False,
    seed: int = 0,
    host: str = "127.0.0.1",
    token: str | None = None,
    out: Path | None = None,
    accept_replaced: Annotated[bool, FlagCreatePairsOff] = False,
    plugin: Pairs = (),
) -> None:
    """Place keypoints on images in the browser, with suggestions of a run.

    Like this:

      placewise label new_images
      placewise label new_images --keypoints nose,tail
      placewise label my_folder --run my_run

    Args:
        data: a folder of images, a video, or a file of labels.
        run: folder of a run, whose predictions are suggested.
        keypoints: names of the keypoints, with commas between them; otherwise those of the labels
            or of the run, or the page asks.
        order: how images follow each other: those that differ most first (kmeans), those of which
            the run is least sure (worst), name, or random.
        keys: whose keys the page uses: those of DeepLabCut, SLEAP or CVAT.
        port: port of the page; by default a free one.
        no_browser: open no browser; the address is shown.
        seed: of what is drawn for the order.
        host: address of this computer that is served. Other computers reach the page only if you
            name another one than 127.0.0.1, and choose a token.
        token: what the page must know, 32 characters or more; by default it is drawn.
        out: folder that labels and everything else are written to; by default beside the images.
        accept_replaced: labels of a video or an image that was replaced by another file hold for
            that one too.
        plugin: modules to import first, for formats and heads of your own.
    """
    import_all(plugin)
    from placewise.labelling import label

    label(
        data,
        run=run,
        keypoints=keypoints,
        order=order,
        keys=keys,
        host=host,
        port=port,
        token=token,
        browser=not no_browser,
        seed=seed,
        out=out,
        accept_replaced=accept_replaced,
    )
