"""The verb that writes a run for other programs."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from placewise.cli._words import Pairs, import_all, teller


def export(
    run: Positional[Path],
    /,
    onnx: Path,
    overwrite: bool = False,
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Write a run as one file of ONNX that answers by itself: images in, keypoints out.

    Like this:

      placewise export my_run --onnx model.onnx

    The file takes images of any size and number, in 0..1 at the scale that its metadata say;
    normalisation, padding and reading the keypoints are inside. See docs/export.md.

    Args:
        run: folder of the run.
        onnx: the file to write.
        overwrite: replace the file if it exists.
        plugin: modules to import first, for heads and backbones of your own.
        quiet: print nothing.
    """
    import json

    import_all(plugin)
    from placewise.exporting import export

    answers = json.loads(export(run, onnx, overwrite=overwrite)["answers"])
    say = teller(quiet)
    say(f"written: {onnx}")
    for name, meaning in answers.items():
        say(f"  {name}: {meaning}")
