"""What the verbs do with videos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tyro.conf import Positional

from placewise.cli._words import Pairs, import_all, teller


def predict_runs(
    runs: Sequence[Path],
    images: Path,
    out: Path,
    given: Mapping[str, Any],
    still: Mapping[str, Any],
    where: Mapping[str, Any],
    resume: bool,
    track: bool,
    threshold: float,
    quiet: bool,
) -> bool:
    """Predict a video; False where these are images, and one run.

    Args:
        runs: folders of runs.
        images: the video, or what else was named.
        out: folder for the results.
        given: options of videos alone; None: not given.
        still: options of images alone; None: not given.
        where: device, engine and the like.
        resume: go on with a prediction.
        track: give objects identities, as is always done on a video.
        threshold: score below which a keypoint is not sure.
        quiet: print nothing.

    Raises:
        SettingsError: options of a video were given for images, or of images for a video.
    """
    from placewise.errors import SettingsError
    from placewise.frames import frames_of
    from placewise.parallel import is_first
    from placewise.prediction.video import VideoOptions, predict_video
    from placewise.progress import Display

    named = {name: value for name, value in given.items() if value is not None}
    reader = frames_of(images) if images.is_file() else None
    if reader is None or not reader.moving:
        if len(runs) != 1:
            raise SettingsError(
                f"got {len(runs)} runs and {images}; name one run, then the images, or several "
                "runs and a video"
            )
        if named:
            raise SettingsError(
                f"{images} is no video, and {_meant(named)} for videos; leave it out"
            )
        return False
    others = [name for name, value in still.items() if value is not None]
    if others:
        raise SettingsError(f"{images} is a video, and {_meant(others)} for images; leave it out")
    if track:
        _check_tracks(runs)
    options = VideoOptions(**named, threshold=threshold)
    quiet = quiet or not is_first()
    with Display("frames", quiet) as progress:
        about = predict_video(runs, images, out, options, **where, resume=resume, progress=progress)
    say = teller(quiet)
    say(f"{about['frames']:,} frames predicted: {out / 'predictions.csv'}")
    say(f"report: {out / 'report.html'}")
    say(f"to add the worst frames to the folder that you labelled: {about['next']}")
    return True


def _meant(names: Iterable[str]) -> str:
    """The options of these names, and a verb."""
    words = [f"--{'video' if name == 'draw' else name}" for name in names]
    return f"{', '.join(words)} {'is' if len(words) == 1 else 'are'}"


def _check_tracks(runs: Sequence[Path]) -> None:
    """Refuse to follow objects where the runs predict none; see `Task.follower`."""
    from placewise.run import Run
    from placewise.tasks import task_named

    for run in runs:
        model = Run.open(run).facts.model
        task_named(model.task).follower(model)


def frames(
    videos: Positional[tuple[Path, ...]],
    /,
    out: Path,
    number: int = 20,
    method: Literal["kmeans", "uniform", "random", "jumps", "uncertain"] = "kmeans",
    run: Path | None = None,
    predictions: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    plugin: Pairs = (),
    quiet: bool = False,
) -> None:
    """Take frames out of videos to label them.

    Like this:

      placewise frames clip.mp4 --out my_frames
      placewise frames clip.mp4 --out my_frames --method uncertain --predictions clip_predicted

    Frames are written as my_frames/labeled-data/clip/img0123.png, where 0123 is the number of the
    frame, with as many digits as the last frame needs. Files that are there stay as they are, and
    other frames are added to them.

    Args:
        videos: one or more videos.
        out: folder for the images.
        number: of frames from each video.
        method: kmeans (frames that look different), uniform (in even distances), random; and, with
            --run or --predictions, jumps (where keypoints move far at once) and uncertain (where
            they are not sure).
        run: folder of the run that predicts the videos, for jumps and uncertain.
        predictions: what placewise predict wrote for the video, instead of the run.
        seed: number that all random draws follow from.
        device: where the network of --run runs: auto, cpu, cuda, mps.
        plugin: modules to import first, for tasks, heads and backbones of your own.
        quiet: print nothing.
    """
    import_all(plugin)
    from placewise.progress import Display
    from placewise.selection import select_frames

    with Display("frames", quiet) as progress:
        chosen = select_frames(
            videos,
            out,
            number=number,
            method=method,
            run=run,
            predictions=predictions,
            seed=seed,
            device=device,
            progress=progress,
        )
    for video, files in chosen.items():
        where = files[0].parent if files else out
        teller(quiet)(f"{len(files)} frames of {video.name}: {where}")
