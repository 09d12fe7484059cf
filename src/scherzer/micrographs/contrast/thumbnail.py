"""A micrograph as a small picture at one pixel size, with its grey levels as they are."""

from __future__ import annotations

import torch
from torch import Tensor

PIXEL_A = 8.0
# Beyond so many robust standard deviations lie hot and dead pixels, averaged with their neighbours.
HOT_SIGMA = 20.0
# Pictures coarser than this cannot be brought to 8 A: they are taken as they are.
AS_IT_IS_A = 6.5


def thumbnail(image: Tensor, pixel_size_A: float) -> Tensor:
    """Resample a micrograph to 8 A; white noise stays white.

    Parameters
    ----------
    image : Tensor
        ``(h, w)``.
    pixel_size_A : float
        Pixel size. From 6.5 A on the image is returned as it is: a picture kept for people, whose scale is hardly
        known.
    """
    values = image.float()
    if pixel_size_A >= AS_IT_IS_A:
        return values
    factor = max(1, int(PIXEL_A / 2 / pixel_size_A))
    if factor > 1:
        values = torch.nn.functional.avg_pool2d(values[None, None], factor)[0, 0]
    sample = values.flatten()[:: max(1, values.numel() // 50_000)]
    centre = sample.median()
    spread = 1.4826 * (sample - centre).abs().median()
    if spread > 0:
        values = values.clamp(float(centre - HOT_SIGMA * spread), float(centre + HOT_SIGMA * spread))
    height, width = (side - side % 2 for side in values.shape)
    values = values[:height, :width]
    scale = pixel_size_A * factor / PIXEL_A
    rows, columns = (max(2, 2 * round(side * scale / 2)) for side in (height, width))
    # A transform takes the step between opposite edges for detail: a ramp from edge to edge goes first, and comes back.
    ramp = _edges(values)
    transform = torch.fft.rfft2(values - _plane(ramp, height, width))
    keep_y, keep_x = rows // 2, columns // 2
    cropped = torch.zeros(rows, columns // 2 + 1, dtype=transform.dtype, device=values.device)
    cropped[:keep_y, :keep_x] = transform[:keep_y, :keep_x]
    cropped[-keep_y + 1 :, :keep_x] = transform[-keep_y + 1 :, :keep_x]
    small = torch.fft.irfft2(cropped * (rows * columns / (height * width)), s=(rows, columns))
    return small + _plane(ramp, rows, columns)


def _edges(values: Tensor) -> tuple[float, float]:
    """Change of level from top to bottom and from left to right, by the means of the outer tenths."""
    tenth = [max(1, side // 10) for side in values.shape]
    down = float(values[-tenth[0] :].mean() - values[: tenth[0]].mean()) / 0.9
    across = float(values[:, -tenth[1] :].mean() - values[:, : tenth[1]].mean()) / 0.9
    return down, across


def _plane(ramp: tuple[float, float], height: int, width: int) -> Tensor:
    y, x = (torch.linspace(-0.5, 0.5, side) for side in (height, width))
    return ramp[0] * y[:, None] + ramp[1] * x[None, :]
