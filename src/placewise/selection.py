"""Which frames of a video are worth labelling, and their files.

```
OUT/labeled-data/VIDEO/img0123.png    as DeepLabCut names them: the number of the frame
```
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from PIL import Image

from placewise.clusters import k_means
from placewise.errors import SettingsError
from placewise.files import make_folder, read_json, write_bytes
from placewise.frames import Frames
from placewise.geometry import FloatArray
from placewise.images import ImageArray, resize
from placewise.motion import worst_frames
from placewise.prediction.movement import read_doubts
from placewise.prediction.video import predict_video, reader_of_video
from placewise.task import Progress

Method = Literal["kmeans", "uniform", "random", "jumps", "uncertain"]

THUMBNAIL = 32
"""Pixels of the sides at which frames are compared."""

LOOKED_AT = 2000
"""Frames of a video that k-means chooses from, in even distances."""

CHOICE = 5
"""Times as many of the worst frames are looked at as are taken: one of each kind."""

_log = logging.getLogger("placewise")


def select_frames(
    videos: Sequence[Path | str],
    out: Path | str,
    *,
    number: int = 20,
    method: Method = "kmeans",
    run: Path | str | None = None,
    predictions: Path | str | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> dict[Path, list[Path]]:
    """Take frames out of videos, as PNG files to be labelled.

    Nothing is overwritten: frames that are there already are not chosen again.

    Args:
        videos: the files.
        out: folder for the images, which may be there already.
        number: of frames of each video.
        method: `kmeans` on thumbnails of 32 × 32, `uniform`, `random`; and with a run or
            predictions `jumps` and `uncertain`: of the worst frames one of each kind.
        run: predicts the videos for `jumps` and `uncertain`.
        predictions: folder that `predict_video` wrote for the video, instead of the run.
        seed: of all draws.
        device: where the run's network runs.
        progress: called with (done, total) frames that were looked at or predicted.

    Returns:
        The new files of each video.

    Raises:
        SettingsError: options that do not fit, or two videos of one name.
        ImageError: a video cannot be read.

    Example:
        >>> taken = select_frames(["clip.mp4"], "my_frames", number=20)  # doctest: +SKIP
    """
    paths = [Path(video) for video in videos]
    _check(paths, number, method, run, predictions)
    chosen: dict[Path, list[Path]] = {}
    for video in paths:
        reader = reader_of_video(video)
        folder = Path(out) / "labeled-data" / video.stem
        there = {
            int(match[1])
            for file in (folder.iterdir() if folder.is_dir() else ())
            if (match := re.fullmatch(r"img(\d+)\.png", file.name))
        }
        left = [n for n in range(reader.count(video)) if n not in there]
        if method in ("jumps", "uncertain"):
            doubts = _doubts(video, method, run, predictions, device, progress)
            left = [n for n in left if doubts.get(n, 0.0) > 0]
            picked = _worst(reader, video, left, doubts, number, seed)
        else:
            picked = _picked(reader, video, left, number, method, seed, progress)
        if len(picked) < number:
            _log.warning("%s: there are only %d such frames", video.name, len(picked))
        chosen[video] = _write(reader, video, folder, picked)
    return chosen


def _check(
    videos: Sequence[Path],
    number: int,
    method: str,
    run: Path | str | None,
    predictions: Path | str | None,
) -> None:
    if not videos or number < 1:
        raise SettingsError(
            f"got {len(videos)} videos and {number} frames of each; name a video, and 1 frame or "
            "more"
        )
    stems = [video.stem for video in videos]
    if len(set(stems)) < len(stems):
        raise SettingsError(
            "two videos have the same name, and their frames would share a folder; take them out "
            "with two commands and another --out"
        )
    needs = method in ("jumps", "uncertain")
    if needs and (run is None) == (predictions is None):
        raise SettingsError(
            f"{method} looks at predictions: name a run with --run, or what placewise predict "
            "wrote for the video with --predictions; not both"
        )
    if not needs and (run is not None or predictions is not None):
        raise SettingsError(
            f"{method} looks at no predictions; leave --run and --predictions out, or choose "
            "--method uncertain or jumps"
        )
    if predictions is not None and len(videos) > 1:
        raise SettingsError("--predictions are those of one video; name one, or use --run")


def _picked(
    reader: Frames,
    video: Path,
    left: Sequence[int],
    number: int,
    method: str,
    seed: int,
    progress: Progress | None,
) -> list[int]:
    """Frames that are chosen without predictions."""
    if len(left) <= number:
        return list(left)
    if method == "random":
        drawn = np.random.default_rng(seed).choice(len(left), number, replace=False)
        return sorted(left[place] for place in drawn.tolist())
    if method == "uniform":
        places = np.linspace(0, len(left) - 1, number).round().astype(int)
        return [left[place] for place in places.tolist()]
    some = [left[place] for place in _even(len(left), max(number, LOOKED_AT))]
    thumbnails = _thumbnails(reader, video, some, progress)
    return [some[place] for place in k_means(thumbnails, number, seed=seed).nearest()]


def _even(count: int, most: int) -> list[int]:
    """Places in even distances, all of them where there are few."""
    places: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return places


def _worst(
    reader: Frames,
    video: Path,
    left: Sequence[int],
    doubts: dict[int, float],
    number: int,
    seed: int,
) -> list[int]:
    """Of the frames with the most doubt one of each kind."""
    if not left:
        return []
    values = np.zeros(left[-1] + 1)
    values[left] = [doubts[n] for n in left]
    worst = [n for n in worst_frames(values, CHOICE * number) if values[n] > 0]
    if len(worst) <= number:
        return sorted(worst)
    worst.sort()
    groups = k_means(_thumbnails(reader, video, worst, None), number, seed=seed).member
    found = np.array(worst)
    return sorted(max(found[groups == g].tolist(), key=lambda n: doubts[n]) for g in range(number))


def _thumbnails(
    reader: Frames, video: Path, numbers: Sequence[int], progress: Progress | None
) -> FloatArray:
    """(frames, 1024) grey values of the frames at 32 × 32."""
    found = np.empty((len(numbers), THUMBNAIL**2))
    for place, number in enumerate(numbers):
        pixels = reader.read(video, number).mean(-1, keepdims=True, dtype=np.float32)
        found[place] = resize(pixels, (THUMBNAIL, THUMBNAIL)).ravel()
        if progress:
            progress(place + 1, len(numbers))
    return found


def _doubts(
    video: Path,
    method: str,
    run: Path | str | None,
    predictions: Path | str | None,
    device: str,
    progress: Progress | None,
) -> dict[int, float]:
    """How much each frame needs a look."""
    if run is not None:
        with TemporaryDirectory() as folder:
            out = Path(folder, "predicted")
            predict_video([run], video, out, device=device, progress=progress)
            rows = read_doubts(out / "frames.csv")
    else:
        file = Path(predictions or "", "frames.csv")
        if not file.is_file():
            raise SettingsError(
                f"{predictions} holds no frames.csv; name a folder that placewise predict wrote "
                "for a video"
            )
        _check_video(video, Path(predictions or "", "about.json"))
        rows = read_doubts(file)
    return {n: float(jumps) if method == "jumps" else doubt for n, (doubt, jumps) in rows.items()}


def _check_video(video: Path, about: Path) -> None:
    """Refuse the predictions of another video."""
    told = read_json(about) if about.is_file() else {}
    named = Path(told.get("video", video.name)).name
    if named != video.name:
        raise SettingsError(
            f"{about.parent} holds predictions of {named}, and the frames are of {video.name}; "
            "name the folder that placewise predict wrote for this video"
        )


def _write(reader: Frames, video: Path, folder: Path, numbers: Sequence[int]) -> list[Path]:
    """The frames as PNG files."""
    make_folder(folder)
    digits = len(str(max(1, reader.count(video) - 1)))
    files = []
    for number in numbers:
        file = folder / f"img{number:0{digits}d}.png"
        write_bytes(file, _png(reader.read(video, number)))
        files.append(file)
    return files


def _png(pixels: ImageArray) -> bytes:
    """A lossless file of a frame; of deeper colours 8 bits, since Pillow writes no more."""
    if pixels.dtype == np.uint16 and pixels.shape[2] == 3:
        pixels = (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
