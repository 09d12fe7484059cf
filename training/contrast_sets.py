"""Sets of labelled micrographs: what the classifier gets to see of them, and the truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from contrast_scenes import Scene
from torch import Tensor

from scherzer.micrographs.contrast.logistic import FEATURES, features_of
from scherzer.micrographs.contrast.measurements import CtfNumbers, measure_whitened
from scherzer.micrographs.contrast.visibility import LABELS, label_of
from scherzer.micrographs.contrast.whitening import tile_spectrum, whiten
from scherzer.micrographs.ctf_estimation import estimate_ctf
from scherzer.micrographs.ctf_fit import CtfSettings
from scherzer.simulate.exposure import simulate_exposure
from scherzer.simulate.truth import truth_of

# Without a particle none is visible: such images count as the low end of bad, and so does whatever lies lower.
LOWEST_D_PRIME = 3.0


@dataclass(frozen=True)
class LabelledSet:
    """Micrographs with their truth.

    Attributes
    ----------
    images : list of Tensor
        ``n`` whitened images.
    features : Tensor
        ``(n, f)`` of the physical rival; NaN where they were not measured.
    log_d_prime, classes : Tensor
        ``(n,)``.
    facts : list of dict
        ``n``: session, specimen, voltage, pixel size, thickness of the ice, defocus.
    """

    images: list[Tensor]
    features: Tensor
    log_d_prime: Tensor
    classes: Tensor
    facts: list[dict[str, Any]]

    def column(self, name: str) -> list[Any]:
        """Return one fact of every micrograph."""
        return [fact[name] for fact in self.facts]


def make_set(scenes: Sequence[Scene], measured: int, progress: Callable[[int], None] | None = None) -> LabelledSet:
    """Simulate micrographs.

    Parameters
    ----------
    scenes : sequence of Scene
        One a micrograph.
    measured : int
        The first so many get the measurements, which take almost as long as the image.
    progress : callable, optional
        Called with the number made.
    """
    images, features, values, facts = [], [], [], []
    for index, scene in enumerate(scenes):
        image, found, d_prime = _make(scene, index < measured)
        images.append(image)
        features.append(found)
        values.append(max(LOWEST_D_PRIME, d_prime) if math.isfinite(d_prime) else LOWEST_D_PRIME)
        facts.append(_facts(scene))
        if progress:
            progress(index + 1)
    classes = [LABELS.index(label_of(value)) for value in values]
    return LabelledSet(images, torch.stack(features), torch.tensor(values).log(), torch.tensor(classes), facts)


def _make(scene: Scene, measured: bool) -> tuple[Tensor, Tensor, float]:
    specimen, settings = scene.subject.specimen, scene.settings
    exposure = simulate_exposure(scene.plan, specimen, settings)
    image = torch.from_numpy(next(exposure.frames).astype(np.float32))
    d_prime = float(truth_of(exposure, "", specimen, settings).micrograph["sczDetectability"])
    optics = settings.microscope.optics
    spectrum = tile_spectrum(image, optics.pixel_size_A)
    whitened = whiten(image, optics.pixel_size_A, spectrum)
    if not measured:
        return whitened.values, torch.full((len(FEATURES),), torch.nan), d_prime
    # The fit is only polished around the truth: the search for it is tested elsewhere and takes most of the time.
    defocus_A = (scene.plan.defocus_u_A + scene.plan.defocus_v_A) / 2
    near = CtfSettings(
        min_defocus_A=max(defocus_A - 600, 1000),
        max_defocus_A=defocus_A + 600,
        max_astigmatism_A=600,
        rings_confidence=0.0,
    )
    numbers = CtfNumbers.of(estimate_ctf(image, optics, near))
    return whitened.values, features_of(measure_whitened(image, optics, spectrum, whitened, numbers)), d_prime


def _facts(scene: Scene) -> dict[str, Any]:
    plan, microscope = scene.plan, scene.settings.microscope
    return {
        "session": scene.session,
        "specimen": scene.subject.name,
        "voltage_kV": microscope.voltage_kV,
        "pixel_size_A": microscope.pixel_size_A,
        "thickness_A": plan.thickness_A,
        "defocus_um": (plan.defocus_u_A + plan.defocus_v_A) / 2e4,
        "dose_e_per_A2": scene.settings.exposure.dose_e_per_A2,
        "diameter_A": 2 * scene.subject.specimen.radius_A,
        "faults": "+".join(plan.faults),
    }
