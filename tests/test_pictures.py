"""Pictures: what a file shows is what the array holds, or one of our errors."""

import hashlib
import io
import logging
import os
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from placewise.errors import PictureError
from placewise.geometry import ratio_of, rescale
from placewise.pictures import (
    as_float,
    is_grey,
    list_pictures,
    picture_size,
    read_picture,
    resize,
)

HEIGHT, WIDTH = 24, 40
SUFFIX = {"PNG": "png", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm", "WEBP": "webp", "GIF": "gif"}
SUFFIX |= {"JPEG": "jpg"}


def noise(channels, top=256, dtype=np.uint8, seed=0):
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def save(image, folder, container, **options):
    path = folder / f"picture.{SUFFIX[container]}"
    image.save(path, container, **options)
    return path


# --- modes: each maker gives a Pillow image and, by numpy alone, what must be read in 0..1 ---


def mode_1():
    bits = noise(1) > 127
    return Image.fromarray(bits), bits[..., None] * 1.0


def mode_l():
    grey = noise(1)
    return Image.fromarray(grey), grey[..., None] / 255


def over_white(colour, alpha):
    return (colour * alpha + 255.0 * (255 - alpha)) / 255 / 255


def mode_la():
    pixels = noise(2).astype(float)
    return Image.fromarray(noise(2), "LA"), over_white(pixels[..., :1], pixels[..., 1:])


def mode_rgb():
    return Image.fromarray(noise(3)), noise(3) / 255


def mode_rgba():
    pixels = noise(4).astype(float)
    return Image.fromarray(noise(4)), over_white(pixels[..., :3], pixels[..., 3:])


def palette(seed=1):
    return np.random.default_rng(seed).integers(0, 256, (16, 3)).astype(np.uint8)


def mode_p():
    index = noise(1, 16)
    image = Image.fromarray(index)
    image.putpalette(palette().tobytes())
    return image, palette()[index] / 255


def mode_p_transparent():
    image, colours = mode_p()
    image.info["transparency"] = 3
    return image, np.where((noise(1, 16) == 3)[..., None], 1.0, colours)


def mode_pa():
    index, alpha = noise(1, 16), noise(1, seed=2)
    image = Image.merge("PA", [Image.fromarray(index), Image.fromarray(alpha)])
    image.putpalette(palette().tobytes())
    return image, over_white(palette()[index].astype(float), alpha[..., None].astype(float))


def mode_cmyk():
    inks = noise(4).astype(float)
    return Image.fromarray(noise(4), "CMYK"), (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255**2


def mode_ycbcr():
    luma, blue, red = np.moveaxis(noise(3).astype(float), -1, 0)
    colour = (
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    )
    return Image.fromarray(noise(3), "YCbCr"), np.stack(colour, -1).clip(0, 255) / 255


def mode_lab():
    """CIE L*a*b* (D50) of colours that sRGB holds; formulas of CIE 15 and IEC 61966-2-1."""
    rgb = noise(3) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(  # sRGB primaries adapted to D50 by Bradford, white (0.9642, 1, 0.8249)
        [
            [0.4360747, 0.3850649, 0.1430804],
            [0.2225045, 0.7168786, 0.0606169],
            [0.0139322, 0.0971045, 0.7141733],
        ]
    )
    ratio = linear @ to_xyz.T / to_xyz.sum(1)
    root = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    lab = (
        116 * root[..., 1] - 16,
        500 * (root[..., 0] - root[..., 1]),
        200 * (root[..., 1] - root[..., 2]),
    )
    exact = np.stack(lab, -1)
    stored = np.stack(
        [np.rint(exact[..., 0] * 2.55), *np.rint(np.moveaxis(exact[..., 1:], -1, 0))], -1
    )
    image = Image.frombytes(
        "LAB", (WIDTH, HEIGHT), stored.astype(np.int64).astype(np.uint8).tobytes()
    )
    back = np.stack([stored[..., 0] / 2.55, stored[..., 1], stored[..., 2]], -1)
    middle = (back[..., 0] + 16) / 116
    roots = np.stack([middle + back[..., 1] / 500, middle, middle - back[..., 2] / 200], -1)
    ratio = np.where(roots > 6 / 29, roots**3, (116 * roots - 16) * 27 / 24389)
    linear = ((ratio * to_xyz.sum(1)) @ np.linalg.inv(to_xyz).T).clip(0, 1)
    return image, np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def mode_i16():
    deep = noise(1, 65536, np.uint16)
    return Image.fromarray(deep), deep[..., None] / 65535


def mode_i16b():
    deep = noise(1, 65536, np.uint16)
    image = Image.frombytes("I;16B", (WIDTH, HEIGHT), deep.astype(">u2").tobytes())
    return image, deep[..., None] / 65535


def mode_i():
    deep = noise(1, 65536, np.int32)
    return Image.fromarray(deep), deep[..., None] / 65535


def mode_f():
    share = np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32)
    return Image.fromarray(share), share[..., None].astype(float)


MODES = {
    mode_1: ("PNG", "TIFF", "BMP"),
    mode_l: ("PNG", "TIFF", "BMP"),
    mode_la: ("PNG", "TIFF"),
    mode_p: ("PNG", "TIFF", "GIF"),
    mode_p_transparent: ("PNG", "GIF"),
    mode_pa: ("TIFF",),
    mode_rgb: ("PNG", "TIFF", "WEBP"),
    mode_rgba: ("PNG", "TIFF", "WEBP"),
    mode_cmyk: ("TIFF",),
    mode_ycbcr: ("TIFF",),
    mode_lab: ("TIFF",),
    mode_i16: ("PNG", "TIFF", "PPM"),
    mode_i16b: ("PNG", "TIFF"),
    mode_i: ("TIFF", "PPM"),
    mode_f: ("TIFF", "PPM"),
}


@pytest.mark.parametrize(
    ("make", "container"),
    [(make, container) for make, held in MODES.items() for container in held],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_mode_in_every_container_that_holds_it(make, container, tmp_path):
    image, expected = make()
    options = {"lossless": True, "exact": True} if container == "WEBP" else {}
    path = save(image, tmp_path, container, **options)
    picture = read_picture(path)
    assert picture.shape == expected.shape
    assert picture.dtype == (np.uint16 if make.__name__[5] in "if" else np.uint8)
    assert picture_size(path) == picture.shape[:2]
    assert np.abs(as_float(picture) - expected).max() <= 1.0 / 255 + 1e-6


def test_inverted_cmyk_of_a_jpeg_is_read_the_right_way_round(tmp_path):
    inks = np.broadcast_to(np.array([200, 40, 10, 30], np.uint8), (HEIGHT, WIDTH, 4)).copy()
    path = save(Image.fromarray(inks, "CMYK"), tmp_path, "JPEG", quality=100)
    expected = (255.0 - inks[0, 0, :3]) * (255 - 30) / 255
    assert np.abs(read_picture(path) - expected).max() <= 2


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


@pytest.mark.parametrize("order", "<>")
def test_16_bit_ramp_keeps_its_levels_in_both_byte_orders(order, tmp_path):
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    path = tmp_path / "ramp.tif"
    path.write_bytes(tiff(ramp, order=order))
    assert np.array_equal(read_picture(path), ramp)
    assert len(np.unique(as_float(read_picture(path)))) == 4096
    png = tmp_path / "ramp.png"
    Image.fromarray(ramp[..., 0]).save(png)
    assert np.array_equal(read_picture(png), ramp)


def test_16_bit_where_white_is_zero_is_turned_round(tmp_path):
    ramp = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64, 1)
    path = tmp_path / "inverted.tif"
    path.write_bytes(tiff(ramp, photometric=0))
    assert np.array_equal(read_picture(path), 65535 - ramp)


def test_16_bit_colour_is_read_with_8_bits(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, 3)).astype(np.uint16)
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff(deep, photometric=2))
    assert read_picture(path).dtype == np.uint8
    assert np.abs(read_picture(path) / 255 - deep / 65535).max() <= 1 / 255


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
def test_scale_of_deeper_pictures(values, sample_format, expected, tmp_path):
    path = tmp_path / "deep.tif"
    path.write_bytes(tiff(values.reshape(1, 3, 1), sample_format=sample_format))
    assert read_picture(path).ravel().tolist() == expected


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "nan.tif"
    path.write_bytes(tiff(np.array([[[np.nan], [1.0]]], np.float32), sample_format=3))
    with pytest.raises(PictureError, match=r"nan\.tif.*not finite"):
        read_picture(path)


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
def test_a_dot_is_found_where_it_is_shown(orientation, container, tmp_path):
    x, y = 29.3, 6.8
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    shown = np.uint8(255 * np.exp(-((across - x) ** 2 + (down - y) ** 2) / 2 / 2.0**2) + 0.5)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"quality": 95} if container in ("JPEG", "WEBP") else {}
    image = Image.fromarray(np.repeat(stored(shown, orientation)[..., None], 3, -1))
    path = save(image, tmp_path, container, exif=exif, **options)
    picture = as_float(read_picture(path))[..., 0].astype(float)
    assert picture.shape == picture_size(path) == (HEIGHT, WIDTH)
    heat = np.where(picture > 0.1, picture, 0)
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
    assert picture_size(path) == (WIDTH, HEIGHT)
    assert np.array_equal(read_picture(path)[..., 0], np.rot90(noise(1), -1))
    unreadable = body.replace(b"IDAT", b"IDAT" + bytes(8), 1)  # the size needs no whole pixels
    path.write_bytes(unreadable + end)
    assert picture_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_means_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[274] = orientation
    path = save(Image.fromarray(noise(1)), tmp_path, "PNG", exif=exif)
    assert np.array_equal(read_picture(path)[..., 0], noise(1))


# --- what is refused ---


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


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
        for act in (picture_size, read_picture):
            with pytest.raises(PictureError, match=r"bomb.*pixels; needed at most 100,000,000"):
                act(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("container", SUFFIX)
def test_the_limit_holds_to_the_pixel(container, tmp_path):
    path = save(Image.fromarray(noise(3)), tmp_path, container)
    assert read_picture(path, limit=HEIGHT * WIDTH).shape[:2] == (HEIGHT, WIDTH)
    for act in (picture_size, read_picture):
        with pytest.raises(PictureError, match=f"needed at most {HEIGHT * WIDTH - 1}"):
            act(path, limit=HEIGHT * WIDTH - 1)


def test_pillow_s_own_limit_stays_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save(Image.fromarray(noise(3)), tmp_path, "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(read_picture(path), noise(3))
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    "content", [b"", b"P", b"not a picture", b"\x00\x00\x01\x00", b"%!PS-Adobe", b"8BPS", b"RIFF"]
)
def test_what_is_no_picture_is_refused(content, tmp_path):
    path = tmp_path / "strange.png"
    path.write_bytes(content)
    for act in (picture_size, read_picture):
        with pytest.raises(PictureError, match=r"strange\.png"):
            act(path)


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "missing.png", tmp_path / "pipe.png"):
        with pytest.raises(PictureError, match="no such file"):
            read_picture(path)


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


def survives(path, content, kind):
    """A changed file is read as a picture, or refused with our error; a PNG is never read wrong."""
    path.write_bytes(content)
    try:
        picture = read_picture(path, limit=1_000_000)
    except PictureError as error:
        assert str(path) in str(error)
        return False
    assert picture.ndim == 3 and picture.shape[2] in (1, 3) and picture.size
    assert picture.dtype in (np.uint8, np.uint16)
    assert picture_size(path) == picture.shape[:2]
    if kind.startswith("PNG"):
        assert content == FILES[kind]
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


edits = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=6)


def mutate(kind, changes, cut, path):
    content = bytearray(FILES[kind])
    for position, value in changes:
        content[position % len(content)] = value
    survives(path, bytes(content[: len(content) - cut % len(content)]), kind)


@given(st.sampled_from(sorted(FILES)), edits, st.just(0) | st.integers(0, 2**20))
@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_mutated_files_read_or_give_our_error(tmp_path, kind, changes, cut):
    mutate(kind, changes, cut, tmp_path / "mutated")


@pytest.mark.slow
@given(st.sampled_from(sorted(FILES)), edits, st.just(0) | st.integers(0, 2**20))
@settings(
    max_examples=5000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_thousands_of_mutated_files_read_or_give_our_error(tmp_path, kind, changes, cut):
    mutate(kind, changes, cut, tmp_path / "mutated")


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
    paths = list_pictures(tmp_path)
    assert len(paths) == len(FILES)
    for path in paths:
        read_picture(path)
        picture_size(path)
    assert digest(tmp_path) == before


def test_pictures_are_listed_in_natural_order(tmp_path):
    names = ["a1.png", "a2.JPG", "a10.tif", "b/01.png", "b/1.png", "b/2.png", "c.webp"]
    for name in [*names, "notes.txt", ".hidden.png", "._a1.png", ".cache/x.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_pictures(tmp_path)]
    assert found == names
    assert list_pictures(tmp_path / "a1.png") == [tmp_path / "a1.png"]


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
        found = list_pictures(folder)
    assert [path.name for path in found] == ["inner.png", "own.png"]
    reported = {record.args[0].name for record in caplog.records}
    assert reported == {"link.png", "linked", "loop"}


def test_a_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(PictureError, match="no picture in it"):
        list_pictures(tmp_path)
    with pytest.raises(PictureError, match="no such file or folder"):
        list_pictures(tmp_path / "missing")


# --- arrays ---


def test_grey_is_seen_whatever_the_channels():
    assert is_grey(noise(1)[..., None])
    assert is_grey(np.repeat(noise(1)[..., None], 3, -1))
    assert not is_grey(noise(3))


def test_floats_span_0_to_1():
    for dtype in (np.uint8, np.uint16):
        ends = as_float(np.array([[[0], [np.iinfo(dtype).max]]], dtype))
        assert ends.dtype == np.float32 and ends.ravel().tolist() == [0, 1]
    with pytest.raises(PictureError, match="float64"):
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
    picture = (blob(source, centre, 5.0) * white).astype(dtype)[..., None]
    resized = resize(picture, target)
    assert resized.shape == (*target, 1) and resized.dtype == dtype
    moved = rescale(centre, ratio_of(source, target))
    heat = resized[..., 0] / white
    assert np.abs(centroid(np.where(heat > 0.02, heat, 0)) - moved).max() <= 0.02


def test_resizing_to_the_same_size_copies():
    picture = noise(3)
    resized = resize(picture, (HEIGHT, WIDTH))
    assert np.array_equal(resized, picture) and resized is not picture


def test_shrinking_does_not_alias():
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    assert np.abs(resize(checks, (16, 16))[2:-2, 2:-2].astype(float) - 127.5).max() <= 3


def test_resizing_does_not_depend_on_the_number_of_threads():
    picture = np.random.default_rng(0).random((301, 203, 3)).astype(np.float32)
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(resize(picture, (111, 157)))
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(*results)
