"""Images: files to arrays, and nothing is ever written.

An image is an array (height, width, channels) with 1 channel (grey) or 3 (RGB), uint8, or uint16
where the file is deeper, turned the way it is shown (EXIF orientation applied). What a file holds
is found from its first bytes, whatever its name; the size is judged from its header, before any
memory is taken. What Pillow does not do by itself, and what is chosen here, is in
docs/images.md.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from placewise.errors import ImageError
from placewise.resizing import resized_part
from placewise.wording import natural

ImageArray = NDArray[Any]
"""(height, width, channels), 1 or 3 channels; uint8, uint16, or float32 in 0..1."""

PIXEL_LIMIT = 100_000_000
"""Most pixels of an image that is opened unless told otherwise."""

LARGE = 1 << 22
"""Pixels of an image above which `resize` works part by part, by `resizing.resized_part`."""

_NAMED = "png jpg jpeg jpe jfif tif tiff bmp webp gif ppm pgm pbm pnm pfm"
"""Endings of names that `list_images` takes for images in a folder."""

_SYSTEM = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders that archives, network drives and systems add: copies, thumbnails, what was deleted."""

_RESULTS = (
    {"about.json", "predictions.csv"},
    {"overlays", "predictions.csv"},
    {"metrics.json", "report.html"},
    {"check.json", "check.html"},
    {"audit.json", "report.html"},
    {"run.json", "checkpoints"},
)
"""What is in a folder that placewise wrote, and in no folder of images."""

# The readers are called directly: `PIL.Image.open` would add its own judgement of the size, which
# depends on a global number and is partly a warning, and it may map the file into memory.
_READERS: dict[bytes, type[ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    b"BM": BmpImagePlugin.BmpImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
    **dict.fromkeys((b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    **dict.fromkeys((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"Pf"), PpmImagePlugin.PpmImageFile),
}
_KINDS = "PNG, JPEG, TIFF, BMP, WebP, GIF or PPM"
_ORIENTATION, _WIDTH, _HEIGHT, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 256, 257, 262, 339
_log = logging.getLogger(__name__)

_SAID: set[Path] = set()
"""Folders of which it was said that pages of their files are not read."""

# Pillow warns of damaged metadata that it skips. Where nobody has an opinion on such warnings they
# stay quiet; where they are errors, the image is refused like any damaged one.
warnings.filterwarnings("ignore", module=r"PIL\.", append=True)


def image_size(
    path: Path | str, limit: int = PIXEL_LIMIT, *, data: bytes | None = None
) -> tuple[int, int]:
    """Size of an image as it is shown, from its header alone.

    Args:
        path: the file.
        limit: most pixels that it may have.
        data: its bytes, where they are part of another file; `path` is then what it is called.

    Returns:
        (height, width) in pixels, EXIF orientation applied.

    Raises:
        ImageError: the file is not an image we read, is damaged, or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "grey.pgm")
        ...     _ = path.write_bytes(b"P5 3 2 255 abcdef")
        ...     image_size(path)
        (2, 3)
    """
    with _opened(Path(path), limit, data=data) as image:
        width, height = _stored_size(image)
        return (width, height) if _orientation(image) >= 5 else (height, width)


@dataclass(frozen=True)
class ImageKind:
    """What the header of an image says.

    Attributes:
        format: of the file, e.g. "PNG".
        size: (height, width) of the pixels as they are stored.
        orientation: EXIF orientation, 1 to 8; 1 is upright.
    """

    format: str
    size: tuple[int, int]
    orientation: int


def image_kind(path: Path | str, limit: int = PIXEL_LIMIT) -> ImageKind:
    """What the header of an image says, before anything else is read.

    Args:
        path: the file.
        limit: most pixels that it may have.

    Raises:
        ImageError: the file is not an image we read, is damaged, or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "grey.pgm")
        ...     _ = path.write_bytes(b"P5 3 2 255 abcdef")
        ...     image_kind(path)
        ImageKind(format='PPM', size=(2, 3), orientation=1)
    """
    with _opened(Path(path), limit) as image:
        width, height = _stored_size(image)
        return ImageKind(str(image.format), (height, width), _orientation(image))


def read_image(path: Path, *, limit: int = PIXEL_LIMIT, data: bytes | None = None) -> ImageArray:
    """Read an image the way it is shown.

    Alpha is laid over white. Of an animation the first frame is read. 16-bit grey stays 16-bit;
    32-bit and float images become 16-bit (see docs/images.md for the scale); 16-bit *colour*
    becomes 8-bit, as Pillow has no deeper colour.

    Args:
        path: the file.
        limit: most pixels that it may have.
        data: its bytes, where they are part of another file; `path` is then what it is called.

    Returns:
        (height, width, channels) uint8 or uint16; 1 channel for grey, 3 for everything else.

    Raises:
        ImageError: the file is not an image we read, is damaged, or is too large.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "grey.pgm")
        ...     _ = path.write_bytes(b"P5 3 2 255 abcdef")
        ...     read_image(path)[..., 0].tolist()
        [[97, 98, 99], [100, 101, 102]]
    """
    path = Path(path)
    with _opened(path, limit, verify=True, data=data) as image:
        # The TIFF reader turns the image itself while it loads.
        orientation = 1 if isinstance(image, TiffImagePlugin.TiffImageFile) else _orientation(image)
        _say_pages(image, path)
        image.load()
        pixels = _deep(image, path) if image.mode[0] in "IF" else _shallow(image)
        return _turned(pixels.reshape(*pixels.shape[:2], -1), orientation)


def _say_pages(image: ImageFile.ImageFile, path: Path) -> None:
    """Say once of a folder that pages are left out."""
    pages = image.n_frames if isinstance(image, TiffImagePlugin.TiffImageFile) else 1
    if pages > 1 and path.parent not in _SAID:
        _SAID.add(path.parent)
        _log.warning(
            "%s has %d pages and names no axis Z, so its first page alone is read; a volume must "
            "name its axes, e.g. as ImageJ and OME write them",
            path,
            pages,
        )


def is_grey(image: ImageArray) -> bool:
    """Whether all channels of an image are the same.

    Example:
        >>> is_grey(np.zeros((2, 2, 3), np.uint8))
        True
    """
    return bool((image[..., 1:] == image[..., :1]).all())


def as_float(image: ImageArray) -> NDArray[np.float32]:
    """Pixels as float32 in 0..1; a float32 image is returned as it is.

    Example:
        >>> as_float(np.array([[[0], [51], [255]]], np.uint8)).ravel().tolist()
        [0.0, 0.20000000298023224, 1.0]
    """
    if image.dtype == np.float32:
        return image
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError(
            f"an image of {image.dtype}; needed uint8, uint16 or float32; convert it first"
        )
    white = np.float32(np.iinfo(image.dtype).max)
    return np.divide(image, white, dtype=np.float32)


def resize(image: ImageArray, size: Sequence[int]) -> ImageArray:
    """Resize with a triangle filter that widens with the shrinking, so nothing aliases.

    A pixel p of an axis goes to (p + ½) · ratio − ½, as `geometry.rescale` moves points.

    Args:
        image: (*size, channels) uint8, uint16 or float32, of 1, 2 or 3 axes.
        size: of the result in pixels.

    Returns:
        The image at this size, of the same dtype.

    Example:
        >>> resize(np.array([[[0], [100], [20], [40]]], np.uint8), (1, 2)).shape
        (1, 2, 1)
    """
    if image.shape[:-1] == tuple(size):
        return image.copy()
    if len(size) == 2 and image.shape[0] * image.shape[1] > LARGE:
        whole = tuple(slice(0, side) for side in size)
        return resized_part(
            lambda rows, columns: image[rows, columns], image.shape[:2], size, whole
        )
    planes = torch.from_numpy(image.astype(np.float32)).movedim(-1, 0)[None]
    if len(size) == 2:
        planes = _triangle(planes, size)
    elif len(size) == 1:
        planes = _triangle(planes[:, :, None], (1, *size))[:, :, 0]
    else:  # the filter is a product of one for each axis
        channels, depth = planes.shape[1:3]
        planes = _triangle(planes[0], size[1:]).view(1, channels, depth, -1)
        planes = _triangle(planes, (size[0], planes.shape[-1])).view(1, channels, *size)
    resized = planes[0].movedim(0, -1).contiguous().numpy()
    return resized if image.dtype == np.float32 else np.rint(resized).astype(image.dtype)


def _triangle(planes: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        planes, size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )


def list_images(
    where: Path | str, endings: Sequence[str] | None = None, what: str = "image"
) -> list[Path]:
    """Images of a folder and its subfolders, in natural order (2 before 10); or the one file.

    Hidden files are left out, and so are subfolders that placewise wrote (predictions with their
    overlays, scores, runs) and what a symbolic link brings in from elsewhere: a link to a folder,
    or to a file that does not lie under `where`. The last two are reported to the log.

    Args:
        where: a folder, or one file, which is taken as it is.
        endings: of the names of other files that are meant, in small letters, with their dots.
        what: such a file is called in messages.

    Raises:
        ImageError: there is no such file or folder, or no image in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("a10.png", "a2.png", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [path.name for path in list_images(Path(folder))]
        ['a2.png', 'a10.png']
    """
    where = Path(where)
    if where.is_file():
        return [where]
    if not where.is_dir():
        raise ImageError(f"{where}: there is no such file or folder; check the path")
    ends = tuple(f".{end}" for end in _NAMED.split()) if endings is None else tuple(endings)
    files = (path for path in _walk(where) if path.name.lower().endswith(ends))
    found = [path for path in files if path.is_file()]
    if not found:
        named = " ".join(end[1:] for end in ends)
        raise ImageError(
            f"{where}: no {what} in it; needed at least one file that ends in {named}; "
            f"{_others(where)}"
        )
    return sorted(found, key=lambda path: natural(path.relative_to(where).as_posix()))


def _others(where: Path) -> str:
    """What to do about a folder without images, by the files that most of it is."""
    endings = Counter(path.suffix[1:].lower() for path in _walk(where) if path.suffix)
    if not endings:
        return "check the folder"
    ((end, count),) = endings.most_common(1)
    most = "a file that ends" if count == 1 else f"{count:,} files that end"
    return f"it holds {most} in {end}: check that it is the folder that you mean"


def is_image_name(name: str) -> bool:
    """Whether a file's name ends like that of an image.

    Example:
        >>> is_image_name("a.PNG"), is_image_name("a.csv")
        (True, False)
    """
    return name.rpartition(".")[2].lower() in _NAMED.split()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, or kept by a system for itself.

    Example:
        >>> is_hidden("._a.png"), is_hidden("__MACOSX"), is_hidden("@eaDir"), is_hidden("a.png")
        (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in _SYSTEM


def is_result(folder: Path) -> bool:
    """Whether placewise wrote a folder, so that its images are drawings and no input."""
    return any(all((folder / name).exists() for name in names) for names in _RESULTS)


def _walk(folder: Path) -> Iterator[Path]:
    """Files under a folder that no symbolic link brings in from elsewhere."""
    root = folder.resolve()
    for here, folders, files in os.walk(folder):
        linked = [name for name in folders if Path(here, name).is_symlink()]
        results = [name for name in folders if is_result(Path(here, name))]
        for name in results:
            _log.warning("%s is a result of placewise and is left out", Path(here, name))
        left_out = {*linked, *results}
        folders[:] = [name for name in folders if name not in left_out and not is_hidden(name)]
        for name in files:
            path = Path(here, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                linked.append(name)
            elif not is_hidden(name):
                yield path
        for name in linked:
            _log.warning("%s is a link out of %s and is left out", Path(here, name), folder)


@contextmanager
def _opened(
    path: Path, limit: int, *, verify: bool = False, data: bytes | None = None
) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read; whatever goes wrong inside becomes a ImageError."""
    if data is None and not path.is_file():
        raise ImageError(f"{path}: there is no such file; needed an image; check the path")
    try:
        with path.open("rb") if data is None else BytesIO(data) as file:
            image = _header(file, path, limit)
            if verify and image.format == "PNG":
                image.verify()  # decoding alone does not look at the checksums
                image = _header(file, path, limit)
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"{path}: cannot be read ({reason}); needed a whole {_KINDS} file; "
            "open it in an image viewer, then save it again or take it out"
        ) from error


def _header(file: BinaryIO, path: Path, limit: int) -> ImageFile.ImageFile:
    """Read the header of a file, and refuse what is not an image or is too large."""
    file.seek(0)
    head = file.read(30)
    reader = next((_READERS[magic] for magic in _READERS if head.startswith(magic)), None)
    if reader is None:
        raise ImageError(
            f"{path}: begins with {head[:8]!r}, which is no image that placewise reads; "
            f"needed {_KINDS}; convert it"
        )
    if reader is WebPImagePlugin.WebPImageFile:  # takes memory for the canvas while it opens
        _check_size(_webp_size(head), path, limit)
    file.seek(0)
    image = reader(file)
    _check_size(image.size, path, limit)
    return image


def _check_size(size: tuple[int, int], path: Path, limit: int) -> None:
    """Refuse an image of more pixels than the limit; size is (width, height)."""
    width, height = size
    if width * height > limit:
        raise ImageError(
            f"{path}: {width} × {height} = {width * height:,} pixels; needed at most {limit:,}; "
            "cut it into tiles or shrink it, or raise the limit if you trust the file"
        )


def _webp_size(head: bytes) -> tuple[int, int]:
    """(width, height) of the canvas; https://developers.google.com/speed/webp/docs/riff_container.

    A lossy frame has 14 bits each from byte 26, a lossless one 14 + 14 bits from byte 21, an
    extended file 24 bits each from byte 24; the last two hold one less than the size.
    """
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    bits = int.from_bytes(head[26:30], "little")
    return bits & 0x3FFF, bits >> 16 & 0x3FFF


def _stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """(width, height) before the orientation is applied; the TIFF reader has applied it already."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
    return image.size


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1 to 8; anything else means upright."""
    if isinstance(image, PngImagePlugin.PngImageFile) and (exif := _png_exif(image)):
        image.info["exif"] = exif
    # The base class, as the PNG reader's own method decodes the pixels to look behind them.
    orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _png_exif(image: ImageFile.ImageFile) -> bytes:
    """The EXIF block of a PNG, before or behind its pixels (PNG 3, 11.3.3.2); b"" if none."""
    file = image.fp
    if file is None:
        return b""
    here = file.tell()
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"eXIf":
            break
        file.seek(length + 4, os.SEEK_CUR)
    exif = file.read(length) if len(head) == 8 else b""
    file.seek(here)
    return b"Exif\0\0" + exif if exif else b""


def _turned(pixels: ImageArray, orientation: int) -> ImageArray:
    """Turn stored rows and columns the way they are shown (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _shallow(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """Pixels of an image with at most 8 bits for each channel, alpha over white."""
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode == "LAB":
        return _from_lab(image)
    if not image.has_transparency_data:
        return np.asarray(image.convert("L" if grey else "RGB"))
    pixels = np.asarray(image.convert("LA" if grey else "RGBA")).astype(np.uint16)
    alpha = pixels[..., -1:]
    return ((pixels[..., :-1] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _from_lab(image: ImageFile.ImageFile) -> NDArray[np.uint8]:
    """CIE L*a*b* to sRGB; without the shortcut that Pillow takes, which is off by up to 25/255."""
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    return np.asarray(transform.apply(image))


def _deep(image: ImageFile.ImageFile, path: Path) -> NDArray[np.uint16]:
    """Pixels of a grey image with more than 8 bits."""
    pixels = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if not image.mode.startswith("I;16"):
        unsigned = image.mode == "I" and tags.get(_SAMPLE_FORMAT) == (1,)
        tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
        return _to_16_bit(pixels.view(np.uint32) if unsigned else pixels, tops, path)
    pixels = pixels.astype(np.uint16)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        pixels = 65535 - pixels
    if isinstance(clear := image.info.get("transparency"), int):
        pixels[pixels == clear] = 65535
    return pixels


def _to_16_bit(values: NDArray[Any], tops: tuple[float, ...], path: Path) -> NDArray[np.uint16]:
    """Scale to 0..65535 from 0..top, for the first top that holds all, else from their range."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ImageError(
            f"{path}: holds pixels that are not finite numbers; needed numbers; replace them"
        )
    base, top = next(((0.0, top) for top in tops if low >= 0 and high <= top), (low, high))
    scaled = (values.astype(np.float64) - base) * (65535.0 / (top - base or 1.0))
    return np.rint(scaled).astype(np.uint16)


def read_values(path: Path, *, limit: int = PIXEL_LIMIT) -> NDArray[np.int32]:
    """Values of an image whose pixels are numbers of something, e.g. of classes, not colours.

    A 1-bit image gives 0 and 1, a colour table its indices (its greys where the whole table is
    grey), a grey image its values, and a coloured one red·2¹⁶ + green·2⁸ + blue. What is fully
    transparent is 0. Nothing is scaled, and orientation is applied as in `read_image`.

    Args:
        path: the file.
        limit: most pixels that it may have.

    Returns:
        (height, width) int32.

    Raises:
        ImageError: the file cannot be read, is a JPEG, or holds values that are not whole numbers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "mask.pgm")
        ...     _ = path.write_bytes(b"P5 3 1 255 " + bytes([0, 1, 255]))
        ...     read_values(path).tolist()
        [[0, 1, 255]]
    """
    path = Path(path)
    with _opened(path, limit, verify=True) as image:
        _say_pages(image, path)
        if image.format in ("JPEG", "MPO"):
            raise ImageError(
                f"{path}: is a JPEG, which changes values near every edge; a mask needs its exact "
                "values; save it as PNG, from the original and not from the JPEG"
            )
        orientation = 1 if isinstance(image, TiffImagePlugin.TiffImageFile) else _orientation(image)
        image.load()
        values = _numbers(image, path)
        return np.ascontiguousarray(_turned(values[..., None], orientation)[..., 0])


def _numbers(image: ImageFile.ImageFile, path: Path) -> NDArray[np.int32]:
    """(height, width) values of an image that is loaded."""
    if image.mode == "1":
        return (np.asarray(image) > 0).astype(np.int32)
    if image.mode == "P":
        table = np.array(image.getpalette("RGB"), np.int32).reshape(-1, 3)
        indices = np.asarray(image).astype(np.int32)
        grey = is_grey(table[None]) and indices.max() < len(table)
        return np.asarray(table[indices, 0]) if grey else indices
    if image.mode[0] in "IF":
        return _whole(np.asarray(image), path)
    if image.mode in ("L", "LA", "La"):
        planes = np.asarray(image.convert("LA")).astype(np.int32)
        return np.asarray(np.where(planes[..., 1] > 0, planes[..., 0], 0))
    planes = np.asarray(image.convert("RGBA")).astype(np.int32)
    red, green, blue, alpha = np.moveaxis(planes, -1, 0)
    grey = bool(((red == green) & (red == blue)).all())
    colours = red if grey else (red << 16) + (green << 8) + blue
    return np.asarray(np.where(alpha > 0, colours, 0))


def _whole(values: NDArray[Any], path: Path) -> NDArray[np.int32]:
    """Values that are whole numbers of at most 31 bits, as int32."""
    numbers = np.nan_to_num(values.astype(np.float64), nan=0.5)
    if (numbers != np.rint(numbers)).any() or numbers.min() < -1 or numbers.max() >= 2**31:
        raise ImageError(
            f"{path}: holds values from {values.min()} to {values.max()} that are not whole "
            "numbers from 0 on; a mask needs the numbers of classes or objects; save it with them"
        )
    return numbers.astype(np.int32)
