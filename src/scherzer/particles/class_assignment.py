"""Which class each particle belongs to, at which angle and shift, and how probable it is that it is no particle."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.band import Band
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import ScoredImages, band_ctf, cross_term
from scherzer.likelihood.search import Candidates, reference_bank, search, shift_grid
from scherzer.particles.class_averages import HALVES

CANDIDATES = 8  # candidates kept of each particle; more changed no average
FINER = 3  # how much finer angles and shifts are searched about the best candidate
CHUNK = 512  # particles of which the finer search is done at a time
RAYLEIGH_MEDIAN = math.sqrt(2 * math.log(2))  # of the length of a Gaussian vector in the plane, in sigmas
LEAST_SHARE = 0.01  # of the best candidate's weight; below it a candidate is dropped


@dataclass(frozen=True)
class Assignment:
    """Posterior of n particles over classes, angles and shifts; c candidates each, the best first.

    Attributes
    ----------
    classes, angles : Tensor
        ``(n, c)`` int64.
    shift_px : Tensor
        ``(n, c, 2)`` where the particle lies from the centre of its image.
    weight : Tensor
        ``(n, c)``: posterior probability; the rest to 1 is that of the flat class.
    score : Tensor
        ``(n,)`` log likelihood gain of the best candidate over the flat class.
    """

    classes: Tensor
    angles: Tensor
    shift_px: Tensor
    weight: Tensor
    score: Tensor

    def probability_of_classes(self, class_count: int) -> Tensor:
        """Posterior over classes, ``(n, k)``."""
        result = self.weight.new_zeros((len(self.weight), class_count))
        return result.scatter_add_(1, self.classes, self.weight)


def assign(
    images: ScoredImages,
    half: Tensor,
    references: Tensor,
    shifts_px: Tensor,
    *,
    temperature: float = 1.0,
    shift_sigma_px: float,
    flat_class: bool = True,
) -> Assignment:
    """Search all classes, angles and shifts; every half-set against its own averages.

    Parameters
    ----------
    images : ScoredImages
        n images.
    half : Tensor
        ``(n,)``, 1 or 2.
    references : Tensor
        ``(2, k, p, m)`` averages of both half-sets, turned by p angles, on the images' band.
    shifts_px : Tensor
        ``(t, 2)``.
    temperature : float
        Log likelihoods are divided by it.
    shift_sigma_px : float
        Standard deviation of the shifts expected, per axis.
    flat_class : bool
        Whether a particle may be none. The flat class has score 0 by construction, and a class's evidence is the
        mean of its likelihood over all angles and shifts, so trying many does not make noise a particle.
    """
    prior = -(shifts_px**2).sum(1) / (2 * shift_sigma_px**2)
    prior = prior - torch.logsumexp(prior, 0)
    _, class_count, angles, _ = references.shape
    reference_count = class_count * angles
    n, device = len(images), images.data.device
    keep = min(CANDIDATES, reference_count)
    found = Candidates(
        torch.zeros((n, keep), dtype=torch.int64, device=device),
        torch.zeros((n, keep, 2), device=device),
        torch.zeros((n, keep), device=device),
    )
    for number in range(HALVES):
        members = torch.nonzero(half == number + 1).flatten()
        if len(members) == 0:
            continue
        rendered = references[number].flatten(0, 1)
        part = search(images[members], reference_bank(rendered), shifts_px, keep=keep, shift_log_prior=prior)
        found.reference[members], found.shift_px[members], found.score[members] = (
            part.reference,
            part.shift_px,
            part.score,
        )
    evidence = (found.score - math.log(reference_count)) / temperature
    flat = torch.zeros_like(evidence[:, :1]) if flat_class else torch.full_like(evidence[:, :1], -torch.inf)
    weight = torch.softmax(torch.cat((evidence, flat), dim=1), dim=1)[:, :-1]
    particle = weight.sum(1, keepdim=True)
    weight = torch.where(weight >= LEAST_SHARE * weight.amax(1, keepdim=True), weight, torch.zeros_like(weight))
    weight = weight * (particle / weight.sum(1, keepdim=True).clamp(min=1e-30))
    return Assignment(found.reference // angles, found.reference % angles, found.shift_px, weight, found.score[:, 0])


def refine_best(
    images: ScoredImages,
    half: Tensor,
    references: Tensor,
    assignment: Assignment,
    shift_step_px: float,
    shift_sigma_px: float,
) -> Assignment:
    """Search more finely about the best candidate of each particle.

    Parameters
    ----------
    images, half
        As for :func:`assign`.
    references : Tensor
        ``(2, k, FINER * p, m)``: the averages that :func:`assign` was given, turned by ``FINER`` times as many angles.
    assignment : Assignment
        From :func:`assign`.
    shift_step_px : float
        Step of its shifts.
    shift_sigma_px : float
        As for :func:`assign`.

    Returns
    -------
    Assignment
        Angles are numbers in the finer set; only the first candidate has moved.
    """
    angle_count = references.shape[2]
    turns = torch.arange(-(FINER // 2), FINER // 2 + 1, device=half.device)
    nearby = shift_grid(shift_step_px * 0.7, shift_step_px / FINER, half.device)
    angles, shift_px, score = assignment.angles * FINER, assignment.shift_px.clone(), assignment.score.clone()
    for rows in torch.arange(len(images), device=half.device).split(CHUNK):
        tried = (angles[rows, :1] + turns) % angle_count
        values = references[half[rows, None] - 1, assignment.classes[rows, :1], tried]
        prior = -(shift_px[rows, 0, None] + nearby).square().sum(-1) / (2 * shift_sigma_px**2)
        found = cross_term(images[rows].shifted_back(shift_px[rows, 0]), values, nearby) + prior[:, None]
        score[rows], best = found.flatten(1).max(1)
        angles[rows, 0] = tried.gather(1, (best // len(nearby))[:, None])[:, 0]
        shift_px[rows, 0] += nearby[best % len(nearby)]
    return replace(assignment, angles=angles, shift_px=shift_px, score=score)


def shift_spread_px(assignment: Assignment) -> float | None:
    """Return the standard deviation of the shifts found along each axis, px; None where there is no particle.

    It comes from the median, so that the far shifts of what is no particle do not widen it.
    """
    length = assignment.shift_px[:, 0].norm(dim=1)[assignment.weight.sum(1) > 0.5]
    return float(length.median()) / RAYLEIGH_MEDIAN if len(length) else None


def best_fit(part: ParticleSet, rows: Tensor, assignment: Assignment, references: Tensor, band: Band) -> Tensor:
    """Return the best candidate's average as an image shows it, ``(r, p)``: with its CTF, turned and shifted.

    Parameters
    ----------
    part : ParticleSet
        r particles.
    rows : Tensor
        ``(r,)`` their places in the assignment.
    assignment : Assignment
        Of all particles.
    references : Tensor
        ``(2, k, a, m)`` averages of both half-sets, turned; m is p or more.
    band : Band
        Of p frequencies, the first of the references'.
    """
    average = references[part.half - 1, assignment.classes[rows, 0], assignment.angles[rows, 0], : len(band)]
    return band_ctf(part, band) * phase_ramp(assignment.shift_px[rows, 0] / band.box, band.kx, band.ky) * average
