"""Verbs of the first flow: from images and labels to predictions."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from placewise.cli._words import BEGUN, Pairs, import_all, parse_bytes, parse_settings, teller

if TYPE_CHECKING:
    from placewise.labels import Dataset
    from placewise.training import TrainingSettings

SPINS = 10_000
"""Turns that a thread waits awake for others; the default, 30 times more, starves other work."""


def check(
    data: Positional[Path],
    /,
    out: Path | None = None,
    format: str | None = None,
    root: Path | None = None,
    task: str | None = None,
    splits: Path | None = None,
    pixels: Literal["center", "corner"] | None = None,
    seed: int = 0,
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Look at labels before training: counts, gaps, copies, swaps, what cannot be learnt.

    Like this:

      placewise check my_folder
      placewise check my_folder/points.csv --out findings
      placewise check folder_of_classes

    Args:
        data: file of labels, the folder that holds one, or a folder of images for each class.
        out: folder for check.json, sheet.png and check.html; nothing is written without it.
        format: name of the format, where it is not found; docs/formats.md lists them.
        root: folder of the images, if it is not the folder of the file.
        task: what is learnt, if it is not what the labels suggest: keypoints, poses, spots, …
        splits: table image,split[,start,stop] that says the splits; names may hold stars, and start
            and stop cut a recording into parts.
        pixels: what places in the file count from, if not from what its tool counts from: the
            center of the first pixel, or the image's corner, half a pixel before it.
        seed: seed of the split that training would draw.
        plugin: modules to import first, for tasks and formats of your own.
        quiet: show no progress.
    """
    import_all(plugin)
    from placewise.checking import check
    from placewise.formats import read_dataset
    from placewise.progress import Display

    dataset = read_dataset(data, format=format, root=root, task=task, splits=splits, pixels=pixels)
    with Display("images", quiet) as progress:
        findings = check(dataset, out=out, seed=seed, progress=progress)
    print(findings)
    if out is not None:
        print(f"\npage: {out / 'check.html'}")


def convert(
    data: Positional[Path],
    to: Positional[Path],
    /,
    format: str | None = None,
    to_format: str | None = None,
    root: Path | None = None,
    threshold: float | None = None,
    pixels: Literal["center", "corner"] | None = None,
    lossy: bool = False,
    overwrite: bool = False,
) -> None:
    """Write labels in another format; the images stay where they are.

    Like this:

      placewise convert my_folder/CollectedData.csv my_folder/points.csv
      placewise convert my_folder/points.csv my_folder/coco.json --to-format coco
      placewise convert my_folder/points.csv my_folder/annotations.xml
      placewise convert folder_of_classes folder_of_classes/labels.csv

    Args:
        data: file of labels, or the folder that holds one.
        to: the file to write, or the folder where the format is one (labelme, yolo, imagej); it
            names images relative to the folder of the images.
        format: force the format that is read.
        to_format: format to write; by default the one that the ending of the name suggests.
        root: folder of the images, if it is not the folder of the file.
        threshold: of predictions: keypoints with a lower score become absent, and the others
            labels without a score.
        pixels: what places in the file count from, if not from what its tool counts from: the
            center of the first pixel, or the image's corner, half a pixel before it.
        lossy: write even where the format cannot hold everything.
        overwrite: replace the file if it exists.
    """
    from placewise.formats import convert

    print(
        convert(
            data,
            to,
            format=format,
            to_format=to_format,
            root=root,
            threshold=threshold,
            pixels=pixels,
            lossy=lossy,
            overwrite=overwrite,
        )
    )


def train(
    data: Positional[Path],
    /,
    out: Path,
    max_steps: Annotated[int | None, arg(aliases=["--steps"])] = None,
    max_minutes: Annotated[float | None, arg(aliases=["--minutes"])] = None,
    resume: bool = False,
    repeat: Path | None = None,
    head: str | None = None,
    head_set: Pairs = (),
    backbone: str | None = None,
    backbone_set: Pairs = (),
    width: int | None = None,
    augment: Pairs = (),
    input_pixels: int | None = None,
    spectrogram: bool = False,
    mirrors: bool = False,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    num_workers: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: Literal["auto", "float32", "bfloat16"] | None = None,
    val_interval: int | None = None,
    format: str | None = None,
    root: Path | None = None,
    task: str | None = None,
    splits: Path | None = None,
    pixels: Literal["center", "corner"] | None = None,
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Train a network on images with labels of keypoints, classes or masks.

    Like this:

      placewise train my_folder --out my_run --minutes 8
      placewise train folder_of_classes --out my_run --head flatten
      placewise train my_folder --out my_run --resume
      placewise train my_folder --out plain --head coordinates --head-set gather=pool
      torchrun --nproc-per-node 2 -m placewise train my_folder --out my_run --steps 3000

    Args:
        data: file of labels, the folder that holds one, or a folder of images for each class.
        out: folder of the run; new or empty unless --resume.
        max_steps: optimiser steps.
        max_minutes: length by the clock instead, from the start of the command to its report.
        resume: continue the run where it was interrupted; if there is none, begin it.
        repeat: a finished run that is trained once more with its settings and, where it went by
            the clock, at the places of its schedule.
        head: for keypoints heatmap (the default), integral, simcc, coordinates; for many keypoints
            of a kind spots; for several animals poses; for classes of pixels masks; for single
            objects instances; for classes convolutional (the default), flatten, sheet, proximity,
            palm_tree, low_rank; or module:Class with --plugin. See docs/heads.md.
        head_set: settings of the head as KEY=VALUE, e.g. loss=cross_entropy sigma=2.
        backbone: unet (the default), resnet, lenet, timm, or module:Class with --plugin. See
            docs/backbones.md.
        backbone_set: settings of the backbone as KEY=VALUE, e.g. depth=3
            padding_mode=reflect.
        width: short for --backbone-set width=…; 48 is small, 128 the default, 192 large.
        augment: ranges of the augmentation as KEY=VALUE, e.g. rotate=45 flip=true.
        input_pixels: size of the median image after scaling, as a number of pixels; more is finer
            and slower.
        spectrogram: show signals to the network as maps of frequency and time; for classes.
        mirrors: predict masks and single objects as the mean over an image and its mirrored
            copies, which is two to four times the work for slightly better outlines.
        batch_size: images in a step; 8 for keypoints, 32 for classes by default.
        learning_rate: peak of the learning rate.
        num_workers: processes that prepare batches; 0 (the default): a thread beside the network.
        seed: number that all random draws follow from; 0 by default.
        device: auto (the default: cuda, mps or cpu, whichever is there), or cpu, cuda, cuda:1, mps.
        precision: auto (the default) measures which is faster on this machine.
        val_interval: steps between validations.
        format: name of the format, where it is not found; docs/formats.md lists them.
        root: folder of the images, if it is not the folder of the file.
        task: what is learnt, if it is not what the labels suggest: keypoints, poses, spots, …
        splits: table image,split[,start,stop] that says the splits; names may hold stars, and start
            and stop cut a recording into parts.
        pixels: what places in the file count from, as in check.
        plugin: modules to import first, for tasks, heads and backbones of your own.
        quiet: print nothing.
    """
    import_all(plugin)
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    from placewise.formats import read_dataset

    wide = () if width is None else (f"width={width}",)
    settings = _training_settings(
        max_steps=max_steps,
        max_minutes=max_minutes,
        seed=seed,
        device=device,
        precision=precision,
        input_pixels=input_pixels,
        spectrogram=spectrogram or None,
        mirrors=mirrors or None,
        batch_size=batch_size,
        num_workers=num_workers,
        learning_rate=learning_rate,
        backbone=backbone,
        backbone_settings=parse_settings((*backbone_set, *wide)),
        head=head,
        head_settings=parse_settings(head_set),
        augmentation=parse_settings(augment),
        val_interval=val_interval,
    )
    dataset = read_dataset(data, format=format, root=root, task=task, splits=splits, pixels=pixels)
    _train_and_score(dataset, out, settings, resume, repeat, quiet)


def _training_settings(**given: object) -> TrainingSettings:
    """Settings of what was named on the command line, and of nothing else."""
    from placewise.training import TrainingSettings

    named = {name: value for name, value in given.items() if value is not None and value != {}}
    return TrainingSettings.of(**named)


def _train_and_score(
    dataset: Dataset[Any],
    out: Path,
    settings: TrainingSettings,
    resume: bool,
    repeat: Path | None,
    quiet: bool,
) -> None:
    """Train, then score the run on its validation images."""
    from placewise.evaluation import evaluate, scores_text
    from placewise.ownership import writing
    from placewise.parallel import is_first
    from placewise.training import Clock, train

    clock = Clock(BEGUN.get(time.monotonic()), report=True)
    run = train(dataset, out, settings, resume=resume, repeat=repeat, clock=clock, quiet=quiet)
    if is_first():
        folder = run.path / "validation"
        with writing(run.path, "run.json") as writer:

            def look(done: int, total: int) -> None:
                writer.check()

            scores = evaluate(run, dataset, split="val", out=folder, progress=look)
        teller(quiet)(scores_text(dataset, scores))
        teller(quiet)(f"report: {folder / 'report.html'}")


def predict(
    runs_and_images: Positional[tuple[Path, ...]],
    /,
    out: Path,
    resume: bool = False,
    track: bool = False,
    start: int | None = None,
    stop: int | None = None,
    step: int | None = None,
    video: bool = False,
    smooth: str | None = None,
    gate: float | None = None,
    overlays: int | None = None,
    threshold: float = 0.5,
    memory: str | None = None,
    coarse_to_fine: bool = False,
    device: str = "auto",
    engine: Literal["auto", "torch", "onnxruntime", "openvino"] = "auto",
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto",
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Predict keypoints or classes on new images, or keypoints on the frames of a video.

    Like this:

      placewise predict my_run new_images --out predictions
      placewise predict my_run image.png --out predictions --overlays 0
      placewise predict my_run new_images --out predictions --resume
      placewise predict my_run frames_of_a_video --out predictions --track
      placewise predict my_run clip.mp4 --out clip_predicted --video --smooth median=5
      placewise predict my_run my_second_run clip.mp4 --out clip_predicted --smooth eks

    Args:
        runs_and_images: folder of the run, then an image, a folder that is searched with its
            subfolders, arrays (.npz, idx), or a video; for a video also several runs, whose mean is
            taken.
        out: new folder for predictions.csv and the images with drawings, outside of the folder of
            images; keypoints are also written for COCO and DeepLabCut.
        resume: continue the same prediction where it was interrupted.
        track: give animals or people their identities over the images, which are taken as frames
            of a video in the natural order of their names. On a video, animals always get them.
        start: of a video: first frame, from 0.
        stop: of a video: first frame that is not predicted.
        step: of a video: every how many frames one is predicted.
        video: of a video: write labelled.mp4 too, which browsers play.
        smooth: of a video: median=5, or another odd number of frames; or eks, an ensemble Kalman
            smoother over two or more runs.
        gate: of a video: leave out keypoints with a lower score, e.g. 0.5.
        overlays: number of images that are drawn with their prediction, at most; 200 by default.
        threshold: keypoints with a lower score are drawn hollow, and left out of COCO.
        memory: what an image and all that is computed of it may take, e.g. 800MB or 4GB, 1.5GB by
            default; an image that takes more is predicted in tiles, with the same numbers. Frames
            of a video are predicted as a whole.
        coarse_to_fine: look for keypoints on small images first, and compute only what is about
            them in full: faster where they are in a small part of large images. It is tried on some
            images, and off where it changes an answer or is not faster.
        device: auto (cuda, mps or cpu, whichever is there), or one of them.
        engine: what computes the network: torch, onnxruntime or openvino (pip install
            "placewise[fast]"); auto takes torch where that needs less than half a minute, else the
            fastest here that says the same.
        precision: float32, bfloat16, or auto: the faster; or int8 (openvino), which is faster still
            and moves keypoints by about a tenth of a pixel.
        plugin: modules to import first, for tasks, heads and backbones of your own.
        quiet: print nothing.
    """
    import_all(plugin)
    still: dict[str, Any] = {"overlays": overlays}
    still["memory"] = parse_bytes(memory) if memory else None
    from placewise.cli._video import predict_runs
    from placewise.errors import SettingsError
    from placewise.parallel import is_first
    from placewise.prediction import predict as run_prediction
    from placewise.progress import Display
    from placewise.wording import IMAGES_OF, counted

    if len(runs_and_images) < 2:
        raise SettingsError("name the folder of a run, then the images or the video")
    *runs, images = runs_and_images
    more: dict[str, object] = {"start": start, "stop": stop, "step": step, "draw": video or None}
    more |= {"smooth": smooth, "gate": gate}
    where: dict[str, Any] = {"device": device, "engine": engine, "precision": precision}
    where |= {"coarse_to_fine": coarse_to_fine}
    if predict_runs(runs, images, out, more, still, where, resume, track, threshold, quiet):
        return
    (run,) = runs
    quiet = quiet or not is_first()
    with Display("images", quiet) as progress:
        about = run_prediction(
            run,
            images,
            out,
            **where,
            **{name: value for name, value in still.items() if value is not None},
            threshold=threshold,
            resume=resume,
            track=track,
            progress=progress,
        )
    count = counted(about["images"], IMAGES_OF[about["axes"]])
    teller(quiet)(f"{count} predicted: {out / 'predictions.csv'}")


def evaluate(
    run: Positional[Path],
    data: Positional[Path],
    /,
    split: Literal["train", "val", "test"] | None = None,
    out: Path | None = None,
    pck_pair: tuple[str, str] | None = None,
    tolerance: float | None = None,
    format: str | None = None,
    root: Path | None = None,
    task: str | None = None,
    splits: Path | None = None,
    pixels: Literal["center", "corner"] | None = None,
    device: str = "auto",
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Score a run on labelled images, and write a report.

    Like this:

      placewise evaluate my_run my_folder
      placewise evaluate my_run other_folder --out other_scores --pck-pair left_eye right_eye

    Args:
        run: folder of the run.
        data: file of labels, the folder that holds one, or a folder of images for each class.
        split: the images to score; by default test, or val if there are no test images. Images
            are recognised by their content; those that the run has never seen count as test.
        out: folder for metrics.json, predictions.csv and report.html; RUN/evaluation by default.
        pck_pair: two keypoints whose distance is the unit of PCK instead of the diagonal.
        tolerance: of spots: pixels within which a found one is a labelled one; by default what
            was chosen from the labels when the run was trained.
        format: name of the format, where it is not found; docs/formats.md lists them.
        root: folder of the images, if it is not the folder of the file.
        task: what the labels are of, if it is not what they suggest; that of the run by default.
        splits: table image,split[,start,stop] that says the splits, as in train.
        pixels: what places in the file count from, as in check; for the labels of the run, what
            was said in train.
        device: auto (cuda, mps or cpu, whichever is there), or one of them.
        plugin: modules to import first, for tasks, heads and backbones of your own.
        quiet: print nothing.
    """
    import_all(plugin)
    from placewise.evaluation import evaluate as run_evaluation
    from placewise.evaluation import scores_text
    from placewise.formats import read_dataset
    from placewise.progress import Display
    from placewise.run import Run

    folder, opened = out or run / "evaluation", Run.open(run)
    dataset = read_dataset(
        data,
        format=format,
        root=root,
        task=task or opened.facts.model.task,
        splits=splits,
        pixels=pixels,
    )
    dataset = dataset if pixels else opened.counted_as_then(dataset)
    with Display("images", quiet) as progress:
        scores = run_evaluation(
            opened,
            dataset,
            split=split,
            out=folder,
            pck_pair=pck_pair,
            tolerance=tolerance,
            device=device,
            progress=progress,
        )
    teller(quiet)(scores_text(dataset, scores))
    teller(quiet)(f"report: {folder / 'report.html'}")


def demo(
    out: Path = Path("placewise-demo"),
    task: str = "keypoints",
    axes: Literal[1, 2, 3] = 2,
    minutes: float | None = None,
    seed: int = 0,
    images: int | None = None,
    label: bool = False,
) -> None:
    """Make a folder of images with known answers, train on it, and show the result.

    Like this:

      placewise demo
      placewise demo --task spots --out cells
      placewise demo --task spots --axes 1 --out recordings
      placewise demo --task masks --axes 3 --out volumes
      placewise demo --out digits --minutes 1
      placewise demo --label

    Args:
        out: new folder for the images, the run, the scores and the predictions.
        task: what is shown: keypoints (handwritten digits; the default), classes (drawn shapes),
            spots (cells to count), poses (fish), masks (threads), instances (nuclei).
        axes: 1 for signals, 2 for images, 3 for volumes; spots and masks have a demo of each.
        minutes: length of the training; by default as long as the task needs.
        seed: number that all random draws follow from.
        images: number of images; by default as many as the task needs.
        label: open the labelling page on such images instead, the first 20 of which are labelled.
    """
    if label:
        from placewise.demo import write_begun
        from placewise.labelling import label as open_page

        open_page(write_begun(out, task=task, seed=seed, images=images or 60))
        return
    from placewise.demo import run_demo

    run_demo(out, task=task, axes=axes, minutes=minutes, seed=seed, images=images)
