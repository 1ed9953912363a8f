"""Calls of operations that choose places by numbers, of frames of signals, of states, quantised."""

from __future__ import annotations

import torch

from ops_cases import (
    FLAT,
    LINE,
    MAP,
    NOT_CALLED,
    STATE,
    WHOLE,
    ImageArray,
    case,
    cases,
    weight,
    whole,
)
from placewise.ops import TABLE

P = ImageArray
ROWS = torch.tensor([[[0, 4], [1, 2]]])
SAME = torch.tensor([[[3, 0], [3, 0]]])

# --- gathered, scattered, searched ----------------------------------------------------------------

case("gather", MAP, 2, torch.zeros(1, 2, 3, 4, dtype=torch.int64))
case("gather", MAP, 2, torch.tensor([4, 0, 1]).view(1, 1, 3, 1).expand(1, 2, 3, 2))
case("gather", LINE, 2, ROWS)
case("gather", LINE, 2, P((1, 2, 4), kind="index"))
case("gather", weight(1, 2, 6), 2, P((1, 2, 4), kind="index"))
for name, more in (("scatter.src", ()), ("scatter_add", ()), ("scatter_reduce.two", ("sum",))):
    case(name, LINE, 2, ROWS, P((1, 2, 2)), *more)
    case(name, LINE, 2, SAME, P((1, 2, 2)), *more)
    case(name, LINE, 2, P((1, 2, 2), kind="index"), P((1, 2, 2)), *more)
case("scatter.src", weight(1, 2, 6), 2, SAME, P((1, 2, 3)))
case("scatter.value", LINE, 2, SAME, 3.0)
case("scatter_add", LINE, 2, torch.tensor([[[1, 1], [1, 1]]]), P((1, 2, 2)))
case("scatter_reduce.two", LINE, 2, SAME, P((1, 2, 2)), "amax", include_self=False)
case("index_add", MAP, 2, whole(1, 3), P((1, 2, 2, 4)))
case("index_add", MAP, 2, whole(1, 1), P((1, 2, 2, 4)))
case("index_add", MAP, 2, P((2,), (0,), kind="index"), P((1, 2, 2, 4)))
case("index_copy", MAP, 2, whole(1, 3), P((1, 2, 2, 4)))
case("index_reduce", MAP, 2, whole(1, 3), P((1, 2, 2, 4)), "amax")
case("index_reduce", MAP, 2, whole(1, 3), P((1, 2, 2, 4)), "amax", include_self=False)
case("take", LINE, whole(0, 5, -1))
case("take", weight(6), WHOLE)
case("masked_select", FLAT, torch.tensor([True, False, True]))
case("masked_select", P((1, 2, 1)), torch.tensor([True, False, True]))
case("combinations", P((4,), (0,)))
case("combinations", P((3,), (0,)), 2, True)
case("bucketize.Tensor", FLAT, torch.tensor([-1.0, 0.0, 1.0]).double())
case("bucketize.Tensor", FLAT, P((3,), (0,)))
case("searchsorted.Tensor", torch.tensor([-1.0, 0.0, 1.0]).double(), FLAT)
case("searchsorted.Tensor", P((1, 2, 4)), P((1, 2, 3)))
cases("as_strided as_strided_copy", FLAT, [2, 2], [1, 2], 1)
cases("as_strided as_strided_copy", LINE, [4, 3], [2, 1])
case("diag_embed", P((1, 3)))
case("diag_embed", P((2, 3), (1,)), -1, 0, 2)
case("diag_embed", P((1, 3)), 2, 2, 1)
case("trace", P((3, 3), (0, 1)))
case("trace", P((2, 3), (0, 1)))
case("block_diag", [P((2, 3), (0, 1)), weight(1, 2), P((2,), (0,))])

# --- compared -------------------------------------------------------------------------------------

case("linalg_cross", P((1, 3, 2)), P((1, 3, 2)), dim=1)
case("linalg_cross", P((1, 2, 3)), P((1, 1, 3)), dim=2)
case("_pdist_forward", P((3, 2), (0,)))
case("cosine_similarity", MAP, MAP)
case("cosine_similarity", MAP, weight(4), 3)
case("pairwise_distance", LINE, LINE)
case("pairwise_distance", LINE, P((1, 1, 6)), 2.0, 1e-6, True)
case("dist", FLAT, FLAT)
case("affine_grid_generator", P((1, 2, 3), ()), [1, 1, 3, 4], False)
case("affine_grid_generator", P((2, 3, 4), ()), [2, 1, 2, 3, 2], True)

# --- frames of signals ----------------------------------------------------------------------------

SOUND = P((2, 20), (1,))
HANN = torch.hann_window(6, dtype=torch.float64)
case("stft", SOUND, 6, 4, return_complex=True)
case("stft", SOUND, 6, 3, 6, HANN, return_complex=True)
case("stft", SOUND, 6, 3, 3, weight(3), False, False, True)
case("stft", SOUND, 6, 3, None, None, False, True, False)
case("stft.center", SOUND, 6, 3, 6, HANN, True, "constant", False, True, True)
COLUMNS = P((2, 4, 5), (2,), kind="complex")
case("istft", COLUMNS, 6, 2)
case("istft", COLUMNS, 6, 2, 4, weight(4), length=7)

# --- states of recurrent networks -----------------------------------------------------------------

GATES = {"lstm": 8, "gru": 6, "rnn_tanh": 2, "rnn_relu": 2}
SERIES, FIRST = P((4, 2, 3), (0,)), P((1, 2, 2), (), kind="above")
for op, rows in GATES.items():
    weights = [weight(rows, 3) / 4, weight(rows, 2, seed=4) / 4]
    start = [FIRST, STATE[0]] if op == "lstm" else FIRST
    case(f"{op}.input", SERIES, start, weights, False, 1, 0.0, False, False, False)
    unit = P((2, 3), (0,))
    before = P((2, 2), (0,), kind="unit")
    case(f"{op}_cell", unit, [before, before] if op == "lstm" else before, *weights)

# --- quantised ------------------------------------------------------------------------------------

FINE = (-(2**20), 2**20)
STEP, ZERO = torch.tensor([0.1, 0.2]), torch.tensor([0, 0])
ONE_STEP = torch.tensor([0.1]), torch.tensor([0])
case("fake_quantize_per_tensor_affine", FLAT, 0.1, 0, *FINE)
case("fake_quantize_per_tensor_affine_cachemask", FLAT, 0.1, 0, *FINE)
case("fake_quantize_per_channel_affine", FLAT, STEP, ZERO.int(), 1, *FINE)
case("fake_quantize_per_channel_affine_cachemask", FLAT, STEP, ZERO.int(), 1, *FINE)
case(
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    *(FLAT, *ONE_STEP, torch.tensor([1]), *FINE),
)
case("_fake_quantize_learnable_per_tensor_affine", FLAT, STEP[:1], STEP[:1] * 0, *FINE)
case("_fake_quantize_learnable_per_channel_affine", FLAT, STEP, STEP * 0, 1, *FINE)
case("quantize_per_tensor", FLAT, 0.1, 0, torch.qint32)
case("quantize_per_channel", FLAT, STEP.double(), ZERO, 1, torch.qint32)
case("dequantize.self", FLAT)
RANGE = [torch.zeros(1), torch.ones(1), torch.ones(1), torch.zeros(1, dtype=torch.int32)]
for on in (False, True):
    flags = torch.tensor([int(on)]), torch.tensor([1])
    cases(
        "fused_moving_avg_obs_fake_quant _fused_moving_avg_obs_fq_helper",
        *(FLAT, *flags, *RANGE, 0.01, *FINE, -1),
    )
NOT_CALLED |= {
    "_fused_moving_avg_obs_fq_helper_functional": "the same, in the form that compilers use",
    "quantize_per_tensor_dynamic": "called in test_ops_quantised",
    "int_repr": "called in test_ops_quantised",
}
NOT_CALLED |= dict.fromkeys([op for op in TABLE if "::" in op], "of another library")

# --- what cannot be followed ----------------------------------------------------------------------

SQUARE, SYMMETRIC = P((1, 3, 3)), torch.eye(3).double().expand(1, 3, 3)
cases("_linalg_slogdet _linalg_svd _linalg_eigvals linalg_eig linalg_inv_ex", SQUARE)
cases("linalg_lu_factor_ex linalg_matrix_exp", SQUARE)
case("_linalg_solve_ex", SQUARE, P((1, 3, 2)))
case("linalg_lstsq", SQUARE, P((1, 3, 2)))
case("linalg_solve_triangular", SQUARE, P((1, 3, 2)), upper=True)
case("put", LINE, whole(0, 5), P((2,), (0,)))
case("histogram.bin_ct", P((5,), (0,)), 3, range=[-2.0, 2.0])
case("bincount", P((5,), (0,), kind="index"), None, 2)
NOT_CALLED |= {
    "linalg_cholesky_ex": "wants a positive matrix, which small changes do not keep",
    "multinomial": "random: most changes of a weight change nothing",
    "_unique2": "how many it gives depends on the numbers",
    "unique_consecutive": "how many it gives depends on the numbers",
    "unique_dim": "how many it gives depends on the numbers",
    "quantized_gru": "its weights are packed; called in test_ops_quantised",
    "quantized_lstm": "its weights are packed; called in test_ops_quantised",
    "quantized_max_pool1d": "of quantised numbers; called in test_ops_quantised",
    "quantized_max_pool2d": "of quantised numbers; called in test_ops_quantised",
    "quantized_max_pool3d": "of quantised numbers; called in test_ops_quantised",
}
