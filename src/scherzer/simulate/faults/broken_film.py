"""A film of ice that has broken: vacuum in the hole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scherzer.simulate.faults.maps import Float32Array, Nodes, blob_distance_A, step

# Share of the broken films of which nothing is left in the field.
ALL_GONE = 0.4
# Radius of the hole in the film as a share of the image's side, its unevenness, its edge's sharpness, A.
RADIUS, UNEVEN, EDGE_WIDTH_A = (0.25, 0.7), 0.18, 25.0
# The torn edge has drawn back and curled: so much thicker, a share, over such a width, A.
CURL, CURL_WIDTH_A = (0.3, 1.5), (60.0, 200.0)


@dataclass(frozen=True)
class BrokenFilm:
    """What is left of the film.

    Attributes
    ----------
    film : ndarray
        ``(H, W)`` factor of the film's thickness, 0 in vacuum.
    hole_A : tuple of float or None
        Row, column and mean radius, A; None where no ice is left.
    """

    film: Float32Array
    hole_A: tuple[float, float, float] | None


def broken_film(rng: np.random.Generator, shape: tuple[int, int], pixel_size_A: float, margin_A: float) -> BrokenFilm:
    """Tear a hole into the film that reaches into the image, or take all of it away.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shape : tuple of int
        ``(H, W)``.
    pixel_size_A : float
        Pixel size.
    margin_A : float
        Width of the margin around the image.
    """
    if rng.random() < ALL_GONE:
        return BrokenFilm(np.zeros(shape, np.float32), None)
    nodes = Nodes.over(shape, pixel_size_A)
    image_A = [side - 2 * margin_A for side in nodes.sides_A]
    radius_A = rng.uniform(*RADIUS) * min(image_A)
    # The middle may lie outside the image, but not the whole hole.
    row_A, column_A = (margin_A + rng.uniform(-0.25, 1.25) * side for side in image_A)
    row_A, column_A = (
        float(np.clip(place, margin_A - 0.6 * radius_A, margin_A + side + 0.6 * radius_A))
        for place, side in zip((row_A, column_A), image_A, strict=True)
    )
    uneven = nodes.smooth(rng, 0.4 * radius_A)
    into_ice_A = -blob_distance_A(nodes, (row_A, column_A), radius_A, uneven, UNEVEN)
    curl_A = rng.uniform(*CURL_WIDTH_A)
    curl = 1 + rng.uniform(*CURL) * np.exp(-(((into_ice_A - 0.7 * curl_A) / curl_A) ** 2))
    film = nodes.pixels(curl) * step(nodes.pixels(into_ice_A), EDGE_WIDTH_A)
    film[film < 1e-3] = 0
    return BrokenFilm(film, (row_A, column_A, float(radius_A)))
