"""Predict a video: runs and a video in, tracks, tables, a labelled video and a report out.

```
OUT/predictions.csv      frame,time,[track,]keypoint,x,y,score,radius_90
OUT/VIDEOplacewise.csv   the same for DeepLabCut, and .h5
OUT/frames.csv           how much each frame needs a look
OUT/report.html          traces, jumps, gaps, the worst frames
OUT/labelled.mp4         where it was asked for
OUT/raw/1/               what the first run said, as it is predicted; see `placewise.prediction`
OUT/about.json           written last
```

The frames are predicted like images of a folder: read ahead, batch by batch, with a journal. What
is made of them afterwards is made anew by the same command with `resume`, also with another
smoothing or gate.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placewise.errors import SettingsError
from placewise.files import (
    is_leftover,
    read_json,
    remove,
    write_json,
    write_text,
)
from placewise.frames import Frames, frames_of
from placewise.motion import Track, ensemble, ensemble_smoothed, median_smoothed
from placewise.ownership import writing
from placewise.parallel import is_first, wait_for_all
from placewise.prediction import predict
from placewise.prediction.choosing import AUTO, Choice
from placewise.prediction.journal import RESULT, is_begun
from placewise.prediction.labelled import write_labelled
from placewise.prediction.movement import (
    Movement,
    changed,
    read_tracks,
    write_deeplabcut,
    write_doubts,
    write_table,
)
from placewise.prediction.shards import together
from placewise.prediction.video_report import command, report_of
from placewise.run import Run
from placewise.task import Progress
from placewise.tasks import task_named


@dataclass(frozen=True)
class VideoOptions:
    """What is made of the predictions of a video.

    Attributes:
        start: first frame, from 0.
        stop: first frame that is not predicted; None: the end.
        step: every how many frames one is predicted.
        smooth: "median=N" with an odd N, "eks" for two runs or more, or None.
        gate: score below which a keypoint has no place; None: all have one.
        draw: write a labelled video.
        threshold: score below which a keypoint counts as not sure.

    Raises:
        SettingsError: a value that cannot be.

    Example:
        >>> VideoOptions(smooth="median=5").window
        5
    """

    start: int = 0
    stop: int | None = None
    step: int = 1
    smooth: str | None = None
    gate: float | None = None
    draw: bool = False
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.start < 0 or self.step < 1 or (self.stop is not None and self.stop <= self.start):
            end = "the end" if self.stop is None else self.stop
            raise SettingsError(
                f"got frames from {self.start} to {end} by {self.step}; they count from 0, the "
                "stop is behind the start, and the step is 1 or more"
            )
        if self.gate is not None and not 0 <= self.gate <= 1:
            raise SettingsError(f"got a gate of {self.gate}; a score is from 0 to 1")
        if self.smooth is not None and self.smooth != "eks" and self.window is None:
            raise SettingsError(
                f"got the smoothing {self.smooth!r}; there are median=5 (or another odd number of "
                "frames), and eks for two runs or more"
            )

    @property
    def window(self) -> int | None:
        """Frames of the median; None where there is none."""
        match = re.fullmatch(r"median=(\d{1,4})", self.smooth or "")
        return int(match[1]) if match and int(match[1]) % 2 else None


@together
def predict_video(
    runs: Sequence[str | Path],
    video: str | Path,
    out: str | Path,
    options: VideoOptions | None = None,
    *,
    device: str = "auto",
    engine: str = AUTO,
    precision: str = AUTO,
    resume: bool = False,
    coarse_to_fine: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Predict keypoints or poses on the frames of a video.

    Args:
        runs: a trained run, or several of the same keypoints, whose mean is taken.
        video: the file.
        out: a new or empty folder; with `resume`, that of a prediction of this video.
        options: which frames, and what is made of them.
        device: where the networks run.
        engine: what computes them; see `predict`.
        precision: in which; see `predict`.
        resume: go on where the same prediction was stopped, or make its files anew.
        coarse_to_fine: see `predict`.
        progress: called with (done, total).

    Returns:
        What `about.json` holds.

    Raises:
        SettingsError: the runs do not fit each other or the options, or the folder is in use.
        ImageError: the video cannot be read.

    Example:
        >>> predict_video(["my_run"], "clip.mp4", "clip_predicted")["frames"]  # doctest: +SKIP
        1100
    """
    options, video, out = options or VideoOptions(), Path(video), Path(out)
    opened = [Run.open(run) for run in runs]
    task = _task(opened, options)
    reader = reader_of_video(video)
    numbers = range(reader.count(video))[options.start : options.stop : options.step]
    stages, used = len(opened) + options.draw, []
    with writing(out, RESULT, "a prediction") if is_first() else contextlib.nullcontext():
        if is_first():
            _check_out(out, resume)
        wait_for_all()
        for place, run in enumerate(opened):
            about = predict(
                run,
                video,
                out / "raw" / str(place + 1),
                device=device,
                engine=engine,
                precision=precision,
                overlays=0,
                resume=resume,
                track=task.follows,
                frames=slice(options.start, options.stop, options.step),
                others=False,
                coarse_to_fine=coarse_to_fine,
                progress=_part(progress, place, stages),
            )
            choice = Choice(about.get("engine", "torch"), about.get("precision", "float32"))
            used.append(choice.shown)
        if is_first():
            seen, movement = _movement(opened, video, reader, numbers, out, options)
            last = _part(progress, stages - 1, stages)
            _write(seen, movement, opened, out, options, last, engines=used)
        wait_for_all()
        return read_json(out / RESULT)


def reader_of_video(video: Path) -> Frames:
    """What reads a video; raises SettingsError where it is none."""
    reader = frames_of(video)
    if reader is None or not reader.moving:
        raise SettingsError(f"{video} is no video; name one, e.g. clip.mp4")
    return reader


def _task(runs: Sequence[Run], options: VideoOptions) -> Any:
    """The task of the runs, which must answer the same in ways that fit the options."""
    if not runs:
        raise SettingsError("no run was named; name one, then the video")
    models = [run.facts.model for run in runs]
    first, task = models[0], task_named(models[0].task)
    if any((model.task, model.names) != (first.task, first.names) for model in models):
        raise SettingsError(
            "the runs predict different things; several runs must have the same task and the same "
            "keypoints in the same order"
        )
    if not task.moves:
        raise SettingsError(
            f"the run predicts {task.noun}, and only keypoints are followed over a video; take its "
            "frames out with placewise frames, and predict their folder"
        )
    if len(runs) > 1 and task.follows:
        raise SettingsError(
            "several runs are combined for one object on an image, and these find several; name "
            "one run"
        )
    if options.smooth == "eks" and len(runs) < 2:
        raise SettingsError("eks needs two runs or more, e.g. of two seeds; name them, or median=5")
    return task


def _check_out(out: Path, resume: bool) -> None:
    """Refuse a folder that holds something else."""
    if all(is_leftover(path, RESULT) for path in out.iterdir()):
        return
    ours = is_begun(out / "raw" / "1")
    if not (ours and resume):
        more = "; add --resume to go on with the prediction there" if ours else ""
        raise SettingsError(f"{out} is in use already{more}; name a new or empty folder")


def _part(progress: Progress | None, stage: int, stages: int) -> Progress | None:
    """Progress of one of several stages of the same length, in frames of the whole."""
    if progress is None:
        return None
    whole: Callable[[int, int], None] = progress
    return lambda done, total: whole((stage * total + done) // stages, total)


def _movement(
    runs: Sequence[Run],
    video: Path,
    reader: Frames,
    numbers: range,
    out: Path,
    options: VideoOptions,
) -> tuple[Movement, Movement]:
    """(what the networks see, what is written of it)."""
    model = runs[0].facts.model
    tables = [out / "raw" / str(place + 1) / "predictions.csv" for place in range(len(runs))]
    tracks = [read_tracks(table, model.names, numbers) for table in tables]
    times = reader.times(video)
    seen = Movement(
        video,
        reader,
        tuple(model.names),
        numbers,
        None if times is None else times[numbers.start : numbers.stop : numbers.step],
        reader.size(video, numbers[0]),
        tracks[0] if len(runs) == 1 else (ensemble([one[0] for one in tracks]),),
        model.skeleton,
        model.task,
    )
    written: tuple[Track, ...] = seen.tracks
    if options.smooth == "eks":
        gated = [_gated(one[0], options.gate) for one in tracks]
        written = (ensemble_smoothed(gated),)
    else:
        written = tuple(_gated(track, options.gate) for track in written)
        if options.window:
            written = tuple(
                track.moved(median_smoothed(track.places, options.window)) for track in written
            )
    return seen, changed(seen, written)


def _gated(track: Track, gate: float | None) -> Track:
    return track if gate is None else track.gated(gate)


def _clear(out: Path) -> None:
    """Remove what was made of the same predictions before, with other options."""
    if (out / RESULT).is_file():
        for name in read_json(out / RESULT)["files"]:
            remove(out / Path(name).name)
        remove(out / RESULT)


def _write(
    seen: Movement,
    movement: Movement,
    runs: Sequence[Run],
    out: Path,
    options: VideoOptions,
    progress: Progress | None,
    *,
    engines: Sequence[str],
) -> dict[str, Any]:
    """All files of the result, and what about.json holds."""
    _clear(out)
    write_table(movement, out / "predictions.csv")
    doubts = write_doubts(seen, out / "frames.csv", options.threshold)
    files = ["predictions.csv", "frames.csv", *write_deeplabcut(movement, out)]
    if options.draw:
        write_labelled(movement, out / "labelled.mp4", options.threshold, progress)
        files.append("labelled.mp4")
    report = report_of(seen, movement, doubts, out, options.smooth, options.threshold)
    write_text(out / "report.html", report.html())
    task = task_named(runs[0].facts.model.task)
    about: dict[str, Any] = {
        **task.about(),
        "runs": [str(run.path) for run in runs],
        "engines": list(engines),
        "versions": runs[0].facts.versions,
        "video": str(movement.video),
        "frames": len(movement.numbers),
        "first": movement.numbers[0],
        "step": movement.numbers.step,
        "smooth": options.smooth or "none",
        "gate": options.gate,
        "files": [*files, "report.html"],
        "next": command(seen, out),
    }
    write_json(out / RESULT, about)
    return about
