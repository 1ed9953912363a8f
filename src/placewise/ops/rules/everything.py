"""All that can be said of an operation that no other rule follows."""

from __future__ import annotations

from placewise.ops.layout import Layout, axis_of, dimension
from placewise.ops.table import Call, Operand, Outcome, Status, outcome, rule

UNFOLLOWED = """
_linalg_eigvals _linalg_slogdet _linalg_solve_ex _linalg_svd _trilinear fractional_max_pool2d
fractional_max_pool3d linalg_cholesky linalg_cholesky_ex linalg_det linalg_eig linalg_eigh
linalg_inv linalg_inv_ex linalg_lstsq linalg_lu_factor_ex linalg_matrix_exp linalg_qr linalg_solve
linalg_solve_triangular linalg_svd masked_scatter max_unpool2d max_unpool3d put renorm
torchvision::deform_conv2d torchvision::ps_roi_align torchvision::ps_roi_pool torchvision::roi_align
torchvision::roi_pool
""".split()
"""What they read depends on numbers, or is not worth following."""


@rule("everything", *UNFOLLOWED)
def everything(call: Call, status: Status = Status.AT_MOST) -> Outcome:
    """Every place reads all places of all operands: what holds of any operation.

    Where the places of the result are is guessed: where those of an operand of the same number of
    dimensions are, else nowhere.

    Args:
        call: of any operation.
        status: "guessed" where the operation is not in the table.

    Example:
        >>> image = Operand(0, Layout.image((1, 3, 8, 8)))
        >>> found = everything(Call("any_op", {"self": image}, (1, 5, 8, 4), 0, False))
        >>> found.layout.grid, found.status.value
        ((1, 1, 8, 4), 'at most')
    """
    target = guessed(call)
    routes = [(o, call.route(o).everywhere(target)) for o in call.operands]
    return outcome(routes, status) if routes else Outcome(target, (), status)


LISTS = """
_unique2 bincount histc histogram multinomial nonzero torchvision::nms unique_consecutive unique_dim
""".split()
"""What they give lies along no axis of the image, whatever its shape: places, counts, choices."""


@rule("everything", *LISTS)
def listing(call: Call) -> Outcome:
    """A list that reads all places of all operands.

    Example:
        >>> mask = Operand(0, Layout.image((1, 1, 8, 8)).viewed((8, 8)))
        >>> listing(Call("nonzero", {"self": mask}, (20, 2), 0, False)).layout.places
        ()
    """
    target = Layout(tuple(call.plain(size) for size in call.shape))
    return outcome([(o, call.route(o).everywhere(target)) for o in call.operands], Status.AT_MOST)


def guessed(call: Call) -> Layout:
    """A layout for a result of which the shape alone is known."""
    alike = [o for o in call.operands if len(o.shape) == len(call.shape)]
    if not alike:
        return Layout(tuple(call.plain(size) for size in call.shape))
    model = max(alike, key=lambda o: sum(a == b for a, b in zip(o.shape, call.shape, strict=True)))
    return Layout(
        tuple(
            atoms
            if have == size
            else dimension(size, place=any(a.place for a in atoms), axis=axis_of(atoms))
            for atoms, have, size in zip(model.layout.dims, model.shape, call.shape, strict=True)
        )
    )


SHAPES = """
empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like rand_like
randint_like randn_like zero zeros_like
""".split()


@rule("constant", *SHAPES)
def constant(call: Call) -> Outcome:
    """Made in the likeness of an operand, of which nothing but the shape is read."""
    return Outcome(guessed(call), ())


@rule("constant", "fill")
def filling(call: Call) -> Outcome:
    """One number everywhere, which may depend on the image."""
    value = call.get("value")
    if not isinstance(value, Operand):
        return constant(call)
    target = guessed(call)
    return outcome([(value, call.route(value).everywhere(target))])
