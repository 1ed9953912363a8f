"""What is drawn at random: generators by number, and noise to measure with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def generator(*seeds: int) -> torch.Generator:
    """A generator for these numbers; torch's global one is never used.

    Example:
        >>> torch.rand(1, generator=generator(0, 1)) == torch.rand(1, generator=generator(0, 2))
        tensor([False])
    """
    entropy = np.random.SeedSequence((len(seeds), *seeds)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(entropy) >> 1)


def noise_images(shape: Sequence[int], count: int, seed: int = 0) -> Tensor:
    """Smooth noise to measure with if there are no images.

    White Gaussian noise is filtered to a power of (f² + 1/16²)^(−d/2) at f cycles per pixel of d
    axes. As in photographs each octave has the same share, down to details of some 16 pixels. The
    noise is stationary, so that no place differs from another; it is made on a torus of twice the
    size and cut, so that opposite borders do not match. Each channel of each image has mean 0 and
    standard deviation 1, as after the usual normalisation.

    Args:
        shape: (C, *space) of one image.
        count: number of images.
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
