"""Keep classes in use and centred."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scherzer.particles.class_assignment import Assignment
from scherzer.particles.class_averages import circular_mask

EMPTY_SHARE = 0.1  # of the mean population, below which a class counts as empty
SPLIT_SHARE = 2.0  # of the mean population, above which a class may be split


def split_populous(assignment: Assignment, class_count: int, generator: torch.Generator) -> tuple[Assignment, Tensor]:
    """Give empty classes a random half of the most populous ones.

    A random half, not the worse-fitting one: that would sort particles by their contrast.

    Returns
    -------
    assignment : Assignment
        With half the members moved.
    reseeded : Tensor
        ``(k,)`` bool, classes that were empty and now are not.
    """
    classes = assignment.classes.clone()
    population = torch.zeros(class_count, device=classes.device)
    population.index_add_(0, classes[:, 0], assignment.weight.sum(1))
    mean = float(population.mean())
    reseeded = torch.zeros(class_count, dtype=torch.bool, device=classes.device)
    for empty in torch.argsort(population, stable=True).tolist():
        donor = int(population.argmax())
        if population[empty] >= EMPTY_SHARE * mean or population[donor] <= SPLIT_SHARE * mean:
            break
        members = torch.nonzero(classes[:, 0] == donor).flatten()
        drawn = torch.rand(len(members), generator=generator).to(classes.device) < 0.5
        chosen = members[drawn]
        classes[chosen] = torch.where(classes[chosen] == donor, empty, classes[chosen])
        population[empty] = population[donor] = population[donor] / 2
        reseeded[empty] = True
    return replace(assignment, classes=classes), reseeded


def mass_centre(averages: Tensor, diameter_px: float) -> Tensor:
    """Centre of the positive mass of ``(k, b, b)`` averages within the mask, from the box centre: ``(k, 2)``, x, y."""
    box = averages.shape[-1]
    mass = averages.clamp(min=0) * circular_mask(box, diameter_px, averages.device)
    total = mass.sum((-2, -1)).clamp(min=1e-12)
    side = torch.arange(box, device=averages.device, dtype=averages.dtype) - box // 2
    x = (mass.sum(-2) * side).sum(-1) / total
    y = (mass.sum(-1) * side).sum(-1) / total
    return torch.stack((x, y), dim=-1)
