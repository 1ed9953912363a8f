"""Where the places of an image are in the dimensions of a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import mul

from placewise.errors import SettingsError


class Unplaced(SettingsError):
    """A change of shape that tears places and channels apart and cannot be followed."""


@dataclass(frozen=True)
class Atom:
    """A factor of a dimension.

    Attributes:
        size: how many.
        place: whether these are places; else channels, or a batch.
        axis: which axis of the image they come from, 0 the first; None if several or none.
        blurred: channels that read different places, as those of a concatenation do, or the
            second tokens of a matrix of attention; what separates them later is a bound.
        runs: of places of several axes, those that are still whole: where each begins, and what
            it is made of. So the axes are known again when a class token is dropped.
    """

    size: int
    place: bool
    axis: int | None = None
    blurred: bool = False
    runs: tuple[tuple[int, tuple[Atom, ...]], ...] = ()


Dimension = tuple[Atom, ...]


@dataclass(frozen=True)
class Layout:
    """What each dimension of a tensor is made of, outermost factor first.

    Atoms of size 1 are left out.

    Example:
        >>> image = Layout.image((1, 3, 8, 6))
        >>> image.grid, image.shape
        ((1, 1, 8, 6), (1, 3, 8, 6))
        >>> image.viewed((1, 3, 48)).dims[2]
        (Atom(size=8, place=True, axis=0, blurred=False, runs=()),
         Atom(size=6, place=True, axis=1, blurred=False, runs=()))
    """

    dims: tuple[Dimension, ...]

    @classmethod
    def image(cls, shape: Sequence[int], *, per_channel: bool = False) -> Layout:
        """Batch, channels, then the axes of the image.

        Args:
            shape: (batch, channels, *space).
            per_channel: whether channels are places too.
        """
        batch, depth, *space = shape
        axes = [dimension(side, place=True, axis=axis) for axis, side in enumerate(space)]
        return cls((dimension(batch), dimension(depth, place=per_channel), *axes))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the tensor's dimensions."""
        return tuple(math.prod(atom.size for atom in dim) for dim in self.dims)

    @property
    def grid(self) -> tuple[int, ...]:
        """Sizes of its grid: of each dimension the places alone."""
        return tuple(math.prod(a.size for a in dim if a.place) for dim in self.dims)

    @property
    def places(self) -> tuple[Atom, ...]:
        """All its place atoms in order."""
        return tuple(atom for dim in self.dims for atom in dim if atom.place)

    def permuted(self, order: Sequence[int]) -> Layout:
        """Dimensions in another order."""
        return Layout(tuple(self.dims[d] for d in order))

    def with_dim(self, dim: int, atoms: Dimension) -> Layout:
        """One dimension made of other atoms."""
        return Layout((*self.dims[:dim], atoms, *self.dims[dim + 1 :]))

    def viewed(self, shape: Sequence[int]) -> Layout:
        """The layout after the tensor is looked at in another shape.

        Raises:
            Unplaced: a new dimension ends inside an atom that it does not divide.
        """
        both = refined(self._atoms, tuple(Atom(size, False) for size in shape if size > 1))
        if both is None:
            raise Unplaced(
                f"a view of {self.shape} as {tuple(shape)} ends a dimension within places or "
                "channels that it does not divide; they cannot be separated after it"
            )
        pieces = iter(both[0])
        dims: list[Dimension] = []
        for size in shape:
            atoms: Dimension = ()
            while size_of(atoms) < size:
                atoms = (*atoms, next(pieces))
            dims.append(atoms)
        return Layout(tuple(dims))

    def torn(self, shape: Sequence[int]) -> list[tuple[int, bool]]:
        """What a view keeps together: sizes between ends that both shapes have, outermost first.

        Returns:
            each size, and whether the view tears what is in it.

        Raises:
            Unplaced: the shapes do not hold as many elements.

        Example:
            >>> Layout.image((1, 4, 2, 3)).torn((1, 2, 6, 2))
            [(24, True)]
            >>> Layout.image((1, 4, 2, 3)).torn((4, 3, 2))
            [(4, False), (6, True)]
        """
        if math.prod(shape) != math.prod(self.shape) or not math.prod(shape):
            raise Unplaced(f"{self.shape} cannot be viewed as {tuple(shape)}; see the shapes")
        old, new = _ends([atom.size for atom in self._atoms]), _ends(shape)
        found = []
        for low, high in pairwise(sorted(old & new)):
            ends = sorted(end // low for end in old | new if low <= end <= high)
            found.append((high // low, any(b % a for a, b in pairwise(ends))))
        return found[::-1]

    @property
    def _atoms(self) -> Dimension:
        return tuple(atom for dim in self.dims for atom in dim)


def _ends(sizes: Sequence[int]) -> set[int]:
    """Where factors end, counted from the innermost."""
    return set(accumulate(reversed(sizes), mul, initial=1))


def dimension(
    size: int, *, place: bool = False, axis: int | None = None, blurred: bool = False
) -> Dimension:
    """A dimension of one atom; of none where its size is 1."""
    return (Atom(size, place, axis, blurred),) if size != 1 else ()


def size_of(atoms: Sequence[Atom]) -> int:
    """How many elements a dimension has."""
    return math.prod(atom.size for atom in atoms)


def axis_of(atoms: Sequence[Atom]) -> int | None:
    """The axis of the image that all places of a dimension come from, if it is one."""
    axes = {atom.axis for atom in atoms if atom.place}
    return axes.pop() if len(axes) == 1 else None


def merged(atoms: Sequence[Atom]) -> Dimension:
    """One place atom in the stead of several, of the axis that they share.

    Example:
        >>> rows, columns = Atom(2, True, 0), Atom(3, True, 1)
        >>> merged((rows, columns))[0].runs == ((0, (rows, columns)),)
        True
    """
    if len(atoms) == 1 and atoms[0].place:
        return tuple(atoms)
    axis, size = axis_of(atoms), size_of(atoms)
    if axis is not None or size == 1:
        return dimension(size, place=True, axis=axis)
    places = tuple(replace(atom, place=True, blurred=False) for atom in atoms)
    return (Atom(size, True, runs=((0, places),)),)


def refined(first: Dimension, second: Dimension) -> tuple[Dimension, Dimension] | None:
    """Two factorings of one size, both split where either ends; None where that cannot be.

    Example:
        >>> coarse, fine = (Atom(6, True),), (Atom(2, False), Atom(3, True))
        >>> [atom.size for atom in refined(coarse, fine)[0]]
        [2, 3]
    """
    if size_of(first) != size_of(second) or not size_of(first):
        return None
    cuts = sorted(_ends([a.size for a in first]) | _ends([a.size for a in second]))
    if any(high % low for low, high in pairwise(cuts)):
        return None
    sizes = [high // low for low, high in pairwise(cuts)]
    return _split(first, sizes), _split(second, sizes)


def _split(atoms: Dimension, sizes: Sequence[int]) -> Dimension:
    """Atoms cut into factors of these sizes, innermost first."""
    pieces: list[Atom] = []
    rest = list(atoms)
    for size in sizes:
        atom = rest.pop()
        if atom.size > size:
            atom = replace(atom, runs=())
            rest.append(replace(atom, size=atom.size // size))
        pieces.insert(0, replace(atom, size=size))
    return tuple(pieces)


def joined(first: Dimension, second: Dimension) -> Dimension:
    """What a dimension is made of that two tensors share: places where either has places."""
    if first == second or not any(a.place or a.blurred for a in second):
        return first
    if not any(a.place or a.blurred for a in first):
        return second
    both = refined(first, second)
    if both is None:
        return dimension(size_of(first), place=True, axis=axis_of((*first, *second)))
    return tuple(_either(a, b) for a, b in zip(*both, strict=True))


def _either(first: Atom, second: Atom) -> Atom:
    """What two operands agree upon; one that was spread from a single place has no axis to say."""
    place = first.place or second.place
    axes = {atom.axis for atom in (first, second) if atom.place and atom.axis is not None}
    axis = axes.pop() if len(axes) == 1 else None
    runs = first.runs or second.runs
    if first.runs and second.runs and first.runs != second.runs:
        runs = ()
    return Atom(first.size, place, axis, not place and (first.blurred or second.blurred), runs)
