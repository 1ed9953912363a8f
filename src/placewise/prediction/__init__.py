"""Predict new images: a run and images in, tables and overlays out, image by image.

```
OUT/predictions.csv   grows with every batch
OUT/overlays/         drawings of the first images
OUT/progress.jsonl    what is done; gone at the end
OUT/about.json        written last: what the columns mean, and which images were passed over
```

Reading, the network and writing go on at the same time (`pipeline`), the network on the fastest
engine at hand (`choosing`), and whatever is finished is on disk. The same command with `resume`
goes on behind the last finished batch, with the same engine, and ends in the same bytes. Started by
`torchrun`, several processes share the images (`shards`).
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from placewise.devices import device_of, fast_memory, give_back_memory
from placewise.errors import ImageError, SettingsError
from placewise.files import make_folder, write_json
from placewise.formats import holds_arrays, label_maps_in, read_dataset
from placewise.frames import frame_named, frames_of
from placewise.geometry import Size
from placewise.images import ImageArray
from placewise.labels import Files, Source
from placewise.labels.names import name_beside, shown
from placewise.model import MEMORY, Network, unlike
from placewise.parallel import rank
from placewise.prediction.choosing import (
    AUTO,
    Choice,
    Chooser,
    Lanes,
    check_asked,
    lanes_of,
    of_first,
)
from placewise.prediction.glance import answer_of
from placewise.prediction.huge import Huge
from placewise.prediction.journal import Batch, Journal, order_of
from placewise.prediction.pipeline import Read, each_padded, predicted
from placewise.prediction.shards import Share, refuse_tracks, together
from placewise.readers import list_files
from placewise.report.drawing import save_image
from placewise.run import Run
from placewise.task import Progress, Task
from placewise.tasks import task_named
from placewise.tracking import Follower

__all__ = ["predict"]

LOOKED_AT = 16
"""Images that are held against those of the training, before anything is predicted."""

_LOG = logging.getLogger("placewise")


@together
def predict(
    run: str | Path | Run,
    images: str | Path,
    out: str | Path,
    *,
    device: str = "auto",
    engine: str = AUTO,
    precision: str = AUTO,
    overlays: int = 200,
    threshold: float = 0.5,
    resume: bool = False,
    track: bool = False,
    frames: slice | None = None,
    others: bool = True,
    memory: int = MEMORY,
    coarse_to_fine: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict images and write what was found; for arrays in memory see `load_model`.

    Writes `predictions.csv`, `about.json`, an overlay for each of the first images, and files for
    other programs where the task has some. A file that is not a readable image, or too large for a
    head that is tied to its size, is passed over and listed in `about.json`.

    Args:
        run: a trained run, or its folder.
        images: an image, a folder that is searched with its subfolders, arrays of images (.npz,
            idx), or a video, whose frames are its images; see `predict_video` for more of it.
        out: a new or empty folder, outside of the folder of images; with `resume`, that of a
            prediction that was stopped.
        device: where the network runs.
        engine: what computes it: torch, onnxruntime, openvino, or auto: torch where that takes less
            than half a minute for all images, else the fastest that says what torch says in
            float32; see docs/predict.md.
        precision: float32, bfloat16, or auto: the faster; or int8, which is faster still and moves
            keypoints by about a tenth of a pixel.
        overlays: how many overlays are drawn at most.
        threshold: predictions with a lower score are drawn as not sure.
        resume: go on where the same prediction was stopped.
        track: give objects their identities over the images, in the natural order of their names.
        frames: of a video, which are predicted; by default all.
        others: write files for other programs too.
        memory: bytes that an image, its maps and what is computed of them may take; an image that
            takes more is predicted in tiles.
        coarse_to_fine: look for keypoints on small images first, and compute only what is about
            them in full; off, with a sentence, where that changes answers on images that are tried
            first, or is not faster.
        progress: called with (done, total).

    Returns:
        What `about.json` holds.

    Raises:
        SettingsError: the folder for the results is in use, or is that of another prediction; or
            the run predicts nothing that could be followed.
        ImageError: there is no image, or none that can be read.

    Example:
        >>> predict("my_run", "new_images", "predictions")["images"]  # doctest: +SKIP
        240
    """
    run = run if isinstance(run, Run) else Run.open(run)
    out, images = Path(out), Path(images)
    root, source, names = _listed(images, run.facts.model.input.image_axes, frames)
    _check_place(out, images)
    _check_numbers(overlays, threshold)
    on = device_of(device)
    check_asked(engine, precision, on)
    options = _options(run, overlays, threshold, (engine, precision), track, coarse_to_fine)
    task = task_named(run.facts.model.task)
    refuse_tracks(track)
    follower = task.follower(run.facts.model) if track else None
    model = run.model().to(on)
    share = Share.of(len(names))
    with share.open(out, order_of(images, names, run, options), resume=resume) as journal:
        if journal.finished is not None:
            return journal.finished
        huge = Huge(model, source, memory)
        for note in unlike(_some(source, names, huge), run.facts.model.input):
            _LOG.warning(note)
        if follower and journal.done:
            _replay(follower, journal, out / "predictions.csv")
        first = share.start + journal.done
        lanes = lanes_of(on, 1 if any(map(huge.holds, _spread(names))) else len(share))
        choice = _engine(run, model, huge, names, lanes, journal, (engine, precision))
        given = model, huge, names, journal, lanes, choice.precision
        answer = answer_of(*given) if coarse_to_fine else None
        header = [*task.header(model), *([follower.column] if follower else [])]
        for batch, found in predicted(model, huge, names[first : share.stop], lanes, first, answer):
            left = max(0, overlays - share.start - journal.done)
            if follower:
                found = [(image, follower.follow(one)) for image, one in found]
            _draw(task, model, found[:left], source, out / "overlays", threshold)
            for _, one in found:
                task.save(one, out, root / one.image)
            begins = share.start + journal.done == 0
            journal.append(_finished(found, batch, header if begins else None))
            if progress:
                progress(journal.done, len(share))
        rest = root, out, threshold if others else None, choice
        return share.end(journal, out, lambda whole: _ended(task, run, whole, *rest))


def _options(
    run: Run,
    overlays: int,
    threshold: float,
    engine: tuple[str, str],
    track: bool,
    coarse_to_fine: bool,
) -> dict[str, Any]:
    """What makes this prediction another than one of the same images by the same weights."""
    options = {"run": str(run.path), "overlays": overlays, "threshold": threshold}
    if engine != (AUTO, AUTO):
        options |= dict(zip(("engine", "precision"), engine, strict=True))
    options |= {"track": True} if track else {}
    return options | ({"coarse_to_fine": True} if coarse_to_fine else {})


def _check_numbers(overlays: int, threshold: float) -> None:
    """Refuse numbers that cannot be.

    Raises:
        SettingsError: says which can.
    """
    if not (overlays >= 0 and 0 <= threshold <= 1):
        raise SettingsError(
            f"got {overlays} overlays and the threshold {threshold}; overlays are 0 or more, and "
            "the threshold is from 0 to 1"
        )


def _some(source: Source, names: Sequence[str], huge: Huge) -> Iterator[ImageArray]:
    """A few of the images, spread over all of them."""
    for name in _spread(names):
        with contextlib.suppress(ImageError):
            if not huge.holds(name):
                yield source.read(name)


def _spread(names: Sequence[str]) -> Sequence[str]:
    """`LOOKED_AT` of the names at most, spread over all of them."""
    return names[:: max(1, -(-len(names) // LOOKED_AT))]


def _engine(
    run: Run,
    model: Network[Any],
    huge: Huge,
    names: Sequence[str],
    lanes: Lanes,
    journal: Journal,
    asked: tuple[str, str],
) -> Choice:
    """Give the model its engine: that of the journal, or else what is chosen for the images.

    Of several processes the first one chooses, so that all say the same.
    """
    fast_memory()
    looked_at = partial(each_padded, model, huge, [*_spread(names), *names])
    chooser = Chooser(run, model, lanes, looked_at)
    if chooser.first is None:  # none can be read, or all are predicted in tiles
        if asked != (AUTO, AUTO) and any(map(huge.holds, names)):
            _LOG.warning("--engine and --precision are not used: torch computes tiles in float32")
        return Choice()
    if journal.engine is None and rank() == 0:
        chosen = chooser.choose(*asked, len(names))
        journal.note("engine", chosen.engine, chosen.precision)
    choice = of_first(Choice(*(journal.engine or ())))
    if journal.engine is None:
        journal.note("engine", choice.engine, choice.precision)
    model.engine = chooser.held(choice)
    give_back_memory()  # that of the engines that were tried
    return choice


def _replay(follower: Follower[Any], journal: Journal, file: Path) -> None:
    """Follow the objects of the images that are done, as the table has them."""
    sizes = {name: (*size,) for batch in journal.lines() for name, *size in batch.images}
    for name, size, rows in _rows(file, sizes):
        follower.replay(name, size, rows)


def _finished(
    found: Sequence[tuple[ImageArray | None, Any]],
    batch: Sequence[Read],
    header: Sequence[str] | None,
) -> Batch:
    """What a batch adds to the files, with the header where one is given."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    for _, one in found:
        writer.writerows(one.rows())
    images = [(one.image, *one.size) for _, one in found]
    return Batch(text.getvalue(), images, [(one.name, one.fault) for one in batch if one.fault])


def _draw(
    task: Task[Any, Any],
    model: Network[Any],
    found: Sequence[tuple[ImageArray | None, Any]],
    source: Source,
    folder: Path,
    threshold: float,
) -> None:
    """An overlay for each that was held, in subfolders like those of the images."""
    for image, one in found:
        if image is None:
            continue
        target = folder / name_beside(one.image)
        make_folder(target.parent)
        spacing = source.spacing(one.image)
        save_image(target, task.draw(model, image, one, threshold=threshold, spacing=spacing))


def _ended(
    task: Task[Any, Any],
    run: Run,
    journal: Journal,
    root: Path,
    out: Path,
    threshold: float | None,
    choice: Choice,
) -> dict[str, Any]:
    """Files for other programs, unless there is no threshold for them; and about.json."""
    give_back_memory()  # tables and reports take their own
    batches = list(journal.lines())
    sizes = {name: tuple(size) for batch in batches for name, *size in batch.images}
    skipped = [{"image": n, "reason": why} for batch in batches for n, why in batch.skipped]
    if not sizes:
        raise ImageError(f"no image could be predicted; {_first(skipped)}")
    if threshold is not None:
        task.export(root, run.facts.model, _rows(out / "predictions.csv", sizes), out, threshold)
    about: dict[str, Any] = {
        **task.about(),
        "run": str(run.path),
        "versions": run.facts.versions,
        "engine": choice.engine,
        "precision": choice.precision,
        **_looked(journal),
        "images": len(sizes),
        "axes": run.facts.model.input.image_axes,
        "skipped": skipped,
        "order": journal.order,
    }
    write_json(out / "about.json", about)
    journal.close()
    if skipped:
        many = f"{len(skipped):,} of {len(sizes) + len(skipped):,} images"
        _LOG.warning(f"{many} were passed over; about.json names them; {_first(skipped)}")
    return about


def _looked(journal: Journal) -> dict[str, Any]:
    """How images were looked at, where coarse to fine was asked for."""
    if journal.look is None:
        return {}
    factor, slack = journal.look
    return {"coarse_to_fine": {"factor": factor, "slack": slack} if factor else "off"}


def _rows(file: Path, sizes: Mapping[str, Size]) -> Iterator[tuple[str, Size, list[list[str]]]]:
    """(image, size, its rows) of a table, image by image, also of images without a row."""
    with file.open(encoding="utf-8", newline="") as text:
        lines = csv.reader(text)
        next(lines)
        groups = groupby(lines, key=lambda row: row[0])
        name, rows = next(groups, ("", iter(())))
        for image, size in sizes.items():
            mine = list(rows) if image == name else []
            yield image, size, mine
            if mine:
                name, rows = next(groups, ("", iter(())))


def _first(skipped: Sequence[Mapping[str, str]]) -> str:
    """The first image that was passed over, and why."""
    return f"the first, {shown(skipped[0]['image'])}: {skipped[0]['reason']}"


def _listed(images: Path, axes: int, frames: slice | None) -> tuple[Path, Source, list[str]]:
    """Folder, source and names of the images, signals or volumes that a path means."""
    reader = frames_of(images) if images.is_file() and axes == 2 else None
    if reader is not None:
        chosen = range(reader.count(images))[frames or slice(None)]
        if not chosen:
            raise SettingsError(
                f"{images} has {reader.count(images):,} frames, and none of them was asked for; "
                "correct where they start and stop"
            )
        return images.parent, Files(images.parent), [frame_named(images.name, n) for n in chosen]
    if axes == 2 and holds_arrays(images):
        dataset = read_dataset(images)
        return dataset.root, dataset.images, [sample.image for sample in dataset.samples]
    files = list_files(images, axes)
    root = images if images.is_dir() else images.parent
    names, maps = [file.relative_to(root).as_posix() for file in files], label_maps_in(images)
    shown_ = [name for name in names if name not in maps]
    if len(shown_) < len(names):
        _LOG.info(f"{len(names) - len(shown_):,} masks that lie with the images are left out")
    return root, Files(root), shown_


def _check_place(out: Path, images: Path) -> None:
    """Refuse to write drawings among the images that the next prediction would read.

    Raises:
        SettingsError: `out` lies in the folder of images.
    """
    if images.is_dir() and out.resolve().is_relative_to(images.resolve()):
        raise SettingsError(
            f"{out} lies in {images}, so the next prediction would read its own drawings; name a "
            "folder elsewhere with --out"
        )
