"""Videos that browsers play: H.264 in mp4, 8 bits, the index at the beginning."""

from __future__ import annotations

from contextlib import AbstractContextManager
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from placewise.errors import SettingsError
from placewise.images import ImageArray

TICKS = 90_000
"""Units of time in a second."""

RATE = 30
"""Frames from one key frame to the next, and a rate for the header: times are those given."""

ENCODER = {
    "preset": "veryfast",
    "crf": "20",
    "bf": "0",
    "x264-params": "rc-lookahead=10:sync-lookahead=0",
}
"""Without frames that depend on later ones, and with little that is held in memory."""


class VideoWriter(AbstractContextManager["VideoWriter"]):
    """Writes a labelled video, frame by frame.

    Args:
        path: the file, which gets the container mp4 whatever its name.

    Raises:
        SettingsError: PyAV is not there, or its FFmpeg has no encoder for H.264.

    Example:
        >>> with VideoWriter(Path("grey.mp4")) as writer:  # doctest: +SKIP
        ...     writer.write(np.full((48, 64, 3), 127, np.uint8), seconds=0.0)
    """

    def __init__(self, path: Path) -> None:
        try:
            self._av: Any = import_module("av")
        except ImportError as error:
            raise SettingsError(
                'a video needs the package av (PyAV); run: pip install "placewise[video]"'
            ) from error
        options = {"movflags": "+faststart"}
        self._out = self._av.open(f"file:{path.absolute()}", "w", format="mp4", options=options)
        self._stream: Any = None
        self._last = -1

    def __exit__(self, kind: object, *error: object) -> None:
        if self._stream is not None and kind is None:
            self._out.mux(self._stream.encode())
        self._out.close()

    def write(self, pixels: ImageArray, seconds: float) -> None:
        """Add a frame.

        Args:
            pixels: (height, width, 3) uint8, of the same size as the first; an odd side gets its
                last row or column twice.
            seconds: since the first frame.
        """
        high, wide = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, high % 2), (0, wide % 2), (0, 0)), mode="edge")
        if self._stream is None:
            self._begin(*pixels.shape[:2])
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")
        self._last = max(self._last + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, TICKS)
        self._out.mux(self._stream.encode(frame))

    def _begin(self, high: int, wide: int) -> None:
        try:
            self._stream = self._out.add_stream("libx264", rate=RATE, options=ENCODER)
        except (ValueError, LookupError) as error:
            raise SettingsError(
                "this PyAV has no encoder for H.264; install the wheel of PyPI: pip install av"
            ) from error
        self._stream.width, self._stream.height = wide, high
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.gop_size = RATE
        self._stream.codec_context.time_base = Fraction(1, TICKS)
