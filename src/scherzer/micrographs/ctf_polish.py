"""The last step of a CTF fit: the maximum of the likelihood of a power spectrum, and the errors that go with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.micrographs.ctf_cells import Cells
from scherzer.micrographs.ctf_search import Astigmatic
from scherzer.micrographs.ring_model import Aberration, spline_basis

# Segments of the splines: of the background in log frequency, of its two-fold part, of the rings' depth in frequency.
BACKGROUND_SEGMENTS, TWOFOLD_SEGMENTS, DEPTH_SEGMENTS = 6, 2, 5
# Where the depth of the rings starts, and the width of its prior, as inverse hyperbolic tangents.
DEPTH_START, DEPTH_PRIOR = 0.2, 1.0
# The first parameters are the mean defocus and its two astigmatic parts, in this unit, and the phase shift in rad.
DEFOCUS_UNIT_A = 100.0
GEOMETRY = 4
STEPS = 20
# After so many steps the weights stay as they are, so that the rest converges.
REWEIGHTED_STEPS = 4
# Cells further off than so many standard deviations count less (Huber): lattice spots, ice crystals.
HUBER = 3.5
# Sectors and bins over which the scatter is measured: powers of neighbouring pixels are not independent.
BLOCK = (2, 4)


@dataclass(frozen=True)
class Polished:
    """The optimum, with standard errors from the curvature of the likelihood.

    Attributes
    ----------
    defocus : Astigmatic
        Fitted defocus.
    phase_shift_rad : float
        Fitted, or as given; in [0, pi).
    defocus_error_A, astigmatism_error_A, phase_shift_error_rad : float
        Of the mean defocus, of either component of the difference of the two defoci, and of the phase shift.
    background, depth : Tensor
        ``(sectors, m)``: power without rings in every cell, and the depth of the rings relative to it, -1 to 1.
    """

    defocus: Astigmatic
    phase_shift_rad: float
    defocus_error_A: float
    astigmatism_error_A: float
    phase_shift_error_rad: float
    background: Tensor
    depth: Tensor


@dataclass(frozen=True)
class _Problem:
    """What stays the same while the parameters change; ``(sectors, m)``, bases ``(sectors, m, splines)``."""

    cells: Cells
    optics: Aberration
    cosine: Tensor
    sine: Tensor
    depth: Tensor
    background: Tensor
    precision: Tensor
    centre: Tensor


@dataclass(frozen=True)
class _Weights:
    """Weight of each cell ``(sectors, m)``, and variance of what whole rings of cells are off by ``(m,)``."""

    cell: Tensor
    ring_variance: Tensor


def polish(
    measured: Cells,
    optics: Aberration,
    start: Astigmatic,
    phase_shift_rad: float,
    tolerated_astigmatism_A: float,
    fit_phase_shift: bool = False,
) -> Polished | None:
    """Fit defocus, astigmatism and angle, and phase shift if wanted, with the background and the depth of the rings.

    The mean power of a cell is ``exp(b) (1 - tanh(a) cos 2 chi)``, with splines ``b`` over frequency and, two-fold,
    direction, and ``a`` over frequency: the depth may change its sign, as in thick ice. Relative powers scatter alike
    everywhere, so that Fisher scoring of the likelihood is repeated least squares of ``power / model - 1``. The scatter
    is measured, and so is what whole rings of cells are off by: fringes of the particles' form factor count less for
    the mean defocus, but not for the astigmatism.

    Parameters
    ----------
    optics : Aberration
        Of the cells, without phase shift.
    start : Astigmatic
        Within half a ring of the answer.
    phase_shift_rad : float
        Known, or near the answer.
    tolerated_astigmatism_A : float
        Width of the prior on the difference of the two defoci.

    Returns
    -------
    Polished or None
        None if the fit leaves the ring on which it starts: it has lost its way, not found a better answer.

    References
    ----------
    Whittle 1953, Ark. Mat. 2, 423, for the likelihood of a spectrum.
    """
    problem = _problem(measured, optics, phase_shift_rad, tolerated_astigmatism_A, fit_phase_shift)
    values = begin = _start(problem, start)
    # Of the defocus, by which the rings at the end of the band turn by half.
    reach = math.pi / 2 / float(problem.optics.per_defocus.max()) / DEFOCUS_UNIT_A
    weights = None
    for number in range(STEPS):
        residual, jacobian = _linearised(problem, values)
        if weights is None or number < REWEIGHTED_STEPS:
            weights = _weights(problem, residual)
        curvature, gradient = _normal_equations(problem, residual, jacobian, weights, values)
        step = torch.linalg.lstsq(curvature, gradient[:, None]).solution[:, 0]
        if not bool(torch.isfinite(step).all()):
            return None
        # No step jumps over a ring or turns the depth around.
        step = step * min(1.0, reach / float(step[:3].abs().max()), 1.0 / float(step[3:].abs().max()))
        values = values + step
        if number >= REWEIGHTED_STEPS and float(step[:GEOMETRY].abs().max()) < 1e-3:
            break
    if float((values - begin)[:3].abs().max()) > 2 * reach * (2 if fit_phase_shift else 1):
        return None
    errors = torch.linalg.inv(curvature).diagonal()[:GEOMETRY].clamp_min(0).sqrt().float().tolist()
    # Single precision: the last digits of a small matrix's solution depend on where in memory it lies.
    mean, cosine, sine = (DEFOCUS_UNIT_A * values[:3]).float().tolist()
    splines = problem.depth.shape[-1]
    return Polished(
        Astigmatic(mean, cosine, sine),
        float(values[3].float()) % math.pi if fit_phase_shift else phase_shift_rad,
        DEFOCUS_UNIT_A * errors[0],
        2 * DEFOCUS_UNIT_A * math.hypot(errors[1], errors[2]) / math.sqrt(2),
        errors[3] if fit_phase_shift else 0.0,
        torch.exp(problem.background @ values[GEOMETRY + splines :]),
        torch.tanh(problem.depth @ values[GEOMETRY : GEOMETRY + splines]),
    )


def _problem(
    measured: Cells, optics: Aberration, phase_shift_rad: float, tolerated_astigmatism_A: float, fit_phase_shift: bool
) -> _Problem:
    frequency = torch.sqrt(measured.k2)
    used = measured.count > 0
    # Cells without pixels have no place; any within the band will do.
    frequency = torch.where(used, frequency, frequency[used].mean())
    cosine, sine = torch.cos(2 * measured.angle_rad), torch.sin(2 * measured.angle_rad)
    background = spline_basis(frequency.log(), BACKGROUND_SEGMENTS)
    twofold = spline_basis(frequency.log(), TWOFOLD_SEGMENTS)
    background = torch.cat([background, twofold * cosine[..., None], twofold * sine[..., None]], dim=-1)
    depth = spline_basis(frequency, DEPTH_SEGMENTS)
    precision = torch.full((GEOMETRY + depth.shape[-1] + background.shape[-1],), 1e-6).to(frequency)
    precision[0] = 0.0
    precision[1:3] = (2 * DEFOCUS_UNIT_A / tolerated_astigmatism_A) ** 2
    precision[3] = 0.0 if fit_phase_shift else 1e12
    precision[GEOMETRY : GEOMETRY + depth.shape[-1]] = DEPTH_PRIOR**-2
    centre = torch.zeros_like(precision)
    centre[3] = phase_shift_rad
    return _Problem(measured, optics, cosine, sine, depth, background, precision, centre)


def _start(problem: _Problem, start: Astigmatic) -> Tensor:
    """Return the given geometry, rings of some depth, and the background that fits the log power best."""
    values = problem.centre.clone()
    splines = problem.depth.shape[-1]
    values[:3] = torch.tensor([start.mean_A, start.cosine_A, start.sine_A]) / DEFOCUS_UNIT_A
    values[GEOMETRY : GEOMETRY + splines] = DEPTH_START
    weighted = (problem.background * problem.cells.count[..., None]).flatten(0, 1)
    basis = problem.background.flatten(0, 1)
    curvature = weighted.T @ basis
    curvature += 1e-9 * curvature.diagonal().mean() * torch.eye(len(curvature)).to(curvature)
    log_power = problem.cells.power.clamp_min(1e-12).log().flatten()
    values[GEOMETRY + splines :] = torch.linalg.solve(curvature, weighted.T @ log_power)
    return values


def _linearised(problem: _Problem, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the relative residual ``(sectors, m)`` and the derivatives of the log model ``(sectors, m, p)``."""
    splines = problem.depth.shape[-1]
    defocus = DEFOCUS_UNIT_A * (values[0] + values[1] * problem.cosine + values[2] * problem.sine)
    twice = 2 * (problem.optics.per_defocus * defocus + problem.optics.rest_rad + values[3])
    depth = torch.tanh(problem.depth @ values[GEOMETRY : GEOMETRY + splines])
    cosine = torch.cos(twice)
    modulation = (1 - depth * cosine).clamp_min(1e-3)
    background = problem.background @ values[GEOMETRY + splines :]
    residual = problem.cells.power * torch.exp(-background) / modulation - 1
    by_phase = 2 * depth * torch.sin(twice) / modulation
    by_defocus = by_phase * problem.optics.per_defocus * DEFOCUS_UNIT_A
    by_depth = problem.depth * (-(1 - depth.square()) * cosine / modulation)[..., None]
    geometry = torch.stack([by_defocus, by_defocus * problem.cosine, by_defocus * problem.sine, by_phase], dim=-1)
    return residual, torch.cat([geometry, by_depth, problem.background], dim=-1)


def _weights(problem: _Problem, residual: Tensor) -> _Weights:
    """Measure the scatter of single cells and of whole rings of them."""
    count = problem.cells.count
    pixels = count.sum(0).clamp_min(1e-9)
    ring = (count * residual).sum(0) / pixels
    # Per pixel: from the sums over blocks of neighbouring cells, whose powers are correlated.
    weighted = count * (residual - ring)
    rows, columns = (size - size % block for size, block in zip(count.shape, BLOCK, strict=True))

    def blocks(values: Tensor) -> Tensor:
        whole = values[:rows, :columns].reshape(rows // BLOCK[0], BLOCK[0], columns // BLOCK[1], BLOCK[1])
        return whole.sum((1, 3))

    in_block = blocks(count)
    scatter = blocks(weighted).square() / in_block.clamp_min(1e-9)
    per_pixel = float(scatter[in_block > 0].mean() if bool((scatter > 0).any()) else 1.0) + 1e-12
    off = residual.abs() * torch.sqrt(count / per_pixel)
    cell = count / per_pixel * (HUBER / off.clamp_min(HUBER))
    excess = ring.square() - 1 / cell.sum(0).clamp_min(1e-9)
    position = torch.arange(len(excess), dtype=excess.dtype, device=excess.device)
    kernel = torch.exp(-0.5 * ((position[:, None] - position) / (len(excess) / 20)).square()) * pixels
    return _Weights(cell, ((kernel @ excess) / kernel.sum(1)).clamp_min(0))


def _normal_equations(
    problem: _Problem, residual: Tensor, jacobian: Tensor, weights: _Weights, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Return curvature ``(p, p)`` and gradient ``(p,)`` of the log likelihood and the priors.

    A variance common to all cells of a ring adds one rank to their covariance, which Sherman and Morrison invert.
    """
    weighted = weights.cell[..., None] * jacobian
    curvature = weighted.flatten(0, 1).T @ jacobian.flatten(0, 1)
    gradient = (weighted * residual[..., None]).sum((0, 1))
    by_ring, residual_by_ring = weighted.sum(0), (weights.cell * residual).sum(0)
    share = weights.ring_variance / (1 + weights.ring_variance * weights.cell.sum(0))
    curvature = curvature - by_ring.T @ (share[:, None] * by_ring) + torch.diag(problem.precision)
    gradient = gradient - by_ring.T @ (share * residual_by_ring) - problem.precision * (values - problem.centre)
    return curvature, gradient
