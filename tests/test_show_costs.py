"""Multiply-adds of layers for which torch's own counter has no formula."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from placewise.display import show
from placewise.display.costs import FORMULAS, products

STEPS, WIDE = 32, 4


class Along(nn.Module):
    """A layer of sequences, on signals."""

    def __init__(self, layer: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, x: Tensor) -> Tensor:
        found = self.layer(*[x.transpose(1, 2)] * self.times)
        return found[0] if isinstance(found, tuple) else found


def counted(net: nn.Module, *shape: int) -> int:
    return sum(one.multiply_adds for one in products(net, torch.zeros(1, *shape)))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_use_each_matrix_at_each_step(kind, both: bool) -> None:
    layer = kind(WIDE, 8, num_layers=2, batch_first=True, bidirectional=both)
    matrices = sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    assert counted(Along(layer), WIDE, STEPS) == STEPS * matrices > 0


def test_attention_multiplies_queries_keys_and_values() -> None:
    projections, maps = STEPS * 4 * WIDE**2, 2 * STEPS**2 * WIDE
    heads = nn.MultiheadAttention(WIDE, 2, batch_first=True)
    assert counted(Along(heads, 3), WIDE, STEPS) == projections + maps
    layer = nn.TransformerEncoderLayer(WIDE, 2, 8, batch_first=True)
    assert counted(Along(layer), WIDE, STEPS) == projections + maps + 2 * STEPS * WIDE * 8


class Attends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        query, value = x[:, None, :, :6].transpose(2, 3), x[:, None].transpose(2, 3)
        return functional.scaled_dot_product_attention(query, value, value)


def test_fused_attention_of_other_lengths() -> None:
    assert counted(Attends(), WIDE, STEPS) == 2 * 6 * STEPS * WIDE


def test_quantised_and_bilinear_layers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own future
        net = nn.Sequential(nn.Linear(STEPS, 6)).eval()
        quantised = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    assert counted(quantised, WIDE, STEPS) == WIDE * STEPS * 6
    assert counted(Along(nn.Bilinear(WIDE, WIDE, 5), 2), WIDE, STEPS) == STEPS * WIDE**2 * 5


def test_deformable_and_quantised_convolutions_have_formulas() -> None:
    """Their libraries are not needed: the formula reads shapes alone."""
    weight, out = torch.zeros(8, 3, 5, 5), torch.zeros(1, 8, 7, 7)
    image, offset = torch.zeros(1, 3, 11, 11), torch.zeros(1, 50, 7, 7)
    formula = FORMULAS["torchvision::deform_conv2d"]
    assert formula((image, weight, offset), out) == 8 * 49 * 75

    class Weights:
        def unpack(self) -> tuple[Tensor, None]:
            return weight, None

    assert FORMULAS["quantized::conv2d_relu"]((image, Weights(), 1.0, 0), out) == 8 * 49 * 75


class Spectral(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x).real + 1


def test_what_is_not_counted_is_named() -> None:
    shown = show(Spectral(), (1, STEPS), paths=False)
    assert shown.uncounted == ("_fft_r2c",)
    assert "The products of _fft_r2c are not counted." in shown.table()
    assert shown.to_dict()["not_counted"] == ["_fft_r2c"]
    plain = show(nn.Conv1d(1, 1, 3), (1, STEPS), paths=False)
    assert plain.uncounted == () and "not counted" not in plain.table()


def test_the_products_of_a_recurrent_layer_are_in_its_row() -> None:
    shown = show(Along(nn.LSTM(WIDE, 8, batch_first=True)), (WIDE, STEPS), paths=False)
    assert shown.multiply_adds == STEPS * (4 * 8 * WIDE + 4 * 8 * 8)
    assert any(row.layer == "layer" and row.multiply_adds for row in shown.rows)
