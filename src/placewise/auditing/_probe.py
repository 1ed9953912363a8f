"""Run a network that `undisturbed` lends, listen to its layers; noise to look at."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from placewise.errors import SettingsError

T = TypeVar("T")

OUTPUT = ""
"""The layer that is the network's own output; `named_modules` calls the network so, too."""


def first_tensor(output: object) -> Tensor:
    """The first floating-point tensor of a network's output, in the order of its entries.

    Looks into tuples, lists, dictionaries and dataclasses (so also into outputs of Transformers).

    Raises:
        SettingsError: there is none.

    Example:
        >>> first_tensor({"out": (None, torch.ones(2))})
        tensor([1., 1.])
    """
    found = next(_tensors(output), None)
    if found is None:
        raise SettingsError(
            f"the network's output is of type {type(output).__name__} and holds no floating-point "
            "tensor; wrap the network so that it returns the tensor to look at"
        )
    return found


def _tensors(output: object) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output
        return
    entries: Sequence[Any] = ()
    if isinstance(output, Mapping):
        entries = list(output.values())
    elif isinstance(output, tuple | list):
        entries = output
    elif dataclasses.is_dataclass(output):
        entries = [getattr(output, field.name) for field in dataclasses.fields(output)]
    for entry in entries:
        yield from _tensors(entry)


@contextmanager
def tapped(
    model: nn.Module, names: Sequence[str], take: Callable[[Tensor], T]
) -> Iterator[dict[str, T]]:
    """Listen to the outputs of submodules; the hooks are gone afterwards, whatever happens.

    Args:
        model: any network.
        names: of submodules, as `named_modules` gives them.
        take: what to keep of a layer's output. Clone it, or a ReLU that works in place on the
            tensor may change it.

    Yields:
        A dictionary that each run fills: name → what was taken of the layer's first tensor, in
        the order in which layers finish. Of a layer that runs twice, the last time counts.

    Raises:
        SettingsError: there is no such submodule.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.ReLU())
        >>> with tapped(net, ["0"], Tensor.clone) as seen:
        ...     _ = net(torch.ones(1, 1, 2))
        >>> seen
        {'0': tensor([[1., 1.]])}
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in names:
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise SettingsError(
                f"the network has no layer '{name}'{hint} Choose a name from its named_modules(), "
                "or '' for its output"
            )
    seen: dict[str, T] = {}
    handles = []
    try:
        for name in names:
            handles.append(modules[name].register_forward_hook(_listener(seen, name, take)))
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _listener(
    seen: dict[str, T], name: str, take: Callable[[Tensor], T]
) -> Callable[[nn.Module, Any, Any], None]:
    def listen(_module: nn.Module, _inputs: object, output: object) -> None:
        tensor = next(_tensors(output), None)
        if tensor is not None:
            seen.pop(name, None)
            seen[name] = take(tensor)

    return listen


def run(model: nn.Module, images: Tensor, names: Sequence[str] = (OUTPUT,)) -> dict[str, Tensor]:
    """Run a network once and give the outputs of layers, safe from later in-place changes.

    Args:
        model: a network that `undisturbed` lends.
        images: (N, C, *space); the network works on a copy.
        names: of submodules; '' is the network's own output.

    Raises:
        SettingsError: the network fails on these images, or a layer gives no tensor.

    Example:
        >>> run(nn.ReLU(), torch.tensor([[-1.0, 2.0]]))[""]
        tensor([[0., 2.]])
    """
    with tapped(model, names, Tensor.clone) as seen:
        output = forward(model, images)
    if OUTPUT in names:
        first_tensor(output)
    for name in names:
        if name not in seen:
            raise SettingsError(
                f"layer '{name}' gave no tensor when the network ran; choose another layer"
            )
    return seen


def forward(model: nn.Module, images: Tensor) -> object:
    """A network's raw output on a copy of images; its own errors become ours.

    Raises:
        SettingsError: the network fails on these images.

    Example:
        >>> forward(nn.Identity(), torch.ones(1))
        tensor([1.])
    """
    try:
        return model(images.clone())
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(
            f"the network fails on images of shape {tuple(images.shape)}: {error}; give "
            "images of a size and with channels that it takes"
        ) from error


def batches(
    model: nn.Module, images: Tensor, names: Sequence[str] = (OUTPUT,), batch: int = 8
) -> Iterator[dict[str, Tensor]]:
    """Outputs of layers for a few images at a time, without gradients.

    Example:
        >>> [seen[""].shape[0] for seen in batches(nn.ReLU(), torch.ones(5, 1, 3), batch=2)]
        [2, 2, 1]
    """
    for start in range(0, len(images), batch):
        with torch.no_grad():
            seen = run(model, images[start : start + batch], names)
        yield seen


def outputs(model: nn.Module, images: Tensor, layer: str = OUTPUT, batch: int = 8) -> Tensor:
    """(N, ...) outputs of one layer in float64 on the CPU, without gradients.

    Example:
        >>> outputs(nn.ReLU(), torch.tensor([[-1.0], [2.0]])).tolist()
        [[0.0], [2.0]]
    """
    parts = [seen[layer].double().cpu() for seen in batches(model, images, (layer,), batch)]
    return torch.cat(parts)


# --- noise ---------------------------------------------------------------------------------------


def noise_images(shape: Sequence[int], count: int, seed: int = 0) -> Tensor:
    """Seeded smooth noise: what to look at where there are no images.

    White Gaussian noise, filtered to a power of (f² + 1/16²)^(−d/2) at f cycles per pixel of d
    axes: as in photographs each octave has the same share, down to details of some 16 pixels. It is
    stationary, so that no place differs from another; it is made on a torus of twice the size and
    cut, so that opposite borders do not fit together. Each channel of each image has mean 0 and
    standard deviation 1, as after the usual normalisation.

    Args:
        shape: (C, *space) of one image.
        count: how many.
        seed: the same seed gives the same noise; image i does not depend on the count.

    Returns:
        (count, C, *space) float32.

    Example:
        >>> noise_images((3, 8, 8), 2).shape
        torch.Size([2, 3, 8, 8])
    """
    space = tuple(shape[1:])
    axes = tuple(range(-len(space), 0))
    axis = [torch.fft.fftfreq(2 * n) for n in space]
    axis[-1] = torch.fft.rfftfreq(2 * space[-1])
    frequencies = torch.meshgrid(*axis, indexing="ij")
    gain = (torch.stack(frequencies).square().sum(0) + 1 / 16**2) ** (-len(space) / 4)
    images = []
    for number in range(count):
        white = torch.randn(shape[0], *(2 * n for n in space), generator=generator(seed, number))
        smooth = torch.fft.irfftn(torch.fft.rfftn(white, dim=axes) * gain, dim=axes)
        image = smooth[(slice(None), *(slice(n) for n in space))]
        image = image - image.mean(axes, keepdim=True)
        spread = image.square().mean(axes, keepdim=True).sqrt()
        images.append(image / spread.clamp_min(torch.finfo(spread.dtype).tiny))
    return torch.stack(images)


def generator(*seeds: int) -> torch.Generator:
    """A generator of its own for these numbers; torch's global one is never used.

    Example:
        >>> torch.rand(1, generator=generator(0, 1)) == torch.rand(1, generator=generator(0, 2))
        tensor([False])
    """
    entropy = np.random.SeedSequence((len(seeds), *seeds)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy) >> 1)
