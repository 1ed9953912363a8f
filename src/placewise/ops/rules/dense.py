"""Each place reads all places along some dimensions."""

from __future__ import annotations

import math

from placewise.ops.axes import prefix
from placewise.ops.route import LARGEST, Route
from placewise.ops.rules.arguments import dims_of
from placewise.ops.rules.everything import everything
from placewise.ops.rules.pointwise import pointwise
from placewise.ops.table import Call, Outcome, Status, alone, rule


@rule(
    "reduce",
    *"""
    all amax amin aminmax any argmax argmin count_nonzero kthvalue linalg_vector_norm logsumexp max
    mean median min mode nanmean nanmedian nanquantile nansum norm prod quantile std std_mean sum
    var var_mean
    """.split(),
)
def reduction(call: Call) -> Outcome:
    """One place reads all along some dimensions."""
    if call.get("other") is not None:
        return pointwise(call)
    route = call.route()
    default = -1 if call.op in ("kthvalue", "mode") else None
    for dim in dims_of(call.get("dim", default=default), len(call.operand.shape)):
        route.reduce(dim)
    if math.prod(route.layout.shape) != math.prod(call.shape):
        return everything(call)
    return alone(call, route.view(call.shape))


@rule(
    "dense",
    *"""
    _log_softmax _safe_softmax _softmax argsort log_softmax msort softmax sort topk
    """.split(),
)
def along_one(call: Call) -> Outcome:
    """Each place reads all along one dimension."""
    default = 0 if call.op == "msort" else -1
    return _dense(call, dims_of(call.get("dim", default=default), len(call.operand.shape)))


@rule(
    "dense",
    *"""
    _fft_c2c _fft_c2r _fft_r2c fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn
    fft_ihfft fft_irfft fft_irfft2 fft_irfftn fft_rfft fft_rfft2 fft_rfftn
    """.split(),
)
def fourier(call: Call) -> Outcome:
    """Each frequency reads all places along the dimensions that are transformed."""
    dims = call.get("dim", default=-1)
    if dims is None and call.get("s") is not None:
        dims = list(range(-len(call["s"]), 0))
    return _dense(call, dims_of(dims, len(call.shape)))


def _dense(call: Call, dims: list[int]) -> Outcome:
    route = call.route()
    for dim in dims:
        if call.shape:
            route.dense(dim, call.shape[dim])
    return alone(call, route)


@rule("dense", "cummax", "cummin", "cumprod", "cumsum", "logcumsumexp")
def cumulative(call: Call) -> Outcome:
    """Each place reads those before it along one dimension, and itself."""
    dims = dims_of(call["dim"], len(call.operand.shape))
    route = before(call.route(), dims[0]) if call.shape else call.route()
    return alone(call, route, chosen(call))


def chosen(call: Call) -> Status:
    """Second outputs say which place was taken, of which there may be no choice."""
    return Status.AT_MOST if call.output > 0 else Status.EXACT


def before(route: Route, dim: int) -> Route:
    """Each place of a dimension reads those before it, and itself; a bound where it is long."""
    size = route.layout.shape[dim]
    if size * size <= LARGEST:
        return route.along(dim, prefix(size))
    route.bound |= route.layout.grid[dim] > 1
    return route.dense(dim)
