"""Every mode in every container that holds it, against numpy.

Each maker gives a Pillow image and, by numpy alone, what must be read in 0..1.
"""

import numpy as np
import pytest
from PIL import Image

from placewise.images import as_float, image_size, read_image
from test_images import HEIGHT, WIDTH, noise, save


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
    pixels = read_image(path)
    assert pixels.shape == expected.shape
    assert pixels.dtype == (np.uint16 if make.__name__[5] in "if" else np.uint8)
    assert image_size(path) == pixels.shape[:2]
    assert np.abs(as_float(pixels) - expected).max() <= 1.0 / 255 + 1e-6
