"""Huge images tile by tile: neither the image nor its maps are held, and the answer is the whole's.

A tile is computed with a margin as wide as the network looks, so its core has the numbers that the
whole image gives. Tiles begin at multiples of the network's period, and padding is added only where
the image ends. What is kept of a tile's maps is up to the task (`placewise.gathering`).

How far the network looks is stated by our backbones and found by the audit for all others. Whether
tiles do give the whole is tried before anything is predicted.
"""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise, product
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from placewise.backbones import Backbone
from placewise.devices import fast_memory, give_back_memory
from placewise.errors import SettingsError
from placewise.gathering import Gathering, Tile
from placewise.geometry import Size
from placewise.images import PIXEL_LIMIT, image_kind
from placewise.model.arrays import as_image
from placewise.model.inputs import cut_of_input, shown_size
from placewise.paddings import PADDINGS, PaddingRule
from placewise.readers import reader_of
from placewise.resizing import Cut
from placewise.windows import MOST, Whole, Windows, windows_of

if TYPE_CHECKING:
    from placewise.auditing.locality import Locality

MEMORY = 1_500_000_000
"""Bytes that an image, its maps and what is computed of them may take unless told otherwise."""

SAFE = 1.7
"""What a run takes, in what is counted of it: convolutions have room of their own, and freed blocks
are kept, of which not every one fits the next map."""

SAFE_TILES, IN_A_ROW = 4.0, 16
"""The same of so many tiles in a row, after which what is kept is given back; where no tile is so
small, `SAFE` has to do."""

ALIKE = 1e-3
"""Largest difference of a tile from the whole when tiles are tried, in standard deviations."""

READ = 4
"""Bytes of a pixel that is read, about."""

SMALL, FEW = 1 << 20, 2000
"""Pixels of an image, and bytes of each of them, below which memory is not looked at."""

TRIED = 256
"""Side in pixels of the image on which bytes are counted."""

Run = Callable[[Tensor], Tensor]
"""Images (1, channels, *size) in 0..1, sides multiples of the network's, to raw output."""


_LOG = logging.getLogger("placewise")


@dataclass(frozen=True)
class Tiled:
    """A network that is run tile by tile.

    Attributes:
        run: the network.
        looks: how far it looks.
        padding: rule by which an image is padded to a multiple of the network's.
        multiple: sides of images that it takes are multiples of this.
        bytes_per_pixel: that a run takes for a pixel of its image.
    """

    run: Run
    looks: Locality
    padding: PaddingRule
    multiple: int
    bytes_per_pixel: float

    @classmethod
    def of(cls, network: Any) -> Tiled:
        """A model, after its tiles were tried.

        Args:
            network: a `Network`.

        Raises:
            SettingsError: it cannot be computed in tiles, and why.
        """
        channels, axes = network.input.channels, network.input.axes
        if not network.head.any_size:
            raise SettingsError(
                f"the head {type(network.head).__name__} is tied to the size of the training "
                "images, so an image cannot be predicted in tiles; shrink it, or train with "
                "another head"
            )
        if not is_local(network.padding):
            raise SettingsError(
                f"the model pads images by the rule '{PADDINGS.name_of(type(network.padding))}', "
                "which reads beyond the next tile; shrink the image, or raise --memory"
            )
        looks = looks_of(network.backbone, network.head, channels, axes, network.multiple)
        far = -(-max(looks.before, looks.after) // looks.period) * looks.period
        side = far + 3 * looks.period
        draw = torch.Generator().manual_seed(0)
        image = torch.rand(1, channels, *[side] * axes, generator=draw).to(network.mean)
        check_tiles(network.maps, image, looks)
        most = bytes_per_pixel(network)
        return cls(network.maps, looks, network.padding, network.multiple, most)

    def margin(self, gathering: Gathering[Any]) -> int:
        """Pixels about the core of a tile, a multiple of the period."""
        far = max(self.looks.before, self.looks.after) + gathering.margin * self.looks.stride
        return -(-far // self.looks.period) * self.looks.period

    def cuts(self, size: Size, margin: int, memory: int) -> tuple[tuple[int, ...], ...]:
        """Where cores begin and end along each axis, so that a tile fits and little is done twice.

        Raises:
            SettingsError: even the smallest tile does not fit.
        """
        per_axis = [list(_splits(side, margin, self.looks.period)) for side in size]
        for safe in (SAFE_TILES, SAFE):
            room = int(memory / (safe * self.bytes_per_pixel))
            able = (
                chosen
                for chosen in product(*per_axis)
                if math.prod(one.longest for one in chosen) <= room
            )
            least = min(able, key=lambda chosen: math.prod(one.work for one in chosen), default=())
            if least:
                return tuple(one.edges for one in least)
        smallest = (2 * margin + self.looks.period) ** len(size)
        needed = math.ceil(smallest * SAFE * self.bytes_per_pixel / 1e6)
        raise SettingsError(
            f"the memory that may be used is {memory / 1e6:,.0f} MB, and the smallest tile of "
            f"this network takes about {needed:,} MB, because it looks {margin} pixels far; "
            "raise --memory"
        )

    def tiles(self, size: Size, cut: Cut, gathering: Gathering[Any], memory: int) -> Iterator[Tile]:
        """The tiles of an image in reading order, the next one read while one is computed.

        Args:
            size: of the image at the network's scale.
            cut: gives parts of it, (height, width, channels) in 0..1.
            gathering: says how wide a margin it needs.
            memory: bytes that a tile may take.
        """
        step = self.looks.stride
        whole = tuple(-(-side // step) for side in size)
        margin = self.margin(gathering)
        edges = self.cuts(size, margin, memory)
        places = [list(pairwise(one)) for one in edges]
        boxes = [_box(cores, size, margin) for cores in product(*places)]
        with ThreadPoolExecutor(1) as reader:
            waiting = reader.submit(self._read, boxes[0][1], size, cut)
            for number, (cores, box) in enumerate(boxes):
                image = waiting.result()
                if number + 1 < len(boxes):
                    waiting = reader.submit(self._read, boxes[number + 1][1], size, cut)
                maps = self.run(image)[0].float()
                del image
                core = tuple(
                    slice(first // step, min(-(-last // step), side))
                    for (first, last), side in zip(cores, whole, strict=True)
                )
                yield Tile(maps, tuple(part.start // step for part in box), core, whole)
                if number % IN_A_ROW == IN_A_ROW - 1:
                    give_back_memory()

    def _read(self, box: tuple[slice, ...], size: Size, cut: Cut) -> Tensor:
        """(1, channels, *tile) of an image, padded where it ends."""
        inside = [
            slice(part.start, min(part.stop, side)) for part, side in zip(box, size, strict=True)
        ]
        pixels = np.ascontiguousarray(np.moveaxis(cut(*inside), -1, 0), np.float32)
        sides = [part.stop - part.start for part in inside]
        return self.padding.pad(
            torch.from_numpy(pixels)[None], [(0, -side % self.multiple) for side in sides]
        )


def _box(
    cores: tuple[tuple[int, int], ...], size: Size, margin: int
) -> tuple[tuple[tuple[int, int], ...], tuple[slice, ...]]:
    """A core and the pixels that its tile shows."""
    parts = zip(cores, size, strict=True)
    return cores, tuple(
        slice(max(0, first - margin), min(last + margin, side)) for (first, last), side in parts
    )


@dataclass(frozen=True)
class _Split:
    """An axis in cores."""

    edges: tuple[int, ...]
    longest: int
    work: int


def _splits(side: int, margin: int, period: int) -> Iterator[_Split]:
    """An axis in one core, two, three …, whose tiles are about as long."""
    for count in range(1, max(2, side // period) + 1):
        length = (side + 2 * (count - 1) * margin) / count
        edges = [0]
        for number in range(1, count):
            at = number * length - (2 * number - 1) * margin
            edges.append(max(edges[-1], round(at / period) * period))
        edges.append(side)
        if count > 1 and (edges[1] <= 0 or any(b <= a for a, b in pairwise(edges))):
            return
        tiles = [
            min(last + margin, side) - max(0, first - margin) for first, last in pairwise(edges)
        ]
        yield _Split(tuple(edges), max(tiles), sum(tiles))


# --- what a network looks at, and what it takes ---------------------------------------------------


class _Both(nn.Module):
    """Backbone and head as one network, for the audit."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        """Raw output of the head."""
        output: Tensor = self.head(self.backbone(images))
        return output


def looks_of(backbone: nn.Module, head: Any, channels: int, axes: int, multiple: int) -> Locality:
    """How far a backbone and a head look: as they state it, or as the audit finds it.

    Raises:
        SettingsError: a layer reads the whole image; it is named.
    """
    # here, as the audit takes half a second to import, and few images are huge
    from placewise.auditing.locality import Locality, locality

    if isinstance(backbone, Backbone) and backbone.local and head.pointwise:
        half = -(-backbone.receptive_field // 2)
        far = -(-half // multiple) * multiple
        return Locality(far, far, _map_stride(head, backbone.stride), multiple)
    return locality(_Both(backbone, head), channels, axes, multiple)


def _map_stride(head: Any, stride: int) -> int:
    """Pixels of the image for one pixel of the output of one of our heads."""
    found = getattr(head, "map_stride", stride)
    return int(found if isinstance(found, int) else found[0])


def check_tiles(run: Run, image: Tensor, looks: Locality) -> None:
    """Try whether a part of an image gives what the whole gives there.

    Args:
        run: the network.
        image: (1, channels, *size), longer along each axis than the network looks.
        looks: how far it looks.

    Raises:
        SettingsError: it does not.
    """
    whole, axes = run(image), image.ndim - 2
    far = -(-max(looks.before, looks.after) // looks.stride)
    period = looks.period // looks.stride
    shown = (slice(None), slice(None))
    later = run(image[(*shown, *[slice(looks.period, None)] * axes)])
    sooner = run(image[(*shown, *[slice(0, -looks.period)] * axes)])
    off = max(
        _apart(later, whole[(*shown, *[slice(period, None)] * axes)], slice(far, None)),
        _apart(sooner, whole[(*shown, *[slice(0, -period)] * axes)], slice(0, -far or None)),
    )
    if not off <= ALIKE * max(float(whole.std()), 1e-6):
        raise SettingsError(
            "parts of an image do not give what the whole gives: a layer of the network, or its "
            "padding, depends on the place or on the size of the image, so it cannot be predicted "
            "in tiles; shrink the image, or raise --memory"
        )


def _apart(part: Tensor, whole: Tensor, own: slice) -> float:
    """The largest difference of two maps where neither is cut."""
    places = (slice(None), slice(None), *[own] * (part.ndim - 2))
    if part.shape != whole.shape or not part[places].numel():
        return math.inf
    return float((part[places] - whole[places]).abs().max())


def is_local(rule: PaddingRule) -> bool:
    """Whether a padding rule copies from near the border that it pads.

    Example:
        >>> from placewise.paddings import PADDINGS
        >>> is_local(PADDINGS["replicate"]()), is_local(PADDINGS["circular"]())
        (True, False)
    """
    if rule.reach(64) == 0:
        return True  # it adds nothing
    draw = torch.Generator().manual_seed(0)
    end = torch.rand(1, 1, 32, generator=draw)
    lines = [torch.cat([torch.rand(1, 1, n, generator=draw), end], 2) for n in (32, 96)]
    first, second = (rule.pad(line, [(0, 8)])[..., -8:] for line in lines)
    return torch.allclose(first, second, atol=1e-6)


class _Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of all tensors that are alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.held: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it gives."""
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else (found,):
            if isinstance(one, Tensor):
                self._count(one)
        return found

    def _count(self, one: Tensor) -> None:
        storage = one.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if not key:
            return
        if key not in self.held:
            self.now += size
            self.most = max(self.most, self.now)
        self.held[key] = self.held.get(key, 0) + 1
        weakref.finalize(one, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.held[key] -= 1
        if not self.held[key]:
            del self.held[key]
            self.now -= size


_WHY: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
_COUNTED: weakref.WeakKeyDictionary[nn.Module, float] = weakref.WeakKeyDictionary()


@torch.inference_mode()
def bytes_per_pixel(network: Any) -> float:
    """Bytes that a run of a model takes for a pixel of its image; counted once."""
    if network not in _COUNTED:
        multiple, axes = network.multiple, network.input.axes
        side = -(-TRIED // multiple) * multiple if network.head.any_size else 0
        sides = [side] * axes if side else network.input_size
        image = torch.zeros(1, network.input.channels, *sides).to(network.mean)
        _COUNTED[network] = counted_bytes(network.maps, image) / math.prod(sides)
    return _COUNTED[network]


def takes(network: Any, size: Size, bytes_read: int) -> int:
    """Bytes that a model takes for an image that is predicted as a whole, about.

    Args:
        network: a `Network`.
        size: of the image.
        bytes_read: of its pixels as they are read.
    """
    pixels = math.prod(shown_size(size, network.input))
    held = bytes_read + math.prod(size) * 4 * network.input.channels
    computed: float = SAFE * bytes_per_pixel(network) * pixels
    return int(held + int(computed))


def why_whole(network: Any) -> str:
    """Why a model cannot be computed in tiles; empty if it can.

    Args:
        network: a `Network`.
    """
    if network not in _WHY:
        size = network.input_size
        try:
            network.gathering(size, size, "")
            with torch.inference_mode():
                Tiled.of(network)
            _WHY[network] = ""
        except SettingsError as error:
            _WHY[network] = str(error)
    return _WHY[network]


def is_huge(network: Any, size: Size, memory: int) -> bool:
    """Whether an image of two axes has to be predicted in tiles.

    It has to where it does not fit into the memory as a whole. A network that cannot be computed in
    tiles gets images of up to `PIXEL_LIMIT` pixels as a whole, with a warning.

    Args:
        network: a `Network`.
        size: of the image.
        memory: bytes that may be used.
    """
    pixels = math.prod(size)
    if pixels <= SMALL and FEW * pixels <= memory:
        return False
    needed = takes(network, size, READ * pixels)
    if pixels <= PIXEL_LIMIT and needed <= memory:
        return False
    why = why_whole(network)
    if why and pixels <= PIXEL_LIMIT:
        _warn_once(network, size, needed, why)
        return False
    return True


_WARNED: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
"""Bytes of the largest image that was warned of, by network."""


def _warn_once(network: Any, size: Size, needed: int, why: str) -> None:
    """Say that an image is predicted as a whole: once for a network, and of one twice as large."""
    if needed < 2 * _WARNED.get(network, 0):
        return
    _WARNED[network] = needed
    _LOG.warning(
        f"an image of {size[1]:,} × {size[0]:,} pixels is predicted as a whole, which takes about "
        f"{needed / 1e9:.2g} GB: {why}"
    )


def huge_of(given: Any, network: Any, memory: int) -> Any:
    """The prediction in tiles of one array or one file that does not fit into the memory.

    Args:
        given: what was given to `Network.predict`.
        network: a `Network`.
        memory: bytes that may be used.

    Returns:
        None where it fits, is another thing, or can only be predicted as a whole.
    """
    if network.input.axes != 2 or network.input.image_axes != 2:
        return None
    if isinstance(given, np.ndarray):
        if given.ndim not in (2, 3) or not is_huge(network, given.shape[:2], memory):
            return None
        return in_tiles(network, Whole(as_image(given)), "", memory)
    path = Path(given) if isinstance(given, str | PathLike) else None
    if path is None or not path.is_file() or reader_of(path) is not None:
        return None
    size = image_kind(path, MOST).size
    if not is_huge(network, size, memory):
        return None
    return file_in_tiles(network, path, path.name, memory)


def file_in_tiles(network: Any, path: Path, name: str, memory: int) -> Any:
    """The prediction of one image file tile by tile; see `in_tiles`.

    Args:
        network: a `Network` of images of two axes.
        path: the file.
        name: of the image.
        memory: bytes that may be used.

    Raises:
        ImageError: parts of the file cannot be read.
        SettingsError: the model needs the whole image at once, and why.
    """
    with windows_of(path, memory // 4) as image:
        return in_tiles(network, image, name, memory)


def in_tiles(network: Any, image: Windows, name: str, memory: int) -> Any:
    """The prediction of one image tile by tile.

    Args:
        network: a `Network` of images of two axes.
        image: of which parts are read.
        name: of the image.
        memory: bytes that may be used.

    Raises:
        SettingsError: the model needs the whole image at once, and why.
    """
    if why := why_whole(network):
        raise SettingsError(
            f"{name or 'the image'} has {image.size[1]:,} × {image.size[0]:,} pixels and would "
            f"have to be predicted in tiles: {why}"
        )
    fast_memory()
    shown, cut = cut_of_input(image, network.input)
    gathering = network.gathering(shown, image.size, name)
    with torch.inference_mode():
        tiled = Tiled.of(network)
        for tile in tiled.tiles(shown, cut, gathering, memory):
            gathering.add(tile)
        return gathering.result()


def counted_bytes(run: Run, image: Tensor) -> int:
    """Bytes of the tensors that are alive at once in a run, the image among them.

    Args:
        run: the network.
        image: (1, channels, *size).

    Example:
        >>> counted_bytes(lambda image: image + 1, torch.zeros(1, 1, 16, 16))
        2048
    """
    with _Counted() as counted:
        run(image)
    own: int = image.untyped_storage().nbytes()
    return int(counted.most + own)
