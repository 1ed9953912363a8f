"""Videos that the tests make: every frame carries its number as a pattern of black and white."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed (the extra `video`)")

SIDE, BITS = 8, 10
HIGH, WIDE = 48, 96
PLAIN = {"crf": "20", "preset": "ultrafast", "threads": "1"}
"""Options of the encoder: each frame depends on those before it."""
LINKED = {**PLAIN, "bf": "3", "b-pyramid": "normal", "preset": "veryfast"}
"""The same with B-frames."""


def burnt(number: int) -> np.ndarray:
    """(48, 96, 3) uint8: a moving ramp, and the number in ten fields of 8 × 8 pixels on its top."""
    x = np.arange(WIDE)[None, :] + 3 * number
    y = np.arange(HIGH)[:, None]
    grey = (60 + 40 * np.sin(x / 9) + 40 * np.cos((y + number) / 7)).astype(np.uint8)
    for bit in range(BITS):
        grey[:SIDE, bit * SIDE : (bit + 1) * SIDE] = 255 * (number >> bit & 1)
    return np.repeat(grey[..., None], 3, -1)


def number_of(pixels: np.ndarray) -> int:
    """The number that a frame carries; of a turned frame after it is turned back."""
    fields = pixels[:SIDE, : BITS * SIDE].mean(-1).reshape(SIDE, BITS, SIDE)[2:6, :, 2:6]
    return sum(1 << bit for bit, mean in enumerate(fields.mean((0, 2))) if mean > 127)


def write(
    path: Path,
    count: int,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    gop: int = 24,
    times: Callable[[int], int] | None = None,
    into: dict[str, str] | None = None,
    sound: float = 0.0,
    held: int = 0,
) -> Path:
    """A video of numbered frames, 30 a second.

    Args:
        path: whose ending says the container.
        count: number of frames.
        codec: its encoder.
        options: of the encoder.
        gop: frames from one key frame to the next.
        times: time of a frame in ms, where they are not evenly spaced.
        into: options of the container.
        sound: seconds of silence that go with it.
        held: for how many frames the last one is shown, of an encoder that holds some back.
    """
    with av.open(str(path), "w", options=into or {}) as out:
        stream = out.add_stream(codec, rate=30, options=PLAIN if options is None else options)
        stream.width, stream.height, stream.pix_fmt = WIDE, HIGH, "yuv420p"
        stream.codec_context.gop_size = gop
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            silence(out, sound)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(burnt(number), "rgb24")
            frame.pts = times(number) if times else number
            frame.time_base = Fraction(1, 1000) if times else Fraction(1, 30)
            out.mux(stream.encode(frame))
        rest = stream.encode()
        if held:
            max(rest, key=lambda packet: packet.pts).duration = held
        out.mux(rest)
    return path


def silence(out: Any, seconds: float) -> None:
    """Sound for a video that is being written."""
    stream = out.add_stream("aac", rate=48_000, layout="mono")
    for start in range(0, int(seconds * 48_000), 960):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def uneven(number: int) -> int:
    """Time in ms of a frame of a camera that is not even."""
    return number * 40 + (number * number * 7) % 31


def cut(path: Path, count: int, first: int) -> Path:
    """Without its first frames, by an edit list: they stay in the file and are not shown."""
    whole = write(path.with_name("whole.mp4"), count, options=LINKED)
    with (
        av.open(str(whole)) as read,
        av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as out,
    ):
        source = read.streams.video[0]
        stream = out.add_stream_from_template(source)
        shift = int(first / 30 / source.time_base)
        for packet in read.demux(source):
            if packet.dts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
            out.mux(packet)
    return path


def turned(path: Path, count: int) -> Path:
    """A video that is shown turned by 90° clockwise: the header says so, the pixels lie."""
    data = bytearray(write(path, count).read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    matrix = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    data[start : start + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(bytes(data))
    return path


def shortened(path: Path, count: int, share: float, **more: Any) -> Path:
    """The first bytes of a video."""
    data = write(path, count, **more).read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def kinds(folder: Path, count: int) -> Iterator[tuple[str, Path, int]]:
    """(name, file, number that its first frame carries) of every kind of file."""
    made: dict[str, Callable[[Path], Path]] = {
        "b_frames.mp4": lambda to: write(to, count, options=LINKED),
        "open_gop.mp4": lambda to: write(
            to, count, options={**LINKED, "x264-params": "open-gop=1"}
        ),
        "all_intra.mp4": lambda to: write(to, count, gop=1),
        "uneven.mp4": lambda to: write(to, count, options=LINKED, times=uneven),
        "uneven.mkv": lambda to: write(to, count, options=LINKED, times=uneven),
        "edit_list.mp4": lambda to: cut(to, count, 23),
        "mpeg4.avi": lambda to: write(to, count, codec="mpeg4", options={"bf": "2", "q": "3"}),
        "h264.avi": lambda to: write(to, count, options=LINKED),
        "stream.ts": lambda to: write(to, count, options=LINKED),
        "fragmented.mp4": lambda to: write(
            to, count, options=LINKED, into={"movflags": "frag_keyframe+empty_moov"}
        ),
        "cut_off.mp4": lambda to: shortened(
            to, count, 2 / 3, options=LINKED, into={"movflags": "faststart"}
        ),
        "turned.mp4": lambda to: turned(to, count),
        "no_moov.mp4": lambda to: shortened(to, count, 2 / 3),
        "refreshed.mp4": lambda to: write(
            to, count, options={**PLAIN, "x264-params": "intra-refresh=1"}
        ),
        "vp9.webm": lambda to: write(
            to, count, codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}
        ),
    }
    for name, make in made.items():
        yield name, make(folder / name), 23 if name == "edit_list.mp4" else 0
