"""Centres and offsets: targets against plain twins, their laws, and that no part drowns another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from placewise.heads._centres import (
    NOBODY,
    centre_loss,
    labelled_objects,
    objects_about,
    offset_loss,
    offsets_to,
)
from placewise.peak_losses import PEAK_LOSSES

SIZES = [(24,), (12, 16), (8, 6, 10)]


def labels(size, batch=3, seed=0):
    """Blocks of objects with numbers that leave gaps; one image has none."""
    rng = np.random.default_rng(seed)
    made = np.zeros((batch, *size), np.int32)
    for image in made[:-1]:
        for number in rng.permutation(20)[:5] + 1:
            corner = [rng.integers(0, side) for side in size]
            image[tuple(slice(at, at + 5) for at in corner)] = number
    return torch.from_numpy(made)


@pytest.mark.parametrize("size", SIZES)
def test_objects_of_labels_are_those_of_the_plain_twin(size):
    given = labels(size)
    found = labelled_objects(given, (1,) * len(size))
    rows = []
    for image, one in enumerate(given.numpy()):
        for number in np.unique(one[one > 0]):
            places = np.argwhere(one == number)
            rows.append((image, places[:, ::-1].mean(0), places))
    assert found.of.tolist() == [image for image, _, _ in rows]
    np.testing.assert_allclose(found.centres, np.array([centre for _, centre, _ in rows]), 1e-6)
    offsets = offsets_to(found.centres, found.owner)
    assert ((found.owner != NOBODY) == (given > 0)).all()
    assert (offsets[:, :, ~(given > 0).any(0)] == 0).all()
    for number, (image, centre, places) in enumerate(rows):
        for place in places:
            assert found.owner[(image, *place)] == number
            np.testing.assert_allclose(
                offsets[(image, slice(None), *place)], centre - place[::-1], atol=1e-5
            )


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_encoded_from_flipped_labels_is_the_flipped_encoding(stride, axis):
    """Offsets along the flipped axis change their sign, and nobody has to negate them."""
    given = labels((24, 32), seed=4)
    plain = labelled_objects(given, stride)
    other = labelled_objects(given.flip(1 + axis), stride)
    side = plain.owner.shape[1 + axis]
    mirrored = plain.centres.clone()
    mirrored[:, 1 - axis] = side - 1 - mirrored[:, 1 - axis]
    np.testing.assert_allclose(other.centres, mirrored, atol=1e-5)
    assert (other.owner == plain.owner.flip(1 + axis)).all()
    offsets = offsets_to(plain.centres, plain.owner).flip(2 + axis)
    offsets[:, 1 - axis] *= -1
    np.testing.assert_allclose(offsets_to(other.centres, other.owner), offsets, atol=1e-5)


def test_a_coarse_pixel_belongs_to_an_object_where_most_of_it_does():
    given = torch.tensor([[0, 3, 3, 3, 0, 0, 3, 0, 0, 5, 5, 0]])
    found = labelled_objects(given, (3,))
    assert found.owner.tolist() == [[0, NOBODY, NOBODY, 1]]
    np.testing.assert_allclose(found.centres[:, 0], np.array([3.5, 10.0]) / 3 - 0.5, 1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_nearest_centre_within_reach_owns_a_pixel(size):
    generator = torch.Generator().manual_seed(len(size))
    centres = torch.rand(7, len(size), generator=generator) * (torch.tensor(size[::-1]) - 1)
    of, reach = torch.tensor([0, 0, 0, 0, 1, 1, 1]), torch.tensor([3.0, 2.0, 9.0, 0.1, 3.0, 4.0, 2])
    found = objects_about(centres, of, 3, size, reach)
    for place in np.ndindex(3, *size):
        aim = torch.tensor(place[:0:-1], dtype=torch.float32)
        away = torch.linalg.norm(centres - aim, dim=1)
        away[(away > reach) | (of != place[0])] = np.inf
        expected = int(away.argmin()) if away.isfinite().any() else NOBODY
        assert found.owner[place] == expected


@pytest.mark.parametrize("name", PEAK_LOSSES.names())
@pytest.mark.parametrize("objects", [1, 40])
def test_each_part_is_one_before_training(name, objects):
    loss = PEAK_LOSSES[name]()
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(objects, 2, generator=generator) * 31
    found = objects_about(centres, torch.zeros(objects, dtype=torch.long), 2, (32, 32), 4.0)
    first = loss.first_logit(32 * 32)
    blank, known = torch.full((2, 32, 32), first), torch.ones(2, 32, 32)
    value = centre_loss(loss, blank, found, 1.5, known, first)
    assert value[0] == 1 and 0 <= value[1] < 0.5, "an image without objects weighs less"
    assert (centre_loss(loss, blank, found, 1.5, 0 * known, first) == 0).all()

    target = offsets_to(centres, found.owner)
    weight = (found.owner != NOBODY)[:, None]
    np.testing.assert_allclose(offset_loss(0 * target, target, weight), [1, 0], atol=1e-6)
    np.testing.assert_allclose(offset_loss(target, target, weight), [0, 0])


def test_objects_of_one_pixel_do_not_blow_up_the_loss():
    target = torch.full((1, 2, 5), 1e-6)
    assert offset_loss(target + 0.25, target, torch.ones(1, 1, 5)) == 1


@pytest.mark.parametrize("name", PEAK_LOSSES.names())
def test_every_part_learns_below_what_knowing_nothing_gives(name):
    """A plain network learns all parts at once from made images: none is drowned."""
    loss = PEAK_LOSSES[name]()
    generator = torch.Generator().manual_seed(1)
    given = torch.zeros(4, 32, 32, dtype=torch.int32)
    for image in given:
        for number, at in enumerate(torch.rand(4, 2, generator=generator) * 26, 1):
            x, y = at.int().tolist()
            image[y : y + 6, x : x + 6] = number
    found = labelled_objects(given, (1, 1))
    target, first = offsets_to(found.centres, found.owner), loss.first_logit(32 * 32)
    weight = (found.owner != NOBODY)[:, None]
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 7, padding=3), torch.nn.ReLU(), torch.nn.Conv2d(16, 3, 7, padding=3)
    )
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2)
    for _ in range(60):
        output = net((given > 0).float()[:, None])
        parts = (
            centre_loss(loss, output[:, 0] + first, found, 1.5, torch.ones(4, 32, 32), first),
            offset_loss(output[:, 1:], target, weight),
        )
        optimiser.zero_grad()
        sum(part.mean() for part in parts).backward()
        optimiser.step()
    assert max(part.mean().item() for part in parts) < 0.8
