"""Images that are too large, cut, damaged or none: one of our errors, and never a crash."""

import os
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import ImageError
from placewise.images import image_size, read_image
from test_images import FILES, HEIGHT, SUFFIX, WIDTH, chunk, noise, save, tiff


def bombs(side):
    """Tiny files whose headers promise side × side pixels."""
    edge = min(side, 65500)
    frame = struct.pack("<I", side - 1)[:3]
    lossless = struct.pack("<I", 16383 | 16383 << 14)
    return {
        "png": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b""),
        "bmp": b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        "gif": b"GIF89a"
        + struct.pack("<HHBBB", edge, edge, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, edge, edge, 0)
        + b"\x08\x01\x00\x00;",
        "ppm": b"P6 %d %d 255\n" % (side, side),
        "pgm": b"P2 %d %d 255\n1 2 3" % (side, side),
        "tif": tiff(np.zeros((1, 1, 1), np.uint8))
        .replace(struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, side))
        .replace(struct.pack("<HHII", 257, 4, 1, 1), struct.pack("<HHII", 257, 4, 1, side)),
        "jpg": b"\xff\xd8\xff\xc0\x00\x0b\x08"
        + struct.pack(">HH", edge, edge)
        + b"\x01\x01\x11\x00\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9",
        "webp": b"RIFF"
        + struct.pack("<I", 22)
        + b"WEBPVP8X"
        + struct.pack("<II", 10, 0)
        + frame
        + frame,
        "lossless.webp": b"RIFF"
        + struct.pack("<I", 20)
        + b"WEBPVP8L"
        + struct.pack("<I", 5)
        + b"\x2f"
        + lossless
        + bytes(3),
    }


@pytest.mark.parametrize("name", bombs(60000))
def test_a_bomb_is_refused_from_its_header(name, tmp_path):
    path = tmp_path / f"bomb.{name}"
    path.write_bytes(bombs(60000)[name])
    tracemalloc.start()
    try:
        for act in (image_size, read_image):
            with pytest.raises(ImageError, match=r"bomb.*pixels; needed at most 100,000,000"):
                act(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("container", SUFFIX)
def test_the_limit_holds_to_the_pixel(container, tmp_path):
    path = save(Image.fromarray(noise(3)), tmp_path, container)
    assert read_image(path, limit=HEIGHT * WIDTH).shape[:2] == (HEIGHT, WIDTH)
    for act in (image_size, read_image):
        with pytest.raises(ImageError, match=f"needed at most {HEIGHT * WIDTH - 1}"):
            act(path, limit=HEIGHT * WIDTH - 1)


def test_pillow_s_own_limit_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save(Image.fromarray(noise(3)), tmp_path, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_image(path), noise(3))
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    "content", [b"", b"P", b"not an image", b"\x00\x00\x01\x00", b"%!PS-Adobe", b"8BPS", b"RIFF"]
)
def test_what_is_no_image_is_refused(content, tmp_path):
    path = tmp_path / "strange.png"
    path.write_bytes(content)
    for act in (image_size, read_image):
        with pytest.raises(ImageError, match=r"strange\.png"):
            act(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "missing.png", tmp_path / "pipe.png"):
        with pytest.raises(ImageError, match="no such file"):
            read_image(path)


def survives(path, content, kind):
    """A changed file is read as an image, or refused with our error; a PNG is never read wrong."""
    path.write_bytes(content)
    try:
        image = read_image(path, limit=1_000_000)
    except ImageError as error:
        assert str(path) in str(error)
        return False
    assert image.ndim == 3 and image.shape[2] in (1, 3) and image.size
    assert image.dtype in (np.uint8, np.uint16)
    assert image_size(path) == image.shape[:2]
    if kind.startswith("PNG"):
        path.write_bytes(FILES[kind])
        assert np.array_equal(image, read_image(path))
    return True


@pytest.mark.parametrize("kind", FILES)
def test_truncated_files_are_refused(kind, tmp_path, capfd):
    whole = FILES[kind]
    path = tmp_path / "cut"
    assert survives(path, whole, kind)
    read = [
        cut
        for cut in range(0, len(whole), max(1, len(whole) // 60))
        if survives(path, whole[:cut], kind)
    ]
    # A little may be missing behind the pixels (a closing mark, a table of numbers for printing).
    assert all(cut > 0.85 * len(whole) for cut in read), read
    assert capfd.readouterr() == ("", "")


def survive_mutations(path, examples):
    """Random bytes of good files are changed, and the end is cut off."""
    edits = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=6)

    @given(st.sampled_from(sorted(FILES)), edits, st.just(0) | st.integers(0, 2**20))
    @settings(max_examples=examples, deadline=None, derandomize=True)
    def mutate(kind, changes, cut):
        content = bytearray(FILES[kind])
        for position, value in changes:
            content[position % len(content)] = value
        survives(path, bytes(content[: len(content) - cut % len(content)]), kind)

    mutate()


def test_mutated_files_read_or_give_our_error(tmp_path):
    survive_mutations(tmp_path / "mutated", examples=150)


@pytest.mark.slow
def test_thousands_of_mutated_files_read_or_give_our_error(tmp_path):
    survive_mutations(tmp_path / "mutated", examples=5000)


@pytest.mark.slow
def test_damaged_metadata_is_read_without_a_word(tmp_path):
    content = tiff(np.full((4, 5, 1), 7, np.uint8)).replace(
        struct.pack("<HHII", 278, 4, 1, 4), struct.pack("<HHII", 270, 2, 2**20, 4)
    )  # a description that is longer than the file, in place of the rows in a strip
    path = tmp_path / "damaged.tif"
    path.write_bytes(content)
    code = (
        "import sys, pathlib, placewise.images as p;"
        "print(p.read_image(pathlib.Path(sys.argv[1])).sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("140\n", "")
    with pytest.raises(ImageError, match="larger than file"):
        read_image(path)  # pytest makes warnings errors
