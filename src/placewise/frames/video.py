"""Videos, frame by frame; needs the package av (PyAV).

What a video says of itself is not trusted: not its number of frames, not its rate, and not the
times of its packets. One pass of decoding makes an index of the frames that there are, with their
times and key frames. Frame 17 is then the 18th that decoding the file from its beginning gives,
however it is reached. See docs/video.md.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from placewise.errors import ImageError, SettingsError
from placewise.files import file_stamp
from placewise.frames import Frames
from placewise.geometry import FloatArray, Size
from placewise.images import PIXEL_LIMIT, ImageArray

DEMUXERS = ",".join(
    "mov mp4 m4a 3gp 3g2 mj2 matroska webm avi mpegts mpeg asf ogg flv mpegvideo m4v mjpeg".split()
)
"""Containers that are opened. A list of other files, in the guise of a video, is none."""

HELD = 4
"""Frames that were decoded last and are kept: threads ask in nearly the right order."""

OPEN = 4
"""Videos that are kept open."""

INDEXED = 64
"""Videos whose index is kept."""

STATED = frozenset("mov matroska avi flv".split())
"""Containers whose header says how long the images last, or the whole file; of others FFmpeg
estimates it, or takes that of the file for that of the images."""

MISSING = 3
"""Longest steps between frames that a whole video may end before the time that its header says."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Index:
    """The frames of a video, as decoding from its beginning gives them.

    Attributes:
        pts: (frames,) int64 time of each in units of `unit`; empty where they do not rise strictly.
        keys: numbers of the frames at which decoding can begin, rising.
        unit: seconds.
        sizes: (frames, 2) height and width of each as it is shown.
        fault: what was found behind the last frame; empty: the end.
    """

    pts: NDArray[np.int64]
    keys: NDArray[np.int64]
    unit: float
    sizes: NDArray[np.int32]
    fault: str = ""

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def times(self) -> FloatArray | None:
        """(frames,) seconds since the first frame; None where the file gives no times."""
        return (self.pts - self.pts[0]) * self.unit if len(self.pts) else None

    def key_before(self, number: int) -> int:
        """The frame, at or before one, at which decoding can begin."""
        place = int(np.searchsorted(self.keys, number, "right")) - 1
        return int(self.keys[place]) if place >= 0 else 0


class Video(Frames):
    """Videos of any camera and codec that FFmpeg decodes.

    Example:
        >>> Video().takes(Path("clip.MP4"))
        True
    """

    endings = tuple(
        ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .ts .mts .m2ts .wmv .flv .ogv .3gp".split()
    )
    what = "a video"
    moving = True

    def count(self, path: Path) -> int:
        """How many frames can be read; see `Frames.count`."""
        return len(index_of(path))

    def size(self, path: Path, number: int) -> Size:
        """(height, width) of a frame, turned as it is shown; see `Frames.size`."""
        index = index_of(path)
        _check_number(path, index, number)
        high, wide = index.sizes[number].tolist()
        return high, wide

    def times(self, path: Path) -> FloatArray | None:
        """Seconds since the first frame, of each; see `Frames.times`."""
        return index_of(path).times

    def read(self, path: Path, number: int) -> ImageArray:
        """(height, width, channels) of a frame; see `Frames.read`.

        1 channel where the video is grey, else 3 (RGB); uint16 where it has more than 8 bits.
        """
        index = index_of(path)
        _check_number(path, index, number)
        with _reading(path):
            return _cursor(*_stamp(path)).pixels(number)


def index_of(path: Path) -> Index:
    """The index of a video, made where it is not known yet.

    Raises:
        ImageError: no frame of the file can be read.
        SettingsError: PyAV is not there.
    """
    stamp = _stamp(path)
    with _MAKING:
        return _index(*stamp)


_MAKING = threading.RLock()


def _library() -> Any:
    """PyAV."""
    try:
        return import_module("av")
    except ImportError as error:
        raise SettingsError(
            'videos need the package av (PyAV); run: pip install "placewise[video]"'
        ) from error


def _stamp(path: Path) -> tuple[Path, int, int]:
    """See `file_stamp`; refused in words."""
    try:
        return file_stamp(path)
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror}; check the path") from error


def _check_number(path: Path, index: Index, number: int) -> None:
    """Refuse a frame that is not there."""
    if not 0 <= number < len(index):
        why = f" (behind them: {index.fault})" if index.fault else ""
        raise ImageError(
            f"{path} has {len(index):,} frames that can be read{why}, and frame {number:,} was "
            f"asked for; they count from 0 to {len(index) - 1:,}"
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what FFmpeg raises into an error of ours."""
    try:
        yield
    except (ImageError, SettingsError):
        raise
    except Exception as error:  # PyAV raises many kinds, also EOFError
        raise ImageError(
            f"{path}: cannot be read as a video ({_reason(error)}); needed a file that a player "
            "shows; copy it again, or write it anew with a video program"
        ) from error


def _reason(error: BaseException) -> str:
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split())[:200] or type(error).__name__


def _opened(path: Path) -> tuple[Any, Any]:
    """(container, stream) of a file and of nothing else: no network, no other file."""
    options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
    container = _library().open(f"file:{path.absolute()}", options=options)
    stream = container.streams.best("video")
    if stream is None or stream.codec_context is None:
        raise ImageError(f"{path}: holds no video that can be decoded; needed a video")
    stream.codec_context.thread_count = 1  # threads of FFmpeg do not survive a fork
    return container, stream


@lru_cache(maxsize=INDEXED)
def _index(path: Path, size: int, time: int) -> Index:
    """One pass of decoding."""
    frames: list[tuple[int | None, bool, int, int]] = []
    fault, unit = "", 0.0
    with _reading(path):
        container, stream = _opened(path)
        with container:
            unit, end = float(stream.time_base), _End(container, stream)
            try:
                for frame in end.decoded():
                    if frame.is_corrupt:
                        fault = "a damaged frame"
                        break
                    high, wide = _shown(frame, path)
                    frames.append((frame.pts, frame.key_frame, high, wide))
                else:
                    fault = end.fault([pts * unit for pts, *_ in frames if pts is not None])
            except Exception as error:
                if not frames:
                    raise
                fault = _reason(error)
    if not frames:
        raise ImageError(f"{path}: holds no frame that can be read; copy the video again")
    found = _as_index(frames, unit, fault)
    if fault:
        _log.warning(
            "%s: %s frames can be read, and behind them is a fault (%s); only these are used",
            path.name,
            f"{len(found):,}",
            fault,
        )
    if not len(found.pts):
        _log.warning(
            "%s: the times of its frames do not rise, so that no frame can be jumped to: it is "
            "read from its beginning, and single frames come slowly; to change that, write it "
            "anew with a video program",
            path.name,
        )
    return found


class _End:
    """Where the packets of a video end, and where its header says that they do.

    Of a stream the header may say it, or else of the whole file, which sound may make longer than
    its images: so the sound is followed too.

    Args:
        container: the open file.
        stream: its images.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container, self._stream = container, stream
        self._images = self._sound = 0.0

    def decoded(self) -> Iterator[Any]:
        """The frames from the beginning, as `container.decode` gives them."""
        for packet in self._container.demux(self._stream, *self._container.streams.audio):
            images, last = packet.stream.index == self._stream.index, 0.0
            if packet.pts is not None:
                last = (packet.pts + (packet.duration or 0)) * float(packet.time_base)
            if images:
                self._images = max(self._images, last)
                yield from packet.decode()
            else:
                self._sound = max(self._sound, last)

    def fault(self, times: list[float]) -> str:
        """In words, that the frames end before they should; empty where they do not.

        Args:
            times: of the frames, in seconds.
        """
        if not times or not STATED.intersection(self._container.format.name.split(",")):
            return ""
        steps = np.abs(np.diff(times))
        step = float(steps.max(initial=1 / float(self._stream.average_rate or 25)))
        last = max(max(times) + step, self._images) - min(0.0, min(times))
        stated, reached = self._stated(), last
        if stated is None and self._container.duration:
            stated, reached = self._container.duration / 1e6, max(last, self._sound)
        if stated is None or reached + MISSING * step >= stated:
            return ""
        return f"it should last {stated:.2f} s, and ends at {reached:.2f} s: copy it again"

    def _stated(self) -> float | None:
        """Seconds that the header says of the images alone."""
        stream = self._stream
        if stream.duration is not None:
            return float(stream.duration * stream.time_base)
        match = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
        if match is None:
            return None
        hours, minutes, seconds = map(float, match.groups())
        stated = 3600 * hours + 60 * minutes + seconds
        whole = self._container.duration
        return min(stated, whole / 1e6) if whole else stated


def _as_index(frames: list[tuple[int | None, bool, int, int]], unit: float, fault: str) -> Index:
    times = [pts for pts, *_ in frames if pts is not None]
    pts = np.array(times, np.int64)
    if len(times) < len(frames) or (np.diff(pts) <= 0).any():
        pts = pts[:0]
    keys = np.array([number for number, (_, key, *_) in enumerate(frames) if key], np.int64)
    sizes = np.array([size for *_, high, wide in frames for size in (high, wide)], np.int32)
    return Index(pts, keys, unit, sizes.reshape(-1, 2), fault)


def _shown(frame: Any, path: Path) -> tuple[int, int]:
    """(height, width) of a frame as it is shown."""
    if frame.height * frame.width > PIXEL_LIMIT:
        raise ImageError(
            f"{path}: its frames have {frame.width} × {frame.height} pixels; needed at most "
            f"{PIXEL_LIMIT:,}; shrink the video"
        )
    size = (frame.height, frame.width)
    return size[::-1] if _quarters(frame, path) % 2 else size


def _quarters(frame: Any, path: Path) -> int:
    """Turns by 90° counterclockwise with which a frame is shown."""
    if frame.rotation % 90:
        raise ImageError(
            f"{path}: is shown turned by {frame.rotation}°; needed 0, 90, 180 or 270; write it "
            "anew with a video program"
        )
    turns: int = frame.rotation // 90 % 4
    return turns


def _pixels(frame: Any, path: Path) -> ImageArray:
    """(height, width, channels) of a decoded frame, turned as it is shown."""
    deep = max(part.bits for part in frame.format.components) > 8
    grey = len(frame.format.components) == 1 and not frame.format.has_palette
    name = ("gray16le" if deep else "gray") if grey else ("rgb48le" if deep else "rgb24")
    alone = {"threads": 1} if "threads" in (type(frame).reformat.__doc__ or "") else {}
    pixels = frame.to_ndarray(format=name, **alone)  # more threads would not survive a fork
    pixels = pixels[..., None] if grey else pixels
    return np.ascontiguousarray(np.rot90(pixels, _quarters(frame, path)))


_CURSORS: OrderedDict[tuple[Path, int, int], _Cursor] = OrderedDict()
"""Videos that are open, by file, size and time, the last one that was asked for last."""

_INHERITED: list[_Cursor] = []
"""Those of the process that this one was forked from: FFmpeg would wait for ever for its threads,
which are not here, if they were freed."""


def _cursor(path: Path, size: int, time: int) -> _Cursor:
    """The reader of a video that is open."""
    key = path, size, time
    with _MAKING:
        found = _CURSORS.pop(key, None) or _Cursor(path, index_of(path))
        _CURSORS[key] = found
        while len(_CURSORS) > OPEN:
            _CURSORS.popitem(last=False)
    return found


def _forked() -> None:
    """A process that was forked opens its videos anew: it has its own place in each file."""
    global _MAKING
    _MAKING = threading.RLock()
    _INHERITED.extend(_CURSORS.values())
    _CURSORS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class _Cursor:
    """An open video: the next frame costs one decoding, another one a jump to a key frame.

    A jump counts only where the key frame was met on the way; if it was missed, the jump goes to
    an earlier one, and at last to the beginning.

    Args:
        path: the file.
        index: its index.
    """

    def __init__(self, path: Path, index: Index) -> None:
        self.path, self.index = path, index
        self._lock = threading.RLock()
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._restart()

    def pixels(self, number: int) -> ImageArray:
        """(height, width, channels) of a frame.

        One thread at a time: what converts the colours of a frame belongs to the frame.

        Raises:
            ImageError: it is no longer what it was when the index was made.
        """
        with self._lock:
            return _pixels(self.frame(number), self.path)

    def frame(self, number: int) -> Any:
        """The same as it was decoded."""
        with self._lock:
            if number not in self._held:
                if not self._from_here(number):
                    self._jump(number)
                while self._next <= number:
                    self._advance()
            return self._held[number]

    def _from_here(self, number: int) -> bool:
        """Whether the frame lies ahead, and no key frame is between."""
        if number < self._next:
            return False
        return not len(self.index.pts) or self.index.key_before(number) <= self._next

    def _jump(self, number: int) -> None:
        """Go to a place from which decoding leads to a frame."""
        self._held.clear()
        key = self.index.key_before(number)
        while key > 0 and len(self.index.pts):
            if self._lands_on(key):
                return
            key = self.index.key_before(key - 1)
        self._restart()

    def _lands_on(self, key: int) -> bool:
        """Whether the key frame is met after a jump to it; then it is the last one decoded."""
        goal = int(self.index.pts[key])
        self._container.seek(goal, stream=self._stream)
        self._frames = self._container.decode(self._stream)
        for frame in self._frames:
            if frame.pts is None or frame.pts > goal:
                return False
            if frame.pts == goal:
                self._keep(key, frame)
                return True
        return False

    def _restart(self) -> None:
        """Go to the beginning."""
        self._container, self._stream = _opened(self.path)
        self._frames = self._container.decode(self._stream)
        self._next = 0

    def _advance(self) -> None:
        """Decode the next frame."""
        number = self._next
        frame = next(self._frames, None)
        times = self.index.pts
        if frame is None or (len(times) and frame.pts != times[number]):
            self._restart()
            raise ImageError(
                f"{self.path}: frame {number:,} is not where it was; the file was changed, so "
                "begin again"
            )
        self._keep(number, frame)

    def _keep(self, number: int, frame: Any) -> None:
        self._next = number + 1
        self._held[number] = frame
        while len(self._held) > HELD:
            self._held.popitem(last=False)
