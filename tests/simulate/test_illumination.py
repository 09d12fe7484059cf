"""The beam lights an image unevenly."""

from __future__ import annotations

import numpy as np

from scherzer.simulate.illumination import DARKEST, illumination


def change(light: np.ndarray) -> float:
    """Change along the steepest direction, in units of a side."""
    return float(np.hypot(light[0, -1] - light[0, 0], light[-1, 0] - light[0, 0]))


def test_the_mean_stays_and_the_middle_image_changes_by_the_typical_slope() -> None:
    images = [illumination(np.random.default_rng(seed), (40, 60), 0.02) for seed in range(400)]
    assert images[0].shape == (40, 60)
    np.testing.assert_allclose([image.mean() for image in images], 1, atol=1e-5)
    found = np.array([change(image) for image in images])
    assert abs(np.median(found) - 0.02) < 0.003
    assert abs(np.percentile(found, 90) - 0.06) < 0.012


def test_all_directions_occur() -> None:
    images = [illumination(np.random.default_rng(seed), (20, 20), 0.05) for seed in range(200)]
    brighter_right = np.mean([image[0, -1] > image[0, 0] for image in images])
    brighter_below = np.mean([image[-1, 0] > image[0, 0] for image in images])
    assert 0.35 < brighter_right < 0.65
    assert 0.35 < brighter_below < 0.65


def test_a_level_beam_is_flat_and_none_goes_dark() -> None:
    assert (illumination(np.random.default_rng(1), (8, 8), 0.0) == 1).all()
    steep = [illumination(np.random.default_rng(seed), (16, 16), 0.5) for seed in range(100)]
    assert min(image.min() for image in steep) >= DARKEST - 1e-6
