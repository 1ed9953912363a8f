"""Images: what a file shows is what the array holds, or one of our errors."""

import hashlib
import io
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import ImageError
from placewise.geometry import ratio_of, rescale
from placewise.images import (
    as_float,
    image_size,
    is_grey,
    is_image_name,
    list_images,
    read_image,
    resize,
)
from placewise.labels.names import name_beside

HEIGHT, WIDTH = 24, 40
SUFFIX = {"PNG": "png", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm", "WEBP": "webp", "GIF": "gif"}
SUFFIX |= {"JPEG": "jpg"}


def noise(channels, top=256, dtype=np.uint8, seed=0):
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def save(image, folder, container, **options):
    path = folder / f"image.{SUFFIX[container]}"
    image.save(path, container, **options)
    return path


def test_inverted_cmyk_of_a_jpeg_is_read_the_right_way_round(tmp_path):
    inks = np.broadcast_to(np.array([200, 40, 10, 30], np.uint8), (HEIGHT, WIDTH, 4)).copy()
    path = save(Image.fromarray(inks, "CMYK"), tmp_path, "JPEG", quality=100)
    expected = (255.0 - inks[0, 0, :3]) * (255 - 30) / 255
    assert np.abs(read_image(path) - expected).max() <= 2


def tiff(pixels, photometric=1, sample_format=1, order="<"):
    """A grey or RGB TIFF of any number type, written by hand (Pillow cannot write these)."""
    height, width, channels = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    short, long, bits = 3, 4, 8 * pixels.itemsize
    fields = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [bits] * channels),
        (259, short, [1]),
        (262, short, [photometric]),
        (273, long, [8]),
        (277, short, [channels]),
        (278, long, [height]),
        (279, long, [len(data)]),
        (339, short, [sample_format] * channels),
    ]
    entries, tail = struct.pack(order + "H", len(fields)), b""
    after = 8 + len(data) + 2 + 12 * len(fields) + 4
    for tag, kind, values in fields:
        packed = struct.pack(f"{order}{len(values)}{'HI'[kind == long]}", *values)
        if len(packed) > 4:
            tail, packed = tail + packed, struct.pack(order + "I", after + len(tail))
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(order + "I", 8 + len(data)) + data + entries + bytes(4) + tail


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("order", "<>")
def test_16_bit_ramp_keeps_its_levels_in_both_byte_orders(order, tmp_path):
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    path = tmp_path / "ramp.tif"
    path.write_bytes(tiff(ramp, order=order))
    assert np.array_equal(read_image(path), ramp)
    assert len(np.unique(as_float(read_image(path)))) == 4096
    png = tmp_path / "ramp.png"
    Image.fromarray(ramp[..., 0]).save(png)
    assert np.array_equal(read_image(png), ramp)


def test_16_bit_where_white_is_zero_is_turned_round(tmp_path):
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    path = tmp_path / "inverted.tif"
    path.write_bytes(tiff(ramp, photometric=0))
    assert np.array_equal(read_image(path), 65535 - ramp)


def test_one_transparent_grey_becomes_white(tmp_path):
    for image, white in ((noise(1), 255), (noise(1, 65536, np.uint16), 65535)):
        clear = int(image[3, 4])
        path = save(Image.fromarray(image), tmp_path, "PNG", transparency=clear)
        expected = np.where(image == clear, white, image)
        assert np.array_equal(read_image(path)[..., 0], expected)


def test_16_bit_colour_is_read_with_8_bits(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff(deep, photometric=2))
    assert read_image(path).dtype == np.uint8
    assert np.abs(read_image(path) / 255 - deep / 65535).max() <= 1 / 255


@pytest.mark.parametrize(
    ("values", "sample_format", "expected"),
    [
        (np.array([0, 7, 65535], np.uint32), 1, [0, 7, 65535]),
        (np.array([0, 2**31, 2**32 - 1], np.uint32), 1, [0, 32768, 65535]),
        (np.array([-1000, 0, 1000], np.int32), 2, [0, 32768, 65535]),
        (np.array([-1000, 0, 1000], np.int16), 2, [0, 32768, 65535]),
        (np.array([0, 0.25, 1], np.float32), 3, [0, 16384, 65535]),
        (np.array([0, 1, 255], np.float32), 3, [0, 257, 65535]),
        (np.array([0, 256, 65535], np.float32), 3, [0, 256, 65535]),
        (np.array([-2, 0, 2], np.float32), 3, [0, 32768, 65535]),
        (np.array([-2, -2, -2], np.float32), 3, [0, 0, 0]),
    ],
)
def test_scale_of_deeper_images(values, sample_format, expected, tmp_path):
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff(values.reshape(1, 3, 1), sample_format=sample_format))
    assert read_image(path).ravel().tolist() == expected


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "nan.tif"
    path.write_bytes(tiff(np.array([[[np.nan], [1.0]]], np.float32), sample_format=3))
    with pytest.raises(ImageError, match=r"nan\.tif.*not finite"):
        read_image(path)


# --- orientation ---


def stored(shown, orientation):
    """The rows and columns that a camera stores, by the table of EXIF: where row 0 and column 0 go.

    A slow twin of the reader: each shown pixel is looked up alone.
    """
    height, width = shown.shape[:2]
    swaps = orientation >= 5
    rows, columns = (width, height) if swaps else (height, width)
    result = np.empty((rows, columns, *shown.shape[2:]), shown.dtype)
    for row in range(rows):
        for column in range(columns):
            across, down = (row, column) if swaps else (column, row)
            if orientation in (2, 3, 6, 7):  # the 0th stored line is at the right
                across = width - 1 - across
            if orientation in (3, 4, 7, 8):  # ... at the bottom
                down = height - 1 - down
            result[row, column] = shown[down, across]
    return result


@pytest.mark.parametrize("container", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_keypoint_is_found_where_it_is_shown(orientation, container, tmp_path):
    x, y = 29.3, 6.8
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    shown = np.uint8(255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 2 / 2.0**2) + 0.5)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if container in ("JPEG", "WEBP") else {}
    image = Image.fromarray(np.repeat(stored(shown, orientation)[..., None], 3, -1))
    path = save(image, tmp_path, container, exif=exif, **options)
    pixels = as_float(read_image(path))[..., 0].astype(float)
    assert pixels.shape == image_size(path) == (HEIGHT, WIDTH)
    heat = np.where(pixels > 0.1, pixels, 0)
    found = (heat * across).sum() / heat.sum(), (heat * down).sum() / heat.sum()
    assert np.hypot(found[0] - x, found[1] - y) <= 0.1


def test_exif_behind_the_pixels_of_a_png_counts_and_costs_no_decoding(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    plain = io.BytesIO()
    Image.fromarray(noise(1)).save(plain, "PNG")
    body, end = plain.getvalue()[:-12], plain.getvalue()[-12:]
    path = tmp_path / "late.png"
    path.write_bytes(body + chunk(b"eXIf", exif.tobytes()[6:]) + end)
    assert image_size(path) == (WIDTH, HEIGHT)
    assert np.array_equal(read_image(path)[..., 0], np.rot90(noise(1), -1))
    unreadable = body.replace(b"IDAT", b"IDAT" + bytes(8), 1)  # the size needs no whole pixels
    path.write_bytes(unreadable + end)
    assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_means_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(Image.fromarray(noise(1)), tmp_path, "PNG", exif=exif)
    assert np.array_equal(read_image(path)[..., 0], noise(1))


def files():
    """One small file of each container, and of the ways in which a TIFF may be packed."""
    smooth = Image.fromarray(noise(3)).resize((WIDTH, HEIGHT), box=(0, 0, 4, 4))
    exif = Image.Exif()
    exif[274] = 6
    result = {}
    for container in SUFFIX:
        buffer = io.BytesIO()
        smooth.save(
            buffer, container, **({} if container in ("BMP", "PPM", "GIF") else {"exif": exif})
        )
        result[container] = buffer.getvalue()
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        buffer = io.BytesIO()
        smooth.save(buffer, "TIFF", compression=packing)
        result[packing] = buffer.getvalue()
    deep = io.BytesIO()
    Image.fromarray(noise(1, 65536, np.uint16)).save(deep, "PNG")
    result["PNG 16"] = deep.getvalue()
    return result


FILES = files()


# --- folders ---


def digest(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).digest()
        + bytes(str(path.stat().st_mtime_ns), "ascii")
        for path in sorted(folder.rglob("*"))
    }


def test_reading_changes_nothing(tmp_path):
    for kind, content in FILES.items():
        (tmp_path / f"{kind.replace(' ', '')}.png").write_bytes(content)
    before = digest(tmp_path)
    paths = list_images(tmp_path)
    assert len(paths) == len(FILES)
    for path in paths:
        read_image(path)
        image_size(path)
    assert digest(tmp_path) == before


def test_images_are_listed_in_natural_order(tmp_path):
    names = ["a1.png", "a2.JPG", "a10.tif", "b/01.png", "b/1.png", "b/2.png", "c.webp"]
    for name in [*names, "notes.txt", ".hidden.png", "._a1.png", ".cache/x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == names
    assert list_images(tmp_path / "a1.png") == [tmp_path / "a1.png"]


def test_links_out_of_the_folder_are_left_out_and_reported(tmp_path, caplog):
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    for made in (outside, folder):
        made.mkdir()
    (outside / "secret.png").touch()
    (folder / "own.png").touch()
    (folder / "inner.png").symlink_to(folder / "own.png")
    (folder / "link.png").symlink_to(outside / "secret.png")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    with caplog.at_level(logging.WARNING):
        found = list_images(folder)
    assert [path.name for path in found] == ["inner.png", "own.png"]
    reported = {record.args[0].name for record in caplog.records}
    assert reported == {"link.png", "linked", "loop"}


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no image in it"):
        list_images(tmp_path)
    with pytest.raises(ImageError, match="no such file or folder"):
        list_images(tmp_path / "missing")


# --- arrays ---


def test_grey_is_seen_whatever_the_channels():
    assert is_grey(noise(1)[..., None])
    assert is_grey(np.repeat(noise(1)[..., None], 3, -1))
    assert not is_grey(noise(3))


def test_floats_span_0_to_1():
    for dtype in (np.uint8, np.uint16):
        ends = as_float(np.array([[[0], [np.iinfo(dtype).max]]], dtype))
        assert ends.dtype == np.float32 and ends.ravel().tolist() == [0, 1]
    with pytest.raises(ImageError, match="float64"):
        as_float(np.zeros((1, 1, 1)))


def blob(size, centre, sigma):
    down, across = np.mgrid[: size[0], : size[1]]
    return np.exp(-((across - centre[0]) ** 2 + (down - centre[1]) ** 2) / 2 / sigma**2)


def centroid(heat):
    down, across = np.mgrid[: heat.shape[0], : heat.shape[1]]
    return np.array([(heat * across).sum(), (heat * down).sum()]) / heat.sum()


@pytest.mark.parametrize("target", [(30, 40), (31, 77), (60, 80), (97, 133), (121, 60), (20, 200)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_resized_blob_goes_where_geometry_says(target, dtype):
    source, centre = (90, 120), np.array([47.3, 61.7])
    white = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (blob(source, centre, 5.0) * white).astype(dtype)[..., None]
    resized = resize(image, target)
    assert resized.shape == (*target, 1) and resized.dtype == dtype
    moved = rescale(centre, ratio_of(source, target))
    heat = resized[..., 0] / white
    assert np.abs(centroid(np.where(heat > 0.02, heat, 0)) - moved).max() <= 0.02


def test_resizing_to_the_same_size_copies():
    image = noise(3)
    resized = resize(image, (HEIGHT, WIDTH))
    assert np.array_equal(resized, image) and resized is not image


def test_shrinking_does_not_alias():
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(resize(checks, (16, 16))[2:-2, 2:-2].astype(float) - 127.5).max() <= 3


def test_resizing_does_not_depend_on_the_number_of_threads():
    image = np.random.default_rng(0).random((301, 203, 3)).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(resize(image, (111, 157)))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*results)


RESULTS = {
    "predictions": ("about.json", "predictions.csv"),
    "unfinished predictions": ("overlays/", "predictions.csv"),
    "evaluation": ("metrics.json", "report.html"),
    "check": ("check.json", "check.html"),
    "audit": ("audit.json", "report.html"),
    "run": ("run.json", "checkpoints/"),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_what_placewise_wrote_is_no_input(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Drawings of predictions among the images are left out, unless their folder is named."""
    for path in ("a.png", "cat/b.png", "out/c.png", "out/overlays/d.png", "deep/out/e.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / path)
    for folder in ("out", "deep/out"):
        for name in RESULTS[kind]:
            path = tmp_path / folder / name
            path.mkdir(exist_ok=True) if name.endswith("/") else path.touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert found == ["a.png", "cat/b.png"]
    assert sorted(line.partition(" is a result")[0] for line in caplog.messages) == sorted(
        str(tmp_path / folder) for folder in ("out", "deep/out")
    )
    assert len(list_images(tmp_path / "out")) == 2
    (tmp_path / "out" / RESULTS[kind][-1]).rename(tmp_path / "out" / "mine")
    assert len(list_images(tmp_path)) == 4, "one name alone is the user's"


def test_pages_that_are_not_read_are_said_once_of_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pages = [Image.fromarray(np.full((4, 5), k, np.uint8)) for k in range(3)]
    for name in ("a.tif", "b.tif"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    pages[2].save(tmp_path / "one.tif")
    assert read_image(tmp_path / "one.tif").max() == 2 and not caplog.messages
    for name in ("a.tif", "b.tif"):
        assert read_image(tmp_path / name).max() == 0
    (said,) = caplog.messages
    assert "a.tif has 3 pages" in said and "first page" in said


def test_a_folder_of_other_files_is_said_to_be_one(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ImageError, match="it holds 2 files that end in npz"):
        list_images(tmp_path)


@given(st.lists(st.sampled_from(["a", "b", ".tif", ".png", ".PNG", ".1"]), min_size=1, max_size=4))
def test_what_is_drawn_of_two_images_has_two_names(parts: list[str]) -> None:
    """Also of `a.tif` and `a.tif.png`; and of most, the name that one expects."""
    name = "".join(parts) + ".png"
    others = {name.removesuffix(".png"), name + ".png", name.removesuffix(".png") + ".tif"}
    images = [one for one in (name, *sorted(others)) if is_image_name(one) and "." in one[1:]]
    assert len({name_beside(one) for one in images}) == len(images)
    assert name_beside("plate.7.png") == "plate.7.png" and name_beside("a.tif") == "a.tif.png"
