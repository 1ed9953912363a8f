"""What every kind of file that holds many images promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from placewise.errors import ImageError
from placewise.frames import FRAMES, Frames, frame_named, frames_of
from placewise.labels import Files

COUNT = 7


def video(folder: Path) -> Path:
    from videos import write

    return write(folder / "a.mp4", COUNT)


def package(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    images = np.random.default_rng(0).integers(0, 255, (COUNT, 12, 16, 3), np.uint8)
    with h5py.File(folder / "a.h5", "w") as file:
        file["images"] = images
    return folder / "a.h5"


MADE: dict[str, Callable[[Path], Path]] = {"video": video, "package": package}
"""How a file of seven different images is made, by member."""


@pytest.fixture(params=FRAMES.names())
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Frames, Path]:
    return FRAMES[request.param](), MADE[request.param](tmp_path)


def test_every_image_is_read(made: tuple[Frames, Path]) -> None:
    reader, path = made
    assert reader.count(path) == COUNT
    read = [reader.read(path, number) for number in range(COUNT)]
    for number, pixels in enumerate(read):
        assert pixels.ndim == 3 and pixels.shape[2] in (1, 3)
        assert pixels.dtype in (np.uint8, np.uint16)
        assert reader.size(path, number) == pixels.shape[:2]
        assert np.array_equal(reader.read(path, number), pixels)
    assert len({pixels.tobytes() for pixels in read}) == COUNT
    assert np.array_equal(reader.read(path, 1), read[1])  # in any order


def test_times_are_those_of_all_images_or_unknown(made: tuple[Frames, Path]) -> None:
    reader, path = made
    times = reader.times(path)
    assert times is None or (len(times) == COUNT and (np.diff(times) > 0).all())


def test_the_name_of_a_file_says_what_reads_it(made: tuple[Frames, Path]) -> None:
    reader, path = made
    assert type(frames_of(path)) is type(reader)
    name = frame_named(path.name, 3)
    assert np.array_equal(Files(path.parent).read(name), reader.read(path, 3))


@pytest.mark.parametrize("number", [COUNT, 10**9])
def test_an_image_that_is_not_there_is_refused(made: tuple[Frames, Path], number: int) -> None:
    reader, path = made
    for ask in (reader.read, reader.size):
        with pytest.raises(ImageError, match=rf"a\.\w+ \w+ {COUNT} (images|frames)"):
            ask(path, number)


def test_a_damaged_file_is_refused_in_one_line(made: tuple[Frames, Path]) -> None:
    reader, path = made
    path.write_bytes(b"no such file" * 9)
    for ask in (lambda: reader.count(path), lambda: reader.read(path, 0)):
        with pytest.raises(ImageError, match=path.name) as error:
            ask()
        assert "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(ImageError, match="check the path"):
        reader.count(path)
