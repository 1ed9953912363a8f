"""Small networks that are awkward to measure, with what an audit makes of each.

Each is a function of this module, so that the command line finds it as `audit_awkward.py:NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SHAPE = (3, 16, 16)


@dataclass(frozen=True)
class Expected:
    """What an audit of a network gives.

    Attributes:
        build: makes the network.
        code: exit code of the command.
        counted: whether it can be counted.
        missing: what is not measured; "all" for everything.
        why: words of each reason.
    """

    build: Callable[[], Any]
    code: int = 0
    counted: bool = True
    missing: str = ""
    why: str = ""

    def missing_of(self, everything: Iterable[str]) -> set[str]:
        """Names of what is not measured."""
        return set(everything if self.missing == "all" else self.missing.split())


NETS: dict[str, Expected] = {}


def net(
    code: int = 0, counted: bool = True, missing: str = "", why: str = ""
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add a network to the collection."""

    def add(build: Callable[[], Any]) -> Callable[[], Any]:
        NETS[build.__name__] = Expected(build, code, counted, missing, why)
        return build

    return add


BORDER = "border_swap"
SHIFTED = "equivariance position border_swap consistency phases places"
GRADIENT = "effective_field"


def trunk(before: int = 3, after: int = 4) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(before, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, after, 3, padding=1)
    )


class After(nn.Module):
    """A trunk, and a function of its map."""

    def __init__(self, function: Callable[[Tensor], Any], body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = trunk() if body is None else body
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.body(x))


@net()
def plain() -> nn.Module:
    return trunk()


def lenet(side: int) -> nn.Module:
    """LeNet-5, for images of one channel."""
    torch.manual_seed(0)
    left = (side - 12) // 4
    return nn.Sequential(
        *[nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Flatten(), nn.Linear(16 * left**2, 84), nn.ReLU(), nn.Linear(84, 10)],
    )


@net(3, missing=BORDER, why="mat1 and mat2")
def one_size() -> nn.Module:
    return nn.Sequential(trunk(), nn.Flatten(), nn.Linear(256, 5))


# --- what torch makes of networks ----------------------------------------------------------------


@net()
def scripted() -> nn.Module:
    return torch.jit.script(trunk().eval())


@net()
def traced() -> nn.Module:
    return torch.jit.trace(trunk().eval(), torch.zeros(1, *SHAPE))


@net()
def frozen_script() -> nn.Module:
    return torch.jit.freeze(torch.jit.script(trunk().eval()))


@net()
def scripted_part() -> nn.Module:
    return nn.Sequential(torch.jit.script(trunk().eval()), nn.Conv2d(4, 2, 1))


@net()
def compiled() -> nn.Module:
    return torch.compile(trunk(), backend="eager")


@net()
def compiled_part() -> nn.Module:
    return nn.Sequential(trunk(), torch.compile(nn.Conv2d(4, 2, 1), backend="eager"))


@net(3, missing="all", why="meta device")
def meta() -> nn.Module:
    with torch.device("meta"):
        return trunk()


@net()
def double() -> nn.Module:
    return trunk().double()


@net()
def half() -> nn.Module:
    return trunk().half()


@net()
def frozen() -> nn.Module:
    return trunk().requires_grad_(False)


@net()
def shared() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1)] * 3)


@net()
def without_parameters() -> nn.Module:
    return nn.AvgPool2d(2)


@net(2)
def lazy() -> nn.Module:
    return nn.LazyConv2d(3, 3)


# --- what networks return ------------------------------------------------------------------------


@net(3, missing="all", why="first axis is that of the images")
def list_of_images() -> nn.Module:
    return After(lambda maps: [{"map": one} for one in maps])


@net()
def dictionary() -> nn.Module:
    return After(lambda maps: {"aux": None, "out": maps})


@net()
def pyramid() -> nn.Module:
    return After(lambda maps: [maps, nn.functional.max_pool2d(maps, 2)])


@net(3, missing="all", why="no floating-point tensor")
def integers() -> nn.Module:
    return After(lambda maps: maps.argmax(1))


@net(3, missing="all", why="no floating-point tensor")
def booleans() -> nn.Module:
    return After(lambda maps: maps > 0)


@net(3, missing="all", why="no floating-point tensor")
def complex_numbers() -> nn.Module:
    return After(torch.fft.fft2)


@net(2)
def empty() -> nn.Module:
    return After(lambda maps: maps[:, :0])


@net(3, missing="all", why="NaN")
def not_a_number() -> nn.Module:
    return After(lambda maps: maps.abs().neg().sqrt())


@net(3, missing="all", why="NaN or infinite")
def infinite() -> nn.Module:
    return After(lambda maps: maps / 0)


@net(3, missing="all", why="first axis is that of the images")
def one_number() -> nn.Module:
    return After(torch.mean)


@net()
def one_number_each() -> nn.Module:
    return After(lambda maps: maps.mean((1, 2, 3)))


@net(3, missing="all", why="first axis is that of the images")
def squeezed() -> nn.Module:
    return After(lambda maps: maps.mean((2, 3))[:, :2].squeeze())


@net(3, missing="all", why="first axis is that of the images")
def batch_last() -> nn.Module:
    return After(lambda maps: maps.permute(1, 2, 3, 0))


@net(3, missing="sensitivity places occlusion")
def constant() -> nn.Module:
    return After(lambda maps: 0 * maps)


@net(3, missing="all", why="first axis is that of the images")
def as_many_as_are_bright() -> nn.Module:
    return After(lambda maps: maps[:, 0].nonzero().to(maps))


@net(3, missing=GRADIENT)
def detached() -> nn.Module:
    return After(Tensor.detach)


# --- what networks do ----------------------------------------------------------------------------


@torch.library.custom_op("placewise_tests::forward_only", mutates_args=())
def forward_only(x: Tensor) -> Tensor:
    return x * 2


@forward_only.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@net(3, missing=GRADIENT, why="no autograd formula was registered")
def without_backward() -> nn.Module:
    return After(forward_only)


class Score(nn.Module):
    """The gradient of an energy."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = trunk()

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(self.energy(x).square().sum(), x, create_graph=True)[0]


@net(3, counted=False, missing=GRADIENT)
def score() -> nn.Module:
    return Score()


class Leaves(nn.Module):
    """It computes with numpy."""

    def __init__(self) -> None:
        super().__init__()
        self.body = trunk()

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.body(x).detach().numpy().mean((2, 3)))


@net(3, counted=False)
def leaves_torch() -> nn.Module:
    return Leaves()


class Fails(nn.Module):
    """It fails when a condition on the images holds, with an error of several lines."""

    def __init__(self, when: Callable[[Tensor], bool], error: Exception) -> None:
        super().__init__()
        self.body, self.when, self.error = trunk(), when, error

    def forward(self, x: Tensor) -> Tensor:
        if self.when(x):
            raise self.error
        return self.body(x)


@net(2)
def refuses() -> nn.Module:
    return Fails(lambda x: True, RuntimeError("not today"))


@net()
def one_image_at_once() -> nn.Module:
    return Fails(lambda x: len(x) > 1, ValueError("one image only\nsaid on two lines"))


@net(3, missing="all", why="StopIteration")
def never_on_noise() -> nn.Module:
    return Fails(lambda x: len(x) > 0 and bool(x.ne(0).any()) and x.min() < 0, StopIteration())


@net(3, missing=BORDER, why="too large: on two lines")
def larger_images_refused() -> nn.Module:
    return Fails(lambda x: x.shape[2] > 16, ValueError("too large: on two lines\nsecond line"))


def _painted(x: Tensor) -> bool:
    """Whether the last quarter of some image is of one colour, and the first is not."""
    last, first = x[:, 0, 8:, 8:].flatten(1), x[:, 0, :8, :8].flatten(1)
    return bool(((last == last[:, :1]).all(1) & (first != first[:, :1]).any(1)).any())


@net(3, missing="occlusion places", why="MemoryError: no more")
def fails_in_the_middle() -> nn.Module:
    return Fails(_painted, MemoryError("no more"))


def _broken(_module: nn.Module, _inputs: Any, _output: Any) -> None:
    raise OSError("the disk is full")


@net(2)
def hooked() -> nn.Module:
    made = trunk()
    made[0].register_forward_hook(_broken)
    return made


class OnItself(nn.Module):
    """It changes the image, itself and the random state."""

    def __init__(self) -> None:
        super().__init__()
        self.body = trunk()
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        x += torch.rand(())
        return self.body(x)


@net()
def on_itself() -> nn.Module:
    return OnItself()


class Tokens(nn.Module):
    """Patches as tokens, with attention: no map reaches the end."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1)


@net()
def tokens() -> nn.Module:
    return Tokens()


class ByImage(nn.Module):
    """It runs its layers on one image after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.body = trunk()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.body(one[None]) for one in x])


@net()
def by_image() -> nn.Module:
    return ByImage()


@net(2)
def two_inputs() -> nn.Module:
    return nn.Bilinear(3, 3, 2)
