"""Symmetrising adds exactly the operators of the group, and leaves a symmetric map as it is."""

import pytest
import torch

from scherzer.fourier.filters import cosine_edge, lowpass
from scherzer.fourier.grids import real_radius
from scherzer.geometry.point_groups import point_group
from scherzer.maps.symmetrise import coset_steps, symmetrise_volume

GROUPS = ["C1", "C2", "C3", "C12", "D2", "D3", "D6", "T", "O", "I"]


@pytest.mark.parametrize("symmetry", GROUPS)
def test_steps_compose_to_the_whole_group(symmetry: str) -> None:
    group = point_group(symmetry)
    products = [torch.eye(3)]
    for mates in coset_steps(group):
        products = [p @ m for p in products for m in [torch.eye(3), *mates]]
    assert len(products) == len(group)
    for operator in group:
        assert sum(torch.allclose(operator, p, atol=1e-4) for p in products) == 1


def test_octahedral_sum_takes_few_steps() -> None:
    assert sum(len(mates) for mates in coset_steps(point_group("O"))) <= 6


def lumpy(box: int) -> torch.Tensor:
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(4))
    return lowpass(volume * cosine_edge(real_radius(box, 3), box / 5, box / 4), 1.0, 5.0)


@pytest.mark.parametrize("symmetry", GROUPS[1:])
def test_symmetrised_map_is_invariant(symmetry: str) -> None:
    once = symmetrise_volume(lumpy(32), point_group(symmetry))
    twice = symmetrise_volume(once, point_group(symmetry))
    assert (twice - once).norm() / once.norm() < 0.06


def test_permutations_of_the_axes_are_exact() -> None:
    volume = symmetrise_volume(lumpy(32), point_group("O"))[1:, 1:, 1:]
    for turned in (volume.transpose(0, 2).flip(0), volume.transpose(1, 2).flip(1), volume.flip((0, 1))):
        assert torch.allclose(turned, volume, atol=1e-4 * float(volume.abs().max()))
