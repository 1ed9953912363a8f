"""Ways to run a network that take less time and give the same numbers but for rounding.

Batch norms are folded into the convolutions that they follow, in a copy, and images lie channels
last in memory. Neither is taken for granted: outputs and maps have to be those of the network.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from placewise.auditing._run import CHANNELS_LAST, channels_last, run
from placewise.errors import SettingsError

ROUNDING = 1e-4
"""Largest difference of an output or a map that counts as none, over its largest value."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class Followed:
    """Which convolution each batch norm of a network read, seen in one run.

    Attributes:
        pairs: name of the batch norm → name of the convolution.
        runs: how often each of them ran.
    """

    pairs: dict[str, str] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    _made: list[tuple[str, Tensor]] = field(default_factory=list)

    def foldable(self, kept: Mapping[str, Any]) -> dict[str, str]:
        """Pairs that run once, without those of which a map has to be kept."""
        return {
            norm: conv
            for norm, conv in self.pairs.items()
            if self.runs[norm] == self.runs[conv] == 1 and conv not in kept
        }

    def made(self, name: str, output: Tensor) -> None:
        """A convolution has run."""
        self.runs[name] += 1
        self._made.append((name, output))  # alive, so that no other tensor can be taken for it

    def read(self, name: str, tensor: Tensor) -> None:
        """A batch norm runs."""
        self.runs[name] += 1
        found = next((conv for conv, output in reversed(self._made) if output is tensor), None)
        if found is not None:
            self.pairs[name] = found


@contextmanager
def following(model: nn.Module) -> Iterator[Followed]:
    """See which batch norms read convolutions, with hooks that are removed at the end.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)).eval()
        >>> with following(net) as found:
        ...     _ = net(torch.zeros(1, 1, 8))
        >>> found.foldable({})
        {'1': '0'}
    """
    found, handles = Followed(), []
    for name, module in model.named_modules():
        if type(module) in CONVOLUTIONS and not (
            module._forward_hooks or module._forward_pre_hooks
        ):
            handles.append(
                module.register_forward_hook(
                    lambda _module, _inputs, output, name=name: found.made(name, output)
                )
            )
        elif type(module) in NORMS and module.running_mean is not None:
            handles.append(
                module.register_forward_pre_hook(
                    lambda _module, inputs, name=name: found.read(name, inputs[0])
                )
            )
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def folded(model: nn.Module, pairs: Mapping[str, str]) -> nn.Module | None:
    """A copy without these batch norms, whose scale and shift their convolutions take over.

    Args:
        model: a network in eval mode.
        pairs: names, of the batch norm → of the convolution.

    Returns:
        None if there is nothing to fold, or the network cannot be copied.

    Example:
        >>> net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)).eval()
        >>> folded(net, {"1": "0"})
        Sequential(
          (0): Conv1d(1, 2, kernel_size=(3,), stride=(1,))
          (1): Identity()
        )
    """
    if not pairs:
        return None
    try:
        made = copy.deepcopy(model)
        for norm, conv in pairs.items():
            both: Any = made.get_submodule(conv), made.get_submodule(norm)
            made.set_submodule(conv, fuse_conv_bn_eval(*both))
            made.set_submodule(norm, nn.Identity())
    except Exception:  # a network can refuse to be copied in any way
        return None
    return made


def fastest(
    model: nn.Module, images: Tensor, expected: Mapping[str, Tensor], pairs: Mapping[str, str]
) -> tuple[nn.Module, bool]:
    """The network or its folded copy, and whether it gets its images channels last.

    Args:
        model: a network inside `undisturbed`.
        images: (N, C, *space).
        expected: name of a layer → its map for these images, with '' for the output.
        pairs: batch norms and convolutions that can be folded.

    Example:
        >>> net, images = nn.Identity(), torch.ones(2, 3, 4, 4)
        >>> fastest(net, images, {"": images}, {})[1]
        True
    """
    last = images.ndim in CHANNELS_LAST and images.device.type == "cpu"
    copied = folded(model, pairs)
    models = [one for one in (copied, model) if one is not None]
    for use in (True, False) if last else (False,):
        for one in models:
            if (one is model and not use) or _alike(one, images, expected, last=use):
                return one, use
    return model, False


def _alike(model: nn.Module, images: Tensor, expected: Mapping[str, Tensor], *, last: bool) -> bool:
    """Whether a way to run gives the same but for rounding."""
    try:
        with channels_last(use=last, strictly=True):
            found = run(model, images, tuple(expected))
    except SettingsError:
        return False
    return all(_close(found[name], map_) for name, map_ in expected.items())


def _close(found: Tensor, expected: Tensor) -> bool:
    rounding = ROUNDING * float(expected.abs().max())
    return found.shape == expected.shape and torch.allclose(found, expected, 0, rounding)
