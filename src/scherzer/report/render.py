"""Pictures of a map's surface: first hit of parallel rays, Lambert shading, white background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float32]

# Upper left, in front of the picture: where textbooks and Chimera put the key light. (right, up, towards viewer)
_KEY_LIGHT = np.array([-0.45, 0.55, 0.72])
_FILL_LIGHT = np.array([0.60, -0.10, 0.55])


@dataclass(frozen=True)
class RenderSettings:
    """How a surface is drawn.

    Attributes
    ----------
    width_px : int
        Side of the square picture.
    supersampling : int
        Rays per pixel along each side; averaged, so that edges are smooth.
    step_voxels : float
        Distance between samples of a ray before the crossing is refined.
    ambient : float
        Brightness of a facet turned away from both lights, 0 to 1.
    """

    width_px: int = 280
    supersampling: int = 2
    step_voxels: float = 1.5
    ambient: float = 0.38


@dataclass(frozen=True)
class SurfaceHit:
    """Where each ray first meets the surface.

    Attributes
    ----------
    depth_voxels : numpy.ndarray
        Height above the map's centre towards the viewer, ``(h, w)``; minus infinity where a ray meets nothing.
    normals : numpy.ndarray
        Outward unit normals in the view's axes (right, up, towards the viewer), ``(h, w, 3)``; else zero.
    pixel_voxels : float
        Distance between neighbouring rays.
    """

    depth_voxels: Float
    normals: Float
    pixel_voxels: float

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Which rays met the surface, ``(h, w)``."""
        return np.isfinite(self.depth_voxels)


def view_axes(direction: tuple[float, float, float]) -> Float:
    """Return the view's axes as rows (right, up, towards the viewer), each in x, y, z of the map, ``(3, 3)``.

    ``direction`` points from the map to the viewer. The map's y is up where it can be, as in Chimera.
    """
    toward = np.asarray(direction, dtype=np.float64)
    toward = toward / np.linalg.norm(toward)
    up = np.array([0.0, 1.0, 0.0])
    if abs(float(toward @ up)) > 0.95:
        up = np.array([0.0, 0.0, -1.0])
    right = np.cross(up, toward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(toward, right), toward]).astype(np.float32)


def first_hit(volume: Float, level: float, axes: Float, rays: int, half_width_voxels: float, step: float) -> SurfaceHit:
    """March parallel rays through a map until its value passes ``level``.

    Parameters
    ----------
    volume : numpy.ndarray
        Map, ``(d, h, w)``: z, y, x.
    level : float
        Contour; the inside is above it.
    axes : numpy.ndarray
        From :func:`view_axes`.
    rays : int
        Rays along each side of the picture.
    half_width_voxels : float
        The picture shows this much on each side of the map's centre.
    step : float
        Distance between samples in voxels; the crossing between two samples is then bisected.

    Returns
    -------
    SurfaceHit
        Depth and normal for every ray.
    """
    grid = torch.from_numpy(np.ascontiguousarray(volume, dtype=np.float32))
    side = torch.linspace(-half_width_voxels, half_width_voxels, rays)
    row, column = torch.meshgrid(-side, side, indexing="ij")
    right, up, toward = (torch.from_numpy(axis) for axis in axes)
    start = column.reshape(-1, 1) * right + row.reshape(-1, 1) * up

    # No ray needs to look outside the ball that holds everything above the contour.
    radius = _bounding_radius(volume, level)
    off_axis = (start**2).sum(dim=1)
    reach = torch.sqrt((radius**2 - off_axis).clamp(min=0.0))
    active = torch.nonzero(off_axis < radius**2).squeeze(1)
    depth = torch.full((rays * rays,), -torch.inf)
    position = radius
    while position > -radius and len(active):
        # The ball is round: a ray joins where the front plane enters its part of the ball and leaves at its far end.
        inside = reach[active] >= abs(position) - step
        found = torch.zeros(len(active), dtype=torch.bool)
        found[inside] = _sample(grid, start[active[inside]] + position * toward) >= level
        depth[active[found]] = position
        active = active[~found] if position > 0 else active[~found & inside]
        position -= step

    hits = torch.nonzero(torch.isfinite(depth)).squeeze(1)
    depth[hits] = _bisect(grid, level, start[hits], toward, depth[hits], step)
    normals = torch.zeros(rays * rays, 3)
    normals[hits] = _normals(grid, start[hits] + depth[hits, None] * toward) @ torch.from_numpy(axes).T
    return SurfaceHit(
        depth.reshape(rays, rays).numpy(), normals.reshape(rays, rays, 3).numpy(), 2 * half_width_voxels / (rays - 1)
    )


def shade(hit: SurfaceHit, colour: tuple[float, float, float], ambient: float) -> Float:
    """Return the picture of a surface, ``(h, w, 3)`` in 0 to 1, white where no ray met it.

    Lambert's law for a key and a fill light, darkened in hollows (a point far below the mean height of its
    neighbourhood sees little sky) and at steps in depth, which draws the outline.
    """
    key, fill = _KEY_LIGHT / np.linalg.norm(_KEY_LIGHT), _FILL_LIGHT / np.linalg.norm(_FILL_LIGHT)
    lambert = 0.92 * np.clip(hit.normals @ key, 0, 1) + 0.25 * np.clip(hit.normals @ fill, 0, 1)
    halfway = (key + np.array([0.0, 0.0, 1.0])) / np.linalg.norm(key + np.array([0.0, 0.0, 1.0]))
    gloss = 0.14 * np.clip(hit.normals @ halfway, 0, 1) ** 24
    sky = _open_sky(hit)
    brightness = (ambient + (1 - ambient) * lambert) * sky
    picture = np.asarray(colour)[None, None] * brightness[..., None] + (gloss * sky)[..., None]
    picture[~hit.hit] = 1.0
    return np.clip(picture, 0, 1).astype(np.float32)


def render_surface(
    volume: Float,
    level: float,
    direction: tuple[float, float, float],
    colour: tuple[float, float, float],
    half_width_voxels: float,
    settings: RenderSettings | None = None,
) -> NDArray[np.uint8]:
    """Return the picture of the surface of ``volume`` at ``level`` seen from ``direction``, ``(h, w, 3)`` uint8."""
    settings = settings or RenderSettings()
    factor = settings.supersampling
    hit = first_hit(
        volume, level, view_axes(direction), settings.width_px * factor, half_width_voxels, settings.step_voxels
    )
    fine = shade(hit, colour, settings.ambient)
    size = settings.width_px
    return np.round(255 * fine.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))).astype(np.uint8)


def _bounding_radius(volume: Float, level: float) -> float:
    """Distance from the map's centre to the farthest voxel above the contour, plus a margin, in voxels."""
    inside = np.argwhere(volume >= level)
    if not len(inside):
        return 0.0
    centre = np.array(volume.shape) // 2
    return float(np.sqrt(((inside - centre) ** 2).sum(axis=1).max())) + 2.0


def _sample(grid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Trilinear value of a ``(d, h, w)`` map at ``(n, 3)`` points x, y, z from its centre voxel ``size // 2``."""
    size = torch.tensor(grid.shape[::-1], dtype=torch.float32)
    normalised = 2 * (points + torch.div(size, 2, rounding_mode="floor")) / (size - 1) - 1
    value = torch.nn.functional.grid_sample(grid[None, None], normalised[None, None, None], align_corners=True)
    return value.reshape(-1)


def _bisect(
    grid: torch.Tensor, level: float, start: torch.Tensor, toward: torch.Tensor, below: torch.Tensor, step: float
) -> torch.Tensor:
    """Refine depths between the first sample inside and the one before it."""
    inside, outside = below, below + step
    for _ in range(6):
        middle = (inside + outside) / 2
        within = _sample(grid, start + middle[:, None] * toward) >= level
        inside, outside = torch.where(within, middle, inside), torch.where(within, outside, middle)
    return (inside + outside) / 2


def _normals(grid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Outward unit normals in the map's axes from central differences over one voxel, ``(n, 3)``."""
    gradient = torch.stack(
        [_sample(grid, points + offset) - _sample(grid, points - offset) for offset in torch.eye(3)], dim=1
    )
    return -torch.nn.functional.normalize(gradient, dim=1)


def _open_sky(hit: SurfaceHit) -> Float:
    """Share of the sky that each surface point sees, 0 to 1, judged from the depth picture alone."""
    if not hit.hit.any():
        return np.ones_like(hit.depth_voxels)
    background = np.where(hit.hit, hit.depth_voxels, float(hit.depth_voxels[hit.hit].min()) - 8.0)
    jump = ndimage.maximum_filter(background, size=3) - background
    outline = np.clip(jump / 6.0 - 0.35, 0, 1) * 0.45
    return np.asarray(np.clip(1 - 0.65 * _closed(hit), 0.30, 1) * (1 - outline), dtype=np.float32)


def _closed(hit: SurfaceHit) -> Float:
    """How far each point lies below the mean height around it, in two sizes of neighbourhood.

    Hollows are wide, so every second ray in each direction is enough.
    """
    coarse = (slice(None, None, 2), slice(None, None, 2))
    there = hit.hit[coarse].astype(np.float32)
    depth = np.where(there > 0, hit.depth_voxels[coarse], 0.0)
    facing = hit.normals[coarse][..., 2]
    closed = np.zeros_like(depth)
    for radius_voxels in (2.5, 7.0):
        sigma = radius_voxels / hit.pixel_voxels / 2
        # Points without surface count as absent, not as deep, or every outline would glow.
        weight = np.maximum(ndimage.gaussian_filter(there, sigma, truncate=3.0), 1e-3)
        mean = ndimage.gaussian_filter(depth, sigma, truncate=3.0) / weight
        # On a slope that turns away from the viewer the neighbours are higher on one side without closing anything.
        turned = np.clip(ndimage.gaussian_filter(facing, sigma, truncate=3.0) / weight, 0, 1) ** 1.5
        closed += np.clip((mean - depth) / (2.2 * radius_voxels), 0, 1) * turned
    h, w = hit.hit.shape
    return np.asarray(np.repeat(np.repeat(closed, 2, axis=0), 2, axis=1)[:h, :w], dtype=np.float32)
