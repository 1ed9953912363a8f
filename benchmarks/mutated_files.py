"""Good files of every format that is read, and ways to damage them; see mutations.py."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from placewise.formats import FORMATS, write_dataset
from placewise.labels import KeypointDataset, KeypointSample, PoseDataset

IMAGE_NAMES = ("a.png", "b.png")
SIZE = (24, 30)


@dataclass(frozen=True)
class Seed:
    """A good file, or several that are read together.

    Attributes:
        name: of the trial.
        folder: that is copied for each trial.
        targets: files of which one is damaged.
        entry: what is read, relative to the folder.
        mode: "labels", or "file" for images, signals, volumes and frames.
        splits: a table of splits to read with the labels.
    """

    name: str
    folder: Path
    targets: tuple[str, ...]
    entry: str
    mode: str = "labels"
    splits: str = ""

    @property
    def kind(self) -> str:
        """The format."""
        return self.name.partition("/")[0]


# --- damage ---------------------------------------------------------------------------------------

NUMBERS = (0, 1, 2, 255, 256, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (
    "-1 0 1e999 -1e999 nan inf 99999999999999999999 1e300 0x10 1,5 ../x /etc/passwd \x00 é "
    'null true "" [] {} [[]] \ufeff \ud7ff ' + "9" * 5000
).split(" ")


def damaged(data: bytes, name: str, rng: Random) -> tuple[bytes, str]:
    """Bytes with one kind of damage, and what it is called."""
    able = [*DAMAGE, *(BELOW[end] for end in BELOW if name.endswith(end) for _ in range(5))]
    if is_text(data):
        able += [words, lines, deep, words, lines]
    how = rng.choice(able)
    return how(data, rng), how.__name__


def is_text(data: bytes) -> bool:
    return b"\0" not in data[:1000] and sum(b < 128 for b in data[:1000]) > 0.9 * len(data[:1000])


def place(data: bytes, rng: Random) -> int:
    """A place in a file, often near its beginning or its end, where headers are."""
    size = max(1, len(data))
    return rng.choice([rng.randrange(size), rng.randrange(min(size, 200)), rng.randrange(size)])


def part(data: bytes, rng: Random) -> tuple[int, int]:
    start = place(data, rng)
    return start, min(len(data), start + rng.choice([1, 4, 16, 100, 1000, len(data) // 3]))


def flip(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64]) if data else 0):
        out[place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(out)


def overwrite(data: bytes, rng: Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 32]) if data else 0):
        out[place(data, rng)] = rng.choice([0, 1, 10, 32, 127, 128, 254, 255, rng.randrange(256)])
    return bytes(out)


def number(data: bytes, rng: Random) -> bytes:
    """Another number of 1, 2, 4 or 8 bytes at a place of a header."""
    size, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
    value = rng.choice([*NUMBERS, 2**63 - 1, 2**64 - 1]) % (1 << 8 * size)
    start = place(data, rng) // size * size
    return data[:start] + value.to_bytes(size, order) + data[start + size :]


def truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.choice([0, 1, 8, 100, place(data, rng), len(data) - 1, len(data) // 2])]


def behead(data: bytes, rng: Random) -> bytes:
    return data[rng.choice([1, 4, 16, place(data, rng)]) :]


def delete(data: bytes, rng: Random) -> bytes:
    start, stop = part(data, rng)
    return data[:start] + data[stop:]


def repeat(data: bytes, rng: Random) -> bytes:
    start, stop = part(data, rng)
    return data[:stop] + data[start:stop] * rng.choice([1, 1, 2, 50]) + data[stop:]


def swap(data: bytes, rng: Random) -> bytes:
    one, other = sorted([part(data, rng), part(data, rng)])
    if one[1] > other[0]:
        return flip(data, rng)
    first, second = data[slice(*one)], data[slice(*other)]
    return data[: one[0]] + second + data[one[1] : other[0]] + first + data[other[1] :]


def insert(data: bytes, rng: Random) -> bytes:
    start = place(data, rng)
    more = rng.randbytes(rng.choice([1, 2, 7, 64]))
    return data[:start] + rng.choice([more, bytes(len(more)), b"\xff" * len(more)]) + data[start:]


def noise(data: bytes, rng: Random) -> bytes:
    start, stop = part(data, rng)
    return data[:start] + rng.randbytes(stop - start) + data[stop:]


def more(data: bytes, rng: Random) -> bytes:
    return data + rng.choice([data, b"\0" * 1000, b"\n" * 1000, rng.randbytes(100), b"[" * 2000])


DAMAGE: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(flip, overwrite, number, number, truncate, behead),
    *(delete, repeat, swap, insert, noise, more),
)


def words(data: bytes, rng: Random) -> bytes:
    """Another word or number."""
    found = list(re.finditer(rb"[-\w.]+", data))
    if not found:
        return data
    match = rng.choice(found)
    word = rng.choice([*WORDS, rng.choice(found)[0].decode(errors="replace")])
    return data[: match.start()] + word.encode() + data[match.end() :]


def lines(data: bytes, rng: Random) -> bytes:
    """Lines gone, twice, in another order, or with another separator or end."""
    rows = data.splitlines(keepends=True) or [b""]
    i, j = rng.randrange(len(rows)), rng.randrange(len(rows))
    how = rng.randrange(6)
    if how == 0:
        del rows[i]
    elif how == 1:
        rows.insert(j, rows[i] * rng.choice([1, 2, 5000]))
    elif how == 2:
        rows[i], rows[j] = rows[j], rows[i]
    elif how == 3:
        rows[i] = rows[i].translate(
            bytes.maketrans(b",;\t", rng.choice([b";\t,", b"\t,;", b"   "]))
        )
    elif how == 4:
        return data.replace(b"\n", rng.choice([b"", b"\r", b"\r\n", b"\n\n", b"\0\n"]))
    else:
        return data.decode(errors="replace").encode(rng.choice(["utf-16", "utf-16-be", "utf-32"]))
    return b"".join(rows)


def deep(data: bytes, rng: Random) -> bytes:
    """Brackets, quotation marks or elements, very many of them."""
    start, count = place(data, rng), rng.choice([1, 100, 100_000])
    mark = rng.choice(
        [b"[", b"{", b'{"a":', b'"', b"<a>", b"]", b"- ", b"&a", b"*a ", b"!!python "]
    )
    return data[:start] + mark * count + data[start:]


def in_zip(data: bytes, rng: Random) -> bytes:
    """A member damaged and packed again, or a field of a header of the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            members = [(info.filename, packed.read(info)) for info in packed.infolist()]
    except Exception:
        return flip(data, rng)
    if not members or rng.random() < 0.5:
        return zip_header(data, rng)
    index, out = rng.randrange(len(members)), io.BytesIO()
    name, content = members[index]
    members[index] = name, rng.choice([*DAMAGE, number, number])(content, rng)
    kind = rng.choice(
        [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    )
    with zipfile.ZipFile(out, "w", kind) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return out.getvalue()


def zip_header(data: bytes, rng: Random) -> bytes:
    """Version, flags, compression, sizes, lengths or offset of a member."""
    mark, fields = rng.choice([(b"PK\x03\x04", range(4, 30, 2)), (b"PK\x01\x02", range(4, 46, 2))])
    starts = [match.start() for match in re.finditer(re.escape(mark), data)]
    if not starts:
        return flip(data, rng)
    out, at = bytearray(data), rng.choice(starts) + rng.choice(fields)
    out[at : at + 2] = rng.choice([0, 1, 8, 9, 12, 14, 20, 93, 99, 255, 65535]).to_bytes(
        2, "little"
    )
    return bytes(out)


def in_gzip(data: bytes, rng: Random) -> bytes:
    """What is packed damaged, and packed again."""
    try:
        content = gzip.decompress(data)
    except Exception:
        return flip(data, rng)
    return gzip.compress(rng.choice([*DAMAGE, number, number])(content, rng), mtime=0)


def in_png(data: bytes, rng: Random) -> bytes:
    """A chunk damaged, with its checksum put right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return flip(data, rng)
    index = rng.randrange(len(chunks))
    name, content = chunks[index]
    if name == b"IDAT" and rng.random() < 0.5:
        try:
            content = zlib.compress(rng.choice(DAMAGE)(zlib.decompress(content), rng))
        except zlib.error:
            content = flip(content, rng)
    else:
        content = rng.choice([*DAMAGE, number, number])(content, rng)
    chunks[index] = name, content
    out = data[:8]
    for name, content in chunks:
        out += struct.pack(">I", len(content)) + name + content
        out += struct.pack(">I", zlib.crc32(name + content))
    return out


BELOW = {".npz": in_zip, ".zip": in_zip, ".gz": in_gzip, ".png": in_png}


# --- good files -----------------------------------------------------------------------------------


def made(folder: Path) -> list[Seed]:
    """A good file of every kind, made anew."""
    seeds: list[Seed] = []
    for maker in (_keypoints, _texts, _classes, _masks, _images, _signals, _hdf5, _videos):
        home = folder / maker.__name__[1:]
        home.mkdir(parents=True)
        seeds += maker(home)
    return seeds


def _pixels(number: int = 0) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), np.uint8)


def _folder(home: Path, name: str) -> Path:
    folder = home / name
    folder.mkdir()
    for number, image in enumerate(IMAGE_NAMES):
        Image.fromarray(_pixels(number)).save(folder / image)
    return folder


def _points(folder: Path, instances: int) -> KeypointDataset:
    rng = np.random.default_rng(1)
    samples = tuple(
        KeypointSample(
            image,
            SIZE,
            rng.uniform(2, 22, (instances, 3, 2)).round(1),
            np.full((instances, 3), 3, np.int8),
            tracks=np.arange(instances) if instances > 1 else None,
        )
        for image in IMAGE_NAMES
    )
    kind = PoseDataset if instances > 1 else KeypointDataset
    return kind(folder, ("nose", "left_ear", "right_ear"), samples)


FILES = {
    "coco": "labels.json",
    "cvat": "annotations.xml",
    "deeplabcut": "CollectedData_me.csv",
    "deeplabcut_h5": "CollectedData_me.h5",
    "label_studio": "project.json",
    "nwb": "labels.nwb",
    "napari": "points.csv",
    "slp": "labels.slp",
    "tps": "landmarks.tps",
    "long_csv": "points.csv",
    "wide_csv": "points.csv",
}
"""What a file of each format is called; the others are folders."""

H5 = ("deeplabcut_h5", "nwb", "slp")


def _has(*modules: str) -> bool:
    from importlib.util import find_spec

    return all(find_spec(one) for one in modules)


def _keypoints(home: Path) -> Iterator[Seed]:
    """Every format of keypoints that is written."""
    for name in FORMATS.names():
        member = FORMATS[name]
        if not hasattr(member, "content") or "keypoints" not in member.tasks:
            continue
        if name in H5 and not _has("h5py"):
            continue
        for instances in (1, 2) if name not in ("wide_csv", "napari") else (1,):
            folder = _folder(home, f"{name}{instances}")
            labels = _points(folder, instances)
            path = folder / FILES.get(name, "")
            write_dataset(labels, path, name, lossy=True)
            targets = tuple(
                file.relative_to(folder).as_posix()
                for file in sorted(folder.rglob("*"))
                if file.is_file() and file.name not in IMAGE_NAMES
            )
            yield Seed(f"{name}/{instances}", folder, targets, FILES.get(name, ""))
            if name in FILES:
                yield Seed(f"{name}/{instances} folder", folder, targets, "")


TEXTS = {
    "via": (
        "via.json",
        json.dumps(
            {
                f"{image}1": {
                    "filename": image,
                    "size": 1,
                    "regions": [
                        {
                            "shape_attributes": {"name": "point", "cx": 5, "cy": 6 + k},
                            "region_attributes": {"name": part},
                        }
                        for k, part in enumerate(("nose", "tail"))
                    ],
                    "file_attributes": {},
                }
                for image in IMAGE_NAMES
            }
        ),
    ),
    "stereomorph": ("a.txt", "nose\t5.5\t6.25\ntail\t7\t8\n"),
    "voc": (
        "a.xml",
        "<annotation><filename>a.png</filename><size><width>30</width><height>24</height>"
        "<depth>3</depth></size><object><name>cell</name><bndbox><xmin>2</xmin><ymin>3</ymin>"
        "<xmax>9</xmax><ymax>12</ymax></bndbox></object></annotation>",
    ),
    "spots": (
        "points.csv",
        "image,keypoint,x,y\n"
        + "".join(f"{one},cell,{x},{x + 2}\n" for one in IMAGE_NAMES for x in range(5)),
    ),
    "class_csv": ("labels.csv", "image,class,split\na.png,cat,train\nb.png,dog,test\n"),
    "semicolons": (
        "points.csv",
        "sep=;\nimage;keypoint;x;y\na.png;nose;1,5;2,5\nb.png;nose;3,5;4,5\n",
    ),
}


def _texts(home: Path) -> Iterator[Seed]:
    """Texts of tools whose formats are only read."""
    for name, (file, text) in TEXTS.items():
        folder = _folder(home, name)
        (folder / file).write_text(text, encoding="utf-8")
        yield Seed(f"{name}/{file}", folder, (file,), file)
        yield Seed(f"{name}/folder", folder, (file,), "")
    folder = _folder(home, "splits")
    write_dataset(_points(folder, 1), folder / "points.csv", lossy=True)
    (folder / "splits.csv").write_text("image,split\na.png,train\nb.png,test\n")
    yield Seed("splits/csv", folder, ("splits.csv",), "points.csv", splits="splits.csv")


def _idx(values: np.ndarray) -> bytes:
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def _classes(home: Path) -> Iterator[Seed]:
    """Images with their classes."""
    images = np.stack([_pixels(k)[..., 0] for k in range(6)])
    labels = np.array([0, 1, 2, 0, 1, 2], np.uint8)
    for name, save in (("plain", np.savez), ("packed", np.savez_compressed)):
        path = home / name / "set.npz"
        path.parent.mkdir()
        save(path, x_train=images, y_train=labels, class_names=np.array(["a", "b", "c"]))
        yield Seed(f"npz/{name}", path.parent, ("set.npz",), "set.npz")
        yield Seed(f"npz/{name} folder", path.parent, ("set.npz",), "")
    for end in ("", ".gz"):
        folder = home / f"idx{end}"
        folder.mkdir()
        names = f"train-images-idx3-ubyte{end}", f"train-labels-idx1-ubyte{end}"
        for name, values in zip(names, (images, labels), strict=True):
            data = _idx(values)
            (folder / name).write_bytes(gzip.compress(data) if end else data)
        yield Seed(f"idx/{end or 'plain'}", folder, names, "")
    folder = home / "folders"
    for number, name in enumerate(("cats/a.png", "dogs/b.png", "dogs/c.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_pixels(number)).save(folder / name)
    yield Seed("class_folders/png", folder, ("cats/a.png", "dogs/b.png"), "")


def _masks(home: Path) -> Iterator[Seed]:
    """Images with masks and objects."""
    values = np.zeros(SIZE, np.uint8)
    values[4:9, 5:12], values[12:20, 3:9] = 1, 2
    for mode in ("png", "tif"):
        folder = home / mode
        for sub in ("images", "masks"):
            (folder / sub).mkdir(parents=True)
        for number, image in enumerate(IMAGE_NAMES):
            Image.fromarray(_pixels(number)).save(folder / "images" / image)
            Image.fromarray(values).save(folder / "masks" / f"{image[0]}.{mode}")
        (folder / "classes.txt").write_text("nothing\nleaf\nroot\n")
        yield Seed(f"mask_folders/{mode}", folder, (f"masks/a.{mode}", "classes.txt"), "")
    folder = _folder(home, "coco")
    ring = [[3.0, 3.0, 12.0, 3.0, 12.0, 14.0, 3.0, 14.0]]
    runs = {"size": [24, 30], "counts": [100, 40, 580]}
    found = {
        "images": [
            {"id": k, "file_name": name, "height": 24, "width": 30}
            for k, name in enumerate(IMAGE_NAMES)
        ],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 1, "segmentation": ring, "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": runs, "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 1, "segmentation": ring, "bbox": [3, 3, 9, 11]},
        ],
        "categories": [{"id": 1, "name": "leaf"}],
    }
    (folder / "labels.json").write_text(json.dumps(found))
    yield Seed("coco_masks/json", folder, ("labels.json",), "labels.json")
    values = np.random.default_rng(0).integers(0, 999, (5, 6, 7)).astype(np.uint16)
    folder = home / "volumes"
    (folder / "volumes").mkdir(parents=True)
    np.savez_compressed(
        folder / "volumes" / "a.npz", image=values, mask=values % 3, spacing_mm=(3.0, 1.0, 1.0)
    )
    (folder / "split.csv").write_text("volume,split\nvolumes/a.npz,train\n")
    yield Seed("volume_masks/npz", folder, ("volumes/a.npz", "split.csv"), "")


def _images(home: Path) -> Iterator[Seed]:
    """Every kind of image that is read."""
    rgb = Image.fromarray(_pixels())
    grey, deep = rgb.convert("L"), Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 257)
    kinds: dict[str, tuple[Image.Image, dict[str, object]]] = {
        "rgb.png": (rgb, {}),
        "palette.png": (rgb.convert("P"), {"transparency": 3}),
        "alpha.png": (rgb.convert("RGBA"), {}),
        "deep.png": (deep, {}),
        "bits.png": (rgb.convert("1"), {}),
        "rgb.jpg": (
            rgb,
            {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
        ),
        "progressive.jpg": (rgb, {"progressive": True}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "plain.tif": (rgb, {}),
        "lzw.tif": (rgb, {"compression": "tiff_lzw"}),
        "deflate.tif": (deep, {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (rgb, {"compression": "jpeg"}),
        "fax.tif": (rgb.convert("1"), {"compression": "group4"}),
        "float.tif": (Image.fromarray(np.float32(_pixels()[..., 0])), {}),
        "lab.tif": (rgb.convert("L"), {"compression": "packbits"}),
        "rgb.bmp": (rgb, {}),
        "palette.bmp": (grey.convert("P"), {}),
        "lossy.webp": (rgb, {}),
        "lossless.webp": (rgb.convert("RGBA"), {"lossless": True}),
        "moving.gif": (rgb.convert("P"), {"save_all": True, "append_images": [grey.convert("P")]}),
        "rgb.ppm": (rgb, {}),
        "grey.pgm": (grey, {}),
        "float.pfm": (Image.fromarray(np.float32(_pixels()[..., 0])), {}),
    }
    for name, (image, options) in kinds.items():
        folder = home / name
        folder.mkdir()
        image.save(folder / name, **options)
        yield Seed(f"{name.partition('.')[2]}/{name}", folder, (name,), name, "file")


def _signals(home: Path) -> Iterator[Seed]:
    """Signals, volumes, and recordings with beats."""
    signal = np.round(np.random.default_rng(0).normal(size=(301, 2)) * 999).astype(np.int16)
    volume = np.random.default_rng(0).integers(0, 60_000, (4, 5, 6)).astype(np.uint16)
    data = signal.tobytes()
    form = struct.pack("<HHIIHH", 1, 2, 8000, 32000, 4, 16)
    riff = (
        b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    )
    (home / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)
    np.savez(home / "s.npz", signal=signal, fs=360)
    np.savez_compressed(home / "v.npz", image=volume, spacing_mm=(3.0, 1.0, 0.5))
    np.save(home / "v.npy", volume)
    rows = [f"{k / 50},{a},{b}" for k, (a, b) in enumerate(signal.tolist())]
    (home / "s.csv").write_text("\n".join(["time,one,two", *rows]) + "\n")
    (home / "r.hea").write_text("r 2 360 301\nr.dat 16 200 16 0\nr.dat 16 100(10)/mV 16 5\n")
    (home / "r.dat").write_bytes(data)
    names = {"a.wav": (), "s.npz": (), "v.npz": (), "v.npy": (), "s.csv": (), "r.hea": ("r.dat",)}
    if _has("nibabel"):
        import nibabel

        image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), np.diag([-0.5, 1.0, 3.0, 1.0]))
        for end in ("nii", "nii.gz"):
            nibabel.save(image, home / f"v.{end}")
            names[f"v.{end}"] = ()
    if _has("tifffile"):
        import tifffile

        facts = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
        tifffile.imwrite(home / "v.tif", volume, imagej=True, resolution=(4.0, 2.0), metadata=facts)
        tifffile.imwrite(home / "o.ome.tif", volume, metadata={"axes": "ZYX"}, compression="zlib")
        names |= {"v.tif": (), "o.ome.tif": ()}
    for name, more in names.items():
        yield Seed(f"{name.partition('.')[2]}/{name}", home, (name, *more), name, "file")
    folder = home / "beats"
    folder.mkdir()
    np.savez(folder / "100.npz", signal=signal, fs=360, beats=np.array([20, 90, 200]))
    (folder / "r.hea").write_text("r 1 360 301\nr.dat 16 200 16 0\n")
    (folder / "r.dat").write_bytes(data[:602])
    marks = b"".join(struct.pack("<H", 1 << 10 | step) for step in (20, 70, 110)) + b"\0\0"
    (folder / "r.atr").write_bytes(marks)
    yield Seed("beats/npz", folder, ("100.npz",), "")
    yield Seed("beats/wfdb", folder, ("r.hea", "r.dat", "r.atr"), "")


def _hdf5(home: Path) -> Iterator[Seed]:
    """Packages, arrays of images, and files of MATLAB."""
    if _has("h5py"):
        import h5py

        folder = home / "package"
        folder.mkdir()
        packed = io.BytesIO()
        Image.fromarray(_pixels()).save(packed, "png")
        with h5py.File(folder / "p.pkg.slp", "w") as file:
            file.create_group("metadata").attrs["format_id"] = 1.4
            file["video0/video"] = np.frombuffer(packed.getvalue(), np.int8)[None]
            file["video0/frame_numbers"] = [0]
        yield Seed("package/slp", folder, ("p.pkg.slp",), "p.pkg.slp[0]", "file")
        with h5py.File(folder / "images.h5", "w") as file:
            file.create_dataset("box", data=_pixels()[None], compression="gzip", chunks=True)
        yield Seed("package/h5", folder, ("images.h5",), "images.h5[0]", "file")
    if _has("scipy"):
        from scipy.io import savemat

        for packed_too in (False, True):
            folder = _folder(home, f"mat{packed_too:d}")
            points = np.random.default_rng(0).uniform(2, 20, (2, 3, 2))
            names = np.array([["a.png"], ["b.png"]], object)
            saved = {"points": points, "images": names, "names": np.array(["n", "l", "r"], object)}
            savemat(folder / "points.mat", saved, do_compression=packed_too)
            yield Seed(f"matlab/{packed_too:d}", folder, ("points.mat",), "points.mat")


def _videos(home: Path) -> Iterator[Seed]:
    """Videos in several containers and codecs."""
    if not _has("av"):
        return
    import av

    kinds = {
        "h264.mp4": "libx264",
        "mpeg4.avi": "mpeg4",
        "h264.mkv": "libx264",
        "mjpeg.avi": "mjpeg",
        "vp9.webm": "libvpx-vp9",
        "h264.ts": "libx264",
    }
    for name, codec in kinds.items():
        with av.open(str(home / name), "w") as out:
            stream = out.add_stream(codec, rate=30)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number in range(8):
                pixels = np.full((48, 64, 3), 20 * number, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            out.mux(stream.encode())
        yield Seed(f"video/{name}", home, (name,), f"{name}[5]", "file")


LARGEST = 1 << 20
"""Bytes of a real sample, at most, that is copied for a trial."""

SKIPPED = ("README.md", "make_truth.py", "check_with_sleap_io.py", "truth.csv")


def real(data: Path | None) -> list[Seed]:
    """The real samples: every file that is not an image."""
    if data is None:
        return []
    seeds = []
    folders = [*(data / "formats" / "same_truth").iterdir(), *(data / "formats").iterdir()]
    for folder in sorted(one for one in folders if one.is_dir() and one.name != "same_truth"):
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            known = file.is_file() and file.name not in SKIPPED
            if not known or file.suffix in (".png", ".jpg") or file.stat().st_size > LARGEST:
                continue
            kind = f"{folder.name}/{folder.parent.name} {name}"
            if file.suffix == ".mp4":
                seeds.append(Seed(kind, folder, (name,), f"{name}[1]", "file"))
            else:
                seeds.append(Seed(kind, folder, (name,), name))
    return seeds


# --- large tables ---------------------------------------------------------------------------------

LARGE = 100_000_000

HEADS = {
    "long_csv": "image,keypoint,x,y\n",
    "wide_csv": "image,nose_x,nose_y\n",
    "class_csv": "image,class\n",
    "deeplabcut": "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n",
    "napari": "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n",
    "tps": "LM=1\n",
    "coco": '{"images": [{"id": 1, "file_name": "a.png", "height": 24, "width": 30}], "annotations": [',
    "cvat": "<?xml version='1.0'?><annotations><image id='0' name='a.png' width='30' height='24'>",
    "labelme": '{"version": "5", "flags": {}, "imagePath": "a.png", "shapes": [',
    "label_studio": '[{"annotations": [{"was_cancelled": false, "result": [',
    "via": '{"_via_img_metadata": {"a": {"filename": "a.png", "regions": [',
    "stereomorph": "<landmarks.pixel>\n",
    "imagej": " ,Label,X,Y\n",
    "signal": "time,one\n0,1\n",
    "yolo": "kpt_shape: [1, 3]\nnames: {0: cell}\nkpt_names: [",
}

ENDS = {
    "napari": "csv",
    "tps": "tps",
    "coco": "json",
    "cvat": "xml",
    "labelme": "json",
    "label_studio": "json",
    "via": "json",
    "stereomorph": "txt",
    "yolo": "yaml",
}

ROWS = {
    "long_csv": "a.png,nose,1,2\n",
    "wide_csv": "a.png,1,2\n",
    "class_csv": "a.png,cat\n",
    "deeplabcut": "a.png,1,2\n",
    "napari": "0,point,0,0,1,2\n",
    "tps": "1 2\n",
    "coco": '{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [1, 2, 2]},',
    "cvat": "<points label='nose' points='1,2'/>",
    "labelme": '{"label": "nose", "points": [[1, 2]], "shape_type": "point"},',
    "label_studio": '{"type": "keypointlabels", "value": {"x": 1, "y": 2, "keypointlabels": ["n"]}},',
    "via": '{"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"n": "a"}},',
    "stereomorph": "nose 1 2\n",
    "imagej": "1,a.png,1,2\n",
    "signal": "0.5,1\n",
    "yolo": "n, ",
}

FILLED = {"digits": "7", "commas": ",", "letters": "x", "quoted": '"', "blanks": " "}


def large() -> list[tuple[str, Callable[[], Iterator[str]]]]:
    """(name of the file, its content in parts) of every large table."""

    def parts(head: str, one: str, count: int) -> Callable[[], Iterator[str]]:
        block = max(1, min(count, 1_000_000 // len(one)))

        def content() -> Iterator[str]:
            yield head
            for start in range(0, count, block):
                yield one * min(block, count - start)

        return content

    found = []
    for name, head in HEADS.items():
        end = ENDS.get(name, "csv")
        found.append((f"{name} rows.{end}", parts(head, ROWS[name], 1_000_000)))
        for what, mark in (
            FILLED.items() if name in ENDS or name == "long_csv" else [("digits", "7")]
        ):
            found.append((f"{name} {what}.{end}", parts(head, mark, LARGE)))
    found.append(("long_csv unequal.csv", _unequal))
    return found


def _unequal() -> Iterator[str]:
    """A million rows that are all good: as many kinds of cells on two images."""
    yield HEADS["long_csv"]
    for number in range(1_000_000):
        yield f"{'ab'[number % 2]}.png,cell,{number % 24}.{number},{number // 24 % 20}.{number}\n"


def extremes(home: Path, only: str | None = None) -> Iterator[Seed]:
    """The large tables, each made when its turn comes."""
    for name, content in large():
        if only and only not in name:
            continue
        folder = home / "one"
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(IMAGE_NAMES):
            Image.fromarray(_pixels(number)).save(folder / image)
        file = "points" + Path(name).suffix
        with (folder / file).open("w") as out:
            out.writelines(content())
        yield Seed(name.replace(" ", "/"), folder, (file,), file)
