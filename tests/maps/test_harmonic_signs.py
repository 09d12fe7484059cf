"""Orders of spherical harmonics are told apart, and only those that one harmonic fills have a sign of their own."""

import pytest
import torch

from scherzer.geometry.point_groups import point_group
from scherzer.maps.harmonic_signs import resigned, signed_orders

BOX, EXTENT = 32, 16.0


@pytest.mark.parametrize(
    ("symmetry", "orders"),
    # The invariants of O are 4, 6, 8, 9, 10, 12 (twice), ...; of I 6, 10, 12, ...; D2 has two of order 2 already.
    [("O", [4, 6, 8]), ("T", [4, 8]), ("I", [6]), ("D2", []), ("D7", [2, 4, 6]), ("C1", [])],
)
def test_orders_of_one_harmonic(symmetry: str, orders: list[int]) -> None:
    assert signed_orders(point_group(symmetry)) == orders


def shells_with(*parts: torch.Tensor) -> torch.Tensor:
    """A shell that carries angular patterns."""
    radius = torch.sqrt(sum(axis**2 for axis in axes()))
    return torch.exp(-((radius - 9.0) ** 2) / 8) * sum(parts)


def axes() -> tuple[torch.Tensor, ...]:
    side = torch.arange(BOX) - BOX // 2.0
    return torch.meshgrid(side, side, side, indexing="ij")


def cubic(order: int) -> torch.Tensor:
    """The octahedral harmonic of order 4 or 6 (von der Lage and Bethe 1947)."""
    z, y, x = axes()
    square = (x**2 + y**2 + z**2).clamp(min=1e-6)
    four = (x**4 + y**4 + z**4) / square**2 - 3 / 5
    return four if order == 4 else (x * y * z) ** 2 / square**3 + four / 22 - 1 / 105


@pytest.mark.parametrize("order", [4, 6])
def test_sign_of_one_order_changes_and_nothing_else(order: int) -> None:
    group = point_group("O")
    ball, four, six = shells_with(torch.ones(())), shells_with(cubic(4)), shells_with(20 * cubic(6))
    expected = ball + (-four + six if order == 4 else four - six)
    found = resigned(ball + four + six, group, order, EXTENT)
    same = resigned(expected, group, 10, EXTENT)  # holds nothing of order 10; interpolated as often
    assert (found - same).norm() < 0.05 * (four if order == 4 else six).norm()
    assert (same - expected).norm() < 0.05 * expected.norm()
