"""The physical rival of the network: a softmax regression on seven measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.contrast.measurements import Measurements

FEATURES = (
    "log particle-band power",
    "log band ratio",
    "Thon amplitude",
    "fit resolution",
    "skewness",
    "power spread",
    "empty fraction",
)
RIDGE = 1e-3
STEPS = 200


def features_of(found: Measurements) -> Tensor:
    """Return the regression's inputs, ``(7,)``; NaN where a measurement is missing."""
    resolution = found.fit_resolution_A
    return torch.tensor(
        [
            math.log(max(found.particle_band_power, 0.02)),
            math.log(max(found.band_ratio, 0.1)),
            min(max(found.thon_amplitude, -1.0), 3.0) if not math.isnan(found.thon_amplitude) else math.nan,
            # Beyond 5 A the number depends on the pixel size more than on the specimen.
            1 / max(resolution, 5.0) if not math.isnan(resolution) else math.nan,
            found.skewness,
            min(found.power_spread, 2.0),
            found.empty_fraction,
        ]
    )


@dataclass(frozen=True)
class LogisticModel:
    """Softmax regression; the squares of the standardised features are features too.

    Attributes
    ----------
    centre, scale : Tensor
        ``(f,)``, of the training set.
    weights : Tensor
        ``(3, 2 f + 1)``, the last column the constant.
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor

    def probabilities(self, features: Tensor) -> Tensor:
        """Return ``(n, 3)`` for ``(n, f)``; a missing feature takes its mean."""
        return torch.softmax(_expanded(features, self.centre, self.scale) @ self.weights.T, 1)


def fit_logistic(features: Tensor, classes: Tensor) -> LogisticModel:
    """Fit the regression.

    Parameters
    ----------
    features : Tensor
        ``(n, f)``, NaN where missing.
    classes : Tensor
        ``(n,)`` int64: 0 good, 1 moderate, 2 bad.
    """
    centre = features.nanmean(0)
    scale = torch.sqrt((features - centre).square().nanmean(0)).clamp(min=1e-6)
    inputs = _expanded(features, centre, scale)
    weights = torch.zeros(3, inputs.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(inputs @ weights.T, classes) + RIDGE * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[arg-type]
    return LogisticModel(centre, scale, weights.detach())


def _expanded(features: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
    standard = torch.nan_to_num((features - centre) / scale, nan=0.0).clamp(-4, 4)
    return torch.cat([standard, standard.square(), torch.ones(len(features), 1)], 1)
