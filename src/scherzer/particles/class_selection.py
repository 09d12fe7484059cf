"""Keep the class averages that show a particle: gates with a reason each, then one frozen score; nobody looks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.particles.class_features import measure_classes
from scherzer.particles.classification2d import Class2DResult

# The frozen score: a logistic function of these features (natural units, see _features), the same for all data.
# Each term is about 0 for an average at the limit of use, and its weight says how many odds a unit of it is worth.
WEIGHTS = {
    "log population over a thousandth": 0.3,
    "log of 25 A over the resolution": 2.0,
    "off centre, in 0.1 diameters": -1.0,
    "bright share of the rim, in halves": -2.0,
    "probability of noise, in tenths": -0.6,
    "separation of bright and dark, above 0.6": 5.0,
    "darkness, in tenths above 0.2": -0.5,
}
INTERCEPT = 2.0


@dataclass(frozen=True)
class ClassSelectionSettings:
    """Limits beyond which a class is not kept.

    They are the same for every contrast group of a study, or the choice of classes would favour one of them.

    Attributes
    ----------
    min_population_share : float
        Of all particles.
    max_resolution_A : float
        Coarser averages are not kept.
    min_foreground_diameters, max_off_centre_diameters : float
        Size of the bright component, and distance of its centroid from the centre.
    max_rim_share : float
        Share of the mask's rim that is bright: a particle cut by the mask, or neighbours on both sides.
    max_darkness : float
        How dark the darkest parts may be against the brightest, see :class:`ClassFeatures`.
    max_noise_probability : float
        Mean over the class's particles that are not noise themselves.
    max_shift_diameters : float
        Mean distance of the class's particles from where they were picked: such a class centres the neighbours of
        its picks, which are picks themselves.
    min_score : float
        Of the frozen score.
    max_misfit : float
        Of a particle, see :class:`Class2DResult`; those beyond are left out of the kept classes.
    """

    min_population_share: float = 0.0035
    max_resolution_A: float = 40.0
    min_foreground_diameters: float = 0.35
    max_off_centre_diameters: float = 0.12
    max_rim_share: float = 0.6
    max_darkness: float = 0.3
    max_noise_probability: float = 0.25
    max_shift_diameters: float = 0.25
    min_score: float = 0.5
    max_misfit: float = 1.7


@dataclass(frozen=True)
class ClassSelection:
    """Which of K classes are kept.

    Attributes
    ----------
    keep : Tensor
        ``(K,)`` bool.
    score : Tensor
        ``(K,)`` float32, 0 to 1; 0 for an empty class.
    reason : list of str
        Why a class is not kept, one sentence; empty where it is.
    """

    keep: Tensor
    score: Tensor
    reason: list[str]


def select_classes(
    result: Class2DResult, diameter_A: float, pixel_size_A: float, settings: ClassSelectionSettings | None = None
) -> ClassSelection:
    """Choose the classes whose average shows a particle.

    Parameters
    ----------
    result : Class2DResult
        Of K classes.
    diameter_A : float
        Of the particle.
    pixel_size_A : float
        Of the averages, ``result.pixel_size_A``.
    settings : ClassSelectionSettings, optional
        Limits.

    Raises
    ------
    ValueError
        If the pixel size is not that of the averages.
    """
    settings = settings or ClassSelectionSettings()
    if abs(pixel_size_A / result.pixel_size_A - 1) > 1e-3:
        raise ValueError(f"the averages have {result.pixel_size_A:.4g} A pixels, not {pixel_size_A:.4g}")
    features = measure_classes(result.averages, diameter_A, pixel_size_A)
    share = result.population / max(int(result.population.sum()), 1)
    members, count = ~result.is_noise, len(result.population)
    noise = class_mean(result.noise_probability[members], result.class_index[members], count)
    shift = class_mean(result.shift_A[members].norm(dim=1), result.class_index[members], count) / diameter_A
    gates = [
        (result.population == 0, "no particles", share),
        (share < settings.min_population_share, "holds only {:.2%} of the particles", share),
        (
            result.class_resolution_A > settings.max_resolution_A,
            "its two halves agree only to {:.0f} A",
            result.class_resolution_A,
        ),
        (
            features.darkness > settings.max_darkness,
            "its dark parts are {:.0%} as strong as its bright",
            features.darkness,
        ),
        (noise > settings.max_noise_probability, "its images are noise with probability {:.2f}", noise),
        (
            features.foreground_diameter < settings.min_foreground_diameters,
            "the bright part is only {:.2f} diameters across",
            features.foreground_diameter,
        ),
        (
            features.off_centre > settings.max_off_centre_diameters,
            "lies {:.2f} diameters off the centre",
            features.off_centre,
        ),
        (shift > settings.max_shift_diameters, "its particles lie {:.2f} diameters off their picks", shift),
        (features.rim_share > settings.max_rim_share, "reaches {:.0%} of the mask's edge", features.rim_share),
    ]
    terms = (
        torch.log(share.clamp(min=1e-6) / 1e-3),
        torch.log(25.0 / result.class_resolution_A),
        features.off_centre / 0.1,
        features.rim_share / 0.5,
        noise / 0.1,
        features.separation - 0.6,
        (features.darkness - 0.2).clamp(min=0) / 0.1,
    )
    weighted = torch.stack([w * term for w, term in zip(WEIGHTS.values(), terms, strict=True)])
    score = torch.sigmoid(INTERCEPT + weighted.sum(0)) * (result.population > 0)
    gates.append((score < settings.min_score, "scores only {:.2f}", score))
    reason = [
        next((text.format(float(value[k])) for fails, text, value in gates if bool(fails[k])), "")
        for k in range(len(share))
    ]
    return ClassSelection(torch.tensor([not text for text in reason], device=share.device), score, reason)


def class_mean(values: Tensor, class_index: Tensor, class_count: int) -> Tensor:
    """Mean of ``(n,)`` values over the members of each class, ``(K,)``; 0 for an empty class."""
    sums = values.new_zeros(class_count).index_add_(0, class_index, values)
    return sums / torch.bincount(class_index, minlength=class_count).clamp(min=1)
