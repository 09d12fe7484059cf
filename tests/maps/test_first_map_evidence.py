"""A first map is a structure only if other settings were ruled out."""

import pytest

from scherzer.maps.first_map_evidence import conclude
from scherzer.maps.held_out import Gain


@pytest.mark.parametrize(
    ("ball", "rival", "same", "made", "verdict"),
    [
        (1.0, None, 3, True, "no structure"),
        (3.0, None, 3, True, "ambiguous"),
        (5.0, None, 0, True, "ambiguous"),
        (5.0, None, 2, False, "structure"),  # whatever was begun came to this map
        (5.0, 5.0, 1, True, "structure"),  # the other signs were tried and explain less
        (5.0, 5.0, 1, False, "ambiguous"),  # a start that arrived nowhere rules out nothing
        (5.0, 3.0, 1, True, "ambiguous"),
        (9.0, 3.0, 0, False, "structure"),
        (9.0, 1.5, 2, True, "ambiguous"),
        (9.0, -3.0, 2, True, "ambiguous"),
    ],
)
def test_verdict(ball: float, rival: float | None, same: int, made: bool, verdict: str) -> None:
    other = None if rival is None else Gain(rival, 1.0)
    found, sentence = conclude(Gain(ball, 1.0), other, same, same + (rival is not None), made)
    assert found == verdict
    assert sentence.startswith(verdict)
