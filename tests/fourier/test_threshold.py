"""The threshold lies between two populations, whatever their share."""

import numpy as np
import pytest

from scherzer.fourier.threshold import otsu_threshold


@pytest.mark.parametrize("bright", [300, 1000, 3000])
def test_two_populations_are_parted(bright: int) -> None:
    generator = np.random.default_rng(0)
    values = np.concatenate((generator.normal(0, 0.5, 3000), generator.normal(5, 0.5, bright)))
    level, separation = otsu_threshold(values)
    assert 1.5 < level < 3.5
    # What the split leaves is the spread within the populations.
    share = bright / (3000 + bright)
    assert separation == pytest.approx(1 - 0.25 / (0.25 + 25 * share * (1 - share)), abs=0.01)


def test_noise_is_split_in_the_middle_and_explains_less() -> None:
    level, separation = otsu_threshold(np.random.default_rng(1).normal(3.0, 1.0, 20000))
    assert level == pytest.approx(3.0, abs=0.1)
    assert separation == pytest.approx(2 / np.pi, abs=0.02)  # of a Gaussian cut at its mean


def test_nothing_is_above_the_level_of_a_constant() -> None:
    assert otsu_threshold(np.full(10, 2.5)) == (2.5, 0.0)
