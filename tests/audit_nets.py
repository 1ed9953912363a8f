"""Small networks of many families, for the audit's tests: `NETS[name]` is (constructor, shape).

A constructor takes the width: the number of channels of the image and of most layers. Of width 1,
every layer has one channel. The number of ways in space alone does not depend on the width, so that
the network of width 1 tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 2
Constructor = Callable[..., nn.Module]
Forward = Callable[[Any, Tensor], Any]
NETS: dict[str, tuple[Constructor, tuple[int, ...]]] = {}


def net(name: str, *space: int) -> Callable[[Constructor], Constructor]:
    """Enter a constructor, for images of this size."""

    def enter(constructor: Constructor) -> Constructor:
        if name in NETS:
            raise ValueError(f"two nets are named '{name}'")
        NETS[name] = (constructor, (WIDTH, *space))
        return constructor

    return enter


class Net(nn.Module):
    """Submodules by name, and a function of them and the image."""

    def __init__(self, function: Forward, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def wide(width: int, times: int) -> int:
    """Channels of a layer that is several times as wide as others; 1 where all have one."""
    return times * width if width > 1 else 1


def conv(before: int, after: int, size: int = 3, *rest: int, **settings: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, *rest, **settings), nn.BatchNorm2d(after), nn.ReLU()
    )


# --- chains of windows ---------------------------------------------------------------------------


def chain(name: str, layers: Callable[[int], Sequence[nn.Module]], *space: int) -> None:
    net(name, *space)(lambda w=WIDTH: nn.Sequential(*layers(w)))


chain("plain", lambda w: [conv(w, wide(w, 3), 3, 1, 1), conv(wide(w, 3), w, 3, 1, 1)], 9, 11)
chain("valid", lambda w: [conv(w, w), conv(w, w, 5), nn.Conv2d(w, w, 3)], 12, 10)
chain(
    "strided",
    lambda w: [conv(w, w, 3, 2, 1), conv(w, wide(w, 2), 3, 2, 1), conv(wide(w, 2), w, 3, 2, 1)],
    18,
    15,
)
chain("skipping", lambda w: [conv(w, w, 1, 2), conv(w, w, 3, 1, 1)], 10, 11)
chain("holes", lambda w: [conv(w, w, 2, 3), conv(w, w, 2, 3)], 24, 26)
chain(
    "dilated", lambda w: [conv(w, w, 3, 1, 2, dilation=2), conv(w, w, 3, 1, 3, dilation=3)], 11, 12
)
chain("gridded", lambda w: [conv(w, w, 3, 1, 0, dilation=2)] * 2, 13, 12)
chain("even windows", lambda w: [conv(w, w, 2), conv(w, w, 4, 2, 1), conv(w, w, 2, 2)], 16, 13)
chain(
    "same",
    lambda w: [conv(w, w, 4, padding="same"), conv(w, w, 2, padding="same", dilation=3)],
    9,
    8,
)
chain(
    "anisotropic", lambda w: [conv(w, w, (3, 1), (2, 1), (0, 2)), conv(w, w, (1, 5), (1, 3))], 9, 17
)
chain(
    "grouped",
    lambda w: [
        conv(w, wide(w, 4), 3, 1, 1, groups=w),
        conv(wide(w, 4), wide(w, 2), 3, 2, 1, groups=w),
    ],
    9,
    8,
)
chain("separable", lambda w: [conv(w, w, 3, 2, 1, groups=w), conv(w, wide(w, 2), 1)], 9, 8)
chain(
    "max pool",
    lambda w: [conv(w, w, 3, 1, 1), nn.MaxPool2d(2), conv(w, w), nn.MaxPool2d(3, 2, 1)],
    15,
    14,
)
chain(
    "max pool ceil",
    lambda w: [nn.MaxPool2d(3, 2, ceil_mode=True), conv(w, w, 2), nn.MaxPool2d(2, ceil_mode=True)],
    14,
    12,
)
chain(
    "max pool ceil, the last window in the padding",
    lambda w: [nn.MaxPool2d(2, 2, 1, ceil_mode=True), conv(w, w)],
    9,
    8,
)
chain("max pool dilated", lambda w: [nn.MaxPool2d(2, 1, 1, dilation=2), conv(w, w)], 9, 8)
chain("average pool", lambda w: [nn.AvgPool2d(3, 2, 1), conv(w, w), nn.AvgPool2d(2)], 13, 12)
chain(
    "average of what is there",
    lambda w: [nn.AvgPool2d(3, 1, 1, count_include_pad=False), conv(w, w)],
    8,
    7,
)
chain(
    "average pool ceil",
    lambda w: [nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True)],
    12,
    10,
)
chain(
    "reflect",
    lambda w: [
        conv(w, w, 5, 1, 2, padding_mode="reflect"),
        nn.ReflectionPad2d((1, 2, 0, 3)),
        conv(w, w),
    ],
    8,
    7,
)
chain(
    "replicate",
    lambda w: [conv(w, w, 5, 1, 2, padding_mode="replicate"), nn.ReplicationPad2d(1), conv(w, w)],
    8,
    7,
)
chain(
    "circular",
    lambda w: [
        conv(w, w, 3, 2, 1, padding_mode="circular"),
        nn.CircularPad2d((2, 0, 1, 1)),
        conv(w, w),
    ],
    8,
    7,
)
chain(
    "padded unevenly",
    lambda w: [
        nn.ZeroPad2d((0, 1, 2, 0)),
        conv(w, w, 3, 2),
        nn.ConstantPad2d((-1, 2, -1, 0), 1.0),
        conv(w, w),
    ],
    14,
    13,
)
chain("patches", lambda w: [conv(w, w, 4, 4), conv(w, w, 1)], 14, 13)
chain(
    "blurred", lambda w: [conv(w, w, 3, 1, 1), nn.ReflectionPad2d(1), Blur(w), conv(w, w)], 12, 11
)
chain(
    "signal",
    lambda w: [
        nn.Conv1d(w, w, 5, 2, 2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(w, w, 3, 1, 2, dilation=2),
    ],
    31,
)
chain(
    "volume",
    lambda w: [nn.Conv3d(w, w, 3, 1, 1), nn.ReLU(), nn.AvgPool3d(2), nn.Conv3d(w, w, (1, 2, 2))],
    5,
    7,
    6,
)
chain(
    "up transposed",
    lambda w: [
        conv(w, w, 3, 2, 1),
        nn.ConvTranspose2d(w, w, 3, 2, 1, output_padding=1),
        conv(w, w),
    ],
    8,
    9,
)
chain(
    "up transposed, dilated",
    lambda w: [
        nn.ConvTranspose2d(w, wide(w, 2), 2, 3, 0, 0, w, dilation=2),
        conv(wide(w, 2), w, 2),
    ],
    4,
    5,
)
chain(
    "signal up",
    lambda w: [nn.Conv1d(w, w, 4, 4), nn.ConvTranspose1d(w, w, 4, 4), nn.Conv1d(w, w, 3)],
    21,
)
chain("pixel shuffle", lambda w: [conv(w, 4 * w, 3, 1, 1), nn.PixelShuffle(2), conv(w, w)], 5, 6)
chain("pixel unshuffle", lambda w: [nn.PixelUnshuffle(2), conv(4 * w, w, 3, 1, 1)], 8, 6)
chain(
    "classifier",
    lambda w: [
        conv(w, w, 3, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(w, wide(w, 2)),
    ],
    9,
    8,
)
chain(
    "flattening",
    lambda w: [
        conv(w, w),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(w * 12, wide(w, 2)),
        nn.ReLU(),
        nn.Linear(wide(w, 2), w),
    ],
    8,
    10,
)
chain(
    "adaptive",
    lambda w: [conv(w, w), nn.AdaptiveAvgPool2d((3, 4)), nn.Flatten(2), nn.Linear(12, w)],
    9,
    8,
)
chain(
    "adaptive maximum",
    lambda w: [conv(w, w), nn.AdaptiveMaxPool2d((3, None)), conv(w, w, 2)],
    10,
    8,
)
chain(
    "dropped out",
    lambda w: [conv(w, w), nn.Dropout2d(), nn.Identity(), nn.Dropout(), nn.Hardswish(), nn.PReLU()],
    6,
    7,
)


class Blur(nn.Module):
    """A binomial filter per channel, stride 2; its taps are a buffer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("taps", (taps[:, None] * taps).expand(width, 1, 3, 3).clone())

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.taps, stride=2, groups=x.shape[1])


# --- branches that meet --------------------------------------------------------------------------


@net("residual", 14, 13)
def residual(w: int = WIDTH) -> nn.Module:
    def block(before: int, after: int, stride: int) -> nn.Module:
        body = nn.Sequential(
            conv(before, after, 3, stride, 1),
            nn.Conv2d(after, after, 3, 1, 1),
            nn.BatchNorm2d(after),
        )
        side = nn.Conv2d(before, after, 1, stride) if stride > 1 else nn.Identity()
        return Net(lambda m, x: torch.relu(m.body(x) + m.side(x)), body=body, side=side)

    return nn.Sequential(block(w, w, 1), block(w, wide(w, 2), 2), block(wide(w, 2), wide(w, 2), 1))


@net("inverted residual", 9, 8)
def inverted(w: int = WIDTH) -> nn.Module:
    def block() -> nn.Module:
        body = nn.Sequential(
            conv(w, wide(w, 2), 1),
            conv(wide(w, 2), wide(w, 2), 3, 1, 1, groups=wide(w, 2)),
            nn.Conv2d(wide(w, 2), w, 1),
        )
        return Net(lambda m, x: x + m.body(x), body=body)

    return nn.Sequential(conv(w, w, 3, 2, 1), block(), block())


@net("dense", 10, 9)
def dense(w: int = WIDTH) -> nn.Module:
    def block(before: int) -> nn.Module:
        return Net(lambda m, x: torch.cat((x, m.body(x)), 1), body=conv(before, w, 3, 1, 1))

    down = nn.Sequential(conv(3 * w, w, 1), nn.AvgPool2d(2))
    return nn.Sequential(block(w), block(2 * w), down, block(w))


@net("inception", 11, 9)
def inception(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: torch.cat(
            [m.a(x), m.b(x), m.c(x), m.d(functional.max_pool2d(x, 3, 2, 1))], dim=1
        ),
        a=conv(w, w, 1, 2),
        b=nn.Sequential(conv(w, w, (1, 5), 1, (0, 2)), conv(w, w, (5, 1), 2, (2, 0))),
        c=nn.Sequential(conv(w, w, 3, 1, 1), conv(w, w, 3, 2, 1)),
        d=conv(w, w, 1),
    )


@net("squeezed and excited", 8, 7)
def excited(w: int = WIDTH) -> nn.Module:
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(w, w, 1), nn.ReLU(), nn.Conv2d(w, w, 1))
    return Net(
        lambda m, x: m.last(x * torch.sigmoid(m.gate(x))), gate=gate, last=conv(w, w, 3, 2, 1)
    )


@net("spatial gate", 8, 7)
def spatial_gate(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        facts = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(m.gate(facts))

    return Net(forward, gate=nn.Conv2d(2, 1, 3, padding=1))


@net("atrous pyramid", 10, 9)
def atrous(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        whole = functional.interpolate(
            m.whole(x.mean((2, 3), keepdim=True)), x.shape[2:], mode="bilinear"
        )
        return m.last(torch.cat([m.a(x), m.b(x), m.c(x), whole], 1))

    parts = {"a": conv(w, w, 1), "whole": nn.Conv2d(w, w, 1), "last": conv(4 * w, w, 1)}
    parts |= {n: conv(w, w, 3, 1, d, dilation=d) for n, d in (("b", 2), ("c", 4))}
    return Net(forward, **parts)


def unet(w: int, up: Callable[[Any, Tensor, Tensor], Tensor], **modules: nn.Module) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        first = m.a(x)
        second = m.b(functional.max_pool2d(first, 2))
        return m.d(torch.cat((up(m, m.c(functional.max_pool2d(second, 2)), first), first), 1))

    return Net(
        forward, a=conv(w, w, 3, 1, 1), b=conv(w, w, 3, 1, 1), c=conv(w, w, 3, 1, 1),
        d=conv(2 * w, w, 3, 1, 1), **modules,
    )  # fmt: skip


@net("U-Net, transposed", 12, 8)
def unet_transposed(w: int = WIDTH) -> nn.Module:
    up = nn.Sequential(nn.ConvTranspose2d(w, w, 2, 2), nn.ConvTranspose2d(w, w, 2, 2))
    return unet(w, lambda m, x, _: m.grow(x), grow=up)


@net("U-Net, resized", 11, 9)
def unet_resized(w: int = WIDTH) -> nn.Module:
    return unet(w, lambda _, x, to: functional.interpolate(x, to.shape[2:], mode="bilinear"))


@net("U-Net, nearest and cropped", 9, 10)
def unet_cropped(w: int = WIDTH) -> nn.Module:
    def up(m: Any, x: Tensor, to: Tensor) -> Tensor:
        x = functional.pad(functional.interpolate(x, scale_factor=4.0), (1, 2, 0, 3))
        return x[:, :, : to.shape[2], : to.shape[3]]

    return unet(w, up)


@net("hourglass", 8, 8)
def hourglass(w: int = WIDTH) -> nn.Module:
    def level(inner: nn.Module) -> nn.Module:
        return Net(
            lambda m, x: (
                m.side(x)
                + functional.interpolate(m.inner(functional.avg_pool2d(x, 2)), scale_factor=2)
            ),
            side=conv(w, w, 3, 1, 1),
            inner=inner,
        )  # fmt: skip

    return nn.Sequential(level(level(conv(w, w, 3, 1, 1))), nn.Conv2d(w, w, 1))


@net("resized by cubics", 7, 8)
def cubic(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: m.a(functional.interpolate(x, (11, 12), mode="bicubic", align_corners=True)),
        a=conv(w, w, 3, 2),
    )


@net("resized, corners aligned", 7, 8)
def aligned(w: int = WIDTH) -> nn.Module:
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    return nn.Sequential(conv(w, w, 3, 2, 1), up, conv(w, w))


@net("pyramid with many heads", 12, 10)
def pyramid(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> dict[str, Any]:
        c1 = m.a(x)
        c2 = m.b(c1)
        p1 = m.side(c1) + functional.interpolate(c2, size=c1.shape[-2:], mode="nearest")
        return {"maps": (m.head(p1), [m.head(c2)]), "score": m.score(c2.mean(dim=(2, 3)))}

    return Net(
        forward, a=conv(w, w, 3, 2, 1), b=conv(w, w, 3, 2, 1), side=nn.Conv2d(w, w, 1),
        head=nn.Conv2d(w, 1, 3, padding=1), score=nn.Linear(w, w),
    )  # fmt: skip


@net("used twice", 9, 9)
def used_twice(w: int = WIDTH) -> nn.Module:
    return Net(lambda m, x: m.a(m.a(x)) + m.a(x)[:, :, 1:-1, 1:-1], a=conv(w, w))


@net("dropped branch", 8, 9)
def dropped(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        m.b(x)
        return m.c(x)

    return Net(forward, a=conv(w, w), b=conv(w, w, 3, 1, 1), c=conv(w, w, 2, 2))


@net("largest of two", 8, 7)
def largest(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: torch.maximum(m.a(x), m.b(x)) - m.c(x) / 2,
        a=conv(w, w), b=conv(w, w, 3, 1, 2, dilation=2)[:1] + nn.Sequential(nn.AvgPool2d(3, 1)),
        c=nn.Conv2d(w, w, 3),
    )  # fmt: skip


# --- places moved, cut, joined, written ----------------------------------------------------------


@net("in place", 9, 8)
def in_place(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        y += x
        y.mul_(2).relu_()
        z = functional.relu(m.b(y), inplace=True)
        z.add_(y[:, :, ::2, ::2])
        return m.b(z)

    return Net(forward, a=nn.Conv2d(w, w, 3, 1, 1), b=nn.Conv2d(w, w, 3, 2, 1))


@net("sliced", 10, 12)
def sliced(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        left, right = m.a(x).split(5, dim=3)
        top, _ = right.chunk(2, dim=2)
        return m.b(left[:, :, ::2, 1:] + top.narrow(3, 0, 4)) + m.b(left[..., 2:7, -4:])

    return Net(forward, a=conv(w, w, 3, 1, (1, 0)), b=conv(w, w, 2))


@net("joined in space", 6, 7)
def joined(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.cat([x, m.a(x)], dim=2)
        return m.b(
            torch.cat([x[:, :, :, :2], x.new_zeros(x.shape[0], x.shape[1], x.shape[2], 1), x], 3)
        )

    return Net(forward, a=conv(w, w, 3, 1, 1), b=conv(w, w, 3, 2))


@net("turned", 7, 7)
def turned(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: m.b(m.a(x).flip(3).transpose(2, 3) + torch.roll(m.a(x), (2, -1), (2, 3))),
        a=conv(w, w), b=conv(w, w, 3, 2, 1),
    )  # fmt: skip


@net("stacked", 6, 8)
def stacked(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        both = torch.stack([x[:, :, 0::2], x[:, :, 1::2]], dim=2)
        first, second = both.unbind(2)
        return m.a(first) + m.a(both.sum(2)) + m.a(second.squeeze(0).unsqueeze(0))

    return Net(forward, a=conv(w, w, 2))


@net("focus", 8, 10)
def focus(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: m.a(torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)),
        a=conv(4 * w, w, 3, 1, 1),
    )


@net("channels shuffled", 7, 6)
def shuffled(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        n, c, high, wide = (x := m.a(x)).shape
        x = x.view(n, w, c // w, high, wide).transpose(1, 2).contiguous().view(n, c, high, wide)
        return m.b(x)

    return Net(forward, a=conv(w, wide(w, 2)), b=conv(wide(w, 2), w, 2, groups=w))


@net("shifted by writing", 7, 8)
def shifted(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        out = torch.zeros_like(x)
        out[:, :, :-1] = x[:, :, 1:]
        out[:, :, -1] = x[:, :, 0]
        out[:, :, :, 3:5].mul_(2)
        return m.a(out)

    return Net(forward, a=conv(w, w))


@net("written through views", 8, 6)
def written(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.a(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens += tokens.mean(1, keepdim=True)
        x[:, :, 0] = 0
        x[:, :, :, 1:3] = m.b(x)[:, :, :, 1:3]
        return m.b(x)

    return Net(forward, a=conv(w, w), b=conv(w, w, 3, 1, 1))


@net("indexed", 7, 9)
def indexed(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        order = torch.arange(x.shape[3] - 1, -1, -2)
        x = m.a(x[:, :, :, order])
        return x.index_select(2, torch.tensor([0, 2, 2, 4])) + x[:, :, [1, 1, 3, 4]]

    return Net(forward, a=conv(w, w, (3, 2)))


@net("unfolded", 7, 8)
def unfolded(w: int = WIDTH) -> nn.Module:
    return Net(
        lambda m, x: m.a(functional.unfold(x, 3, padding=1, stride=2).view(1, w * 9, 4, 4)),
        a=nn.Conv2d(9 * w, w, 1),
    )


# --- tokens --------------------------------------------------------------------------------------


@net("channels last", 9, 8)
def channels_last(w: int = WIDTH) -> nn.Module:
    """ConvNeXt's block."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.mlp(m.norm(m.depth(x).permute(0, 2, 3, 1)))
        return m.last(x + (y * m.scale.weight).permute(0, 3, 1, 2))

    mlp = nn.Sequential(nn.Linear(w, wide(w, 4)), nn.GELU(), nn.Linear(wide(w, 4), w))
    return Net(
        forward, depth=nn.Conv2d(w, w, 5, padding=2, groups=w), norm=nn.LayerNorm(w), mlp=mlp,
        scale=nn.LayerNorm(w), last=nn.Conv2d(w, w, 2, 2),
    )  # fmt: skip


@net("mixer", 8, 6)
def mixer(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).flatten(2).transpose(1, 2)
        x = x + m.tokens(m.norm(x).transpose(1, 2)).transpose(1, 2)
        return m.head((x + m.channels(x)).mean(1))

    return Net(
        forward, patch=nn.Conv2d(w, w, 2, 2), norm=nn.LayerNorm(w), tokens=nn.Linear(12, 12),
        channels=nn.Linear(w, w), head=nn.Linear(w, w),
    )  # fmt: skip


class Attention(nn.Module):
    """Every token looks at every token."""

    def __init__(self, width: int, *, fused: bool = True) -> None:
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), fused

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, 1, width).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q * width**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(n, length, width))


class Tokens(nn.Module):
    """A vision transformer of one block, with a class token and learned places."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(width, width, 3, 3)
        self.first = nn.Parameter(torch.randn(1, 1, width))
        self.where = nn.Parameter(torch.randn(1, count + 1, width))
        self.norm, self.attention = nn.LayerNorm(width), Attention(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, wide(width, 2)), nn.GELU(), nn.Linear(wide(width, 2), width)
        )
        self.head = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(x.shape[0], -1, -1), x], dim=1) + self.where
        x = x + self.attention(self.norm(x))
        return self.head((x + self.mlp(x))[:, 0])


net("tokens", 10, 9)(lambda w=WIDTH: Tokens(w, 9))


@net("attention written out", 6, 4)
def written_out(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x)
        n, c, high, wide = x.shape
        return (
            m.attention(x.reshape(n, c, -1).permute(0, 2, 1))
            .permute(0, 2, 1)
            .reshape(n, c, high, wide)
        )

    return Net(forward, patch=nn.Conv2d(w, w, 2, 2), attention=Attention(w, fused=False))


@net("attention of torch", 6, 4)
def of_torch(w: int = WIDTH) -> nn.Module:
    layer = nn.TransformerEncoderLayer(w, 1, wide(w, 2), batch_first=True)
    return Net(
        lambda m, x: m.layer(m.patch(x).flatten(2).mT), patch=nn.Conv2d(w, w, 2, 2), layer=layer
    )


@net("shifted windows", 8, 8)
def windows(w: int = WIDTH) -> nn.Module:
    """Swin's pair of blocks."""

    def forward(m: Any, x: Tensor) -> Tensor:
        x = m.patch(x).permute(0, 2, 3, 1)
        n, high, wide, c = x.shape
        for shift in (0, 1):
            y = torch.roll(x, (-shift, -shift), (1, 2)) if shift else x
            y = y.view(n, high // 2, 2, wide // 2, 2, c).permute(0, 1, 3, 2, 4, 5)
            y = m.attention(y.reshape(-1, 4, c))
            y = y.view(n, high // 2, wide // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5)
            y = y.reshape(n, high, wide, c)
            x = x + (torch.roll(y, (shift, shift), (1, 2)) if shift else y)
        return m.head(x.permute(0, 3, 1, 2))

    return Net(
        forward, patch=nn.Conv2d(w, w, 2, 2), attention=Attention(w), head=nn.Conv2d(w, w, 3, 2)
    )


@net("einsum", 6, 7)
def einsum(w: int = WIDTH) -> nn.Module:
    def forward(m: Any, x: Tensor) -> Tensor:
        x = torch.einsum("bchw,cd->bdhw", m.a(x), m.mix.weight)
        return torch.einsum("bchw,kh->bckw", x, m.rows.weight)

    return Net(forward, a=conv(w, w), mix=nn.Linear(w, w), rows=nn.Linear(4, wide(w, 2)))


@net("permuting dimensions", 6, 5)
def permuting(w: int = WIDTH) -> nn.Module:
    """Windows along one axis at a time, on rows and columns as batches."""

    def forward(m: Any, x: Tensor) -> Tensor:
        n, c, high, wide = x.shape
        rows = m.rows(x.permute(0, 2, 1, 3).reshape(n * high, c, wide))
        return rows.view(n, high, c, wide).permute(0, 2, 1, 3) + m.along(x.flatten(2)).view_as(x)

    return Net(forward, rows=nn.Conv1d(w, w, 3, padding=1), along=nn.Conv1d(w, w, 3, padding=1))


# --- normalised over places ----------------------------------------------------------------------


@net("normalised over places", 7, 8)
def normalised(w: int = WIDTH) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(w, wide(w, 2), 3), nn.GroupNorm(w, wide(w, 2)), nn.ReLU(),
        nn.Conv2d(wide(w, 2), w, 2, 2),
        nn.InstanceNorm2d(w), nn.ReLU(),
    )  # fmt: skip
