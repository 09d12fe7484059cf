"""Reference-free 2D classification by expectation and maximisation on the shared likelihood engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scherzer.fourier.crop import even_fast_length
from scherzer.likelihood.band import Band, make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.likelihood.score import ScoredImages, prepare
from scherzer.likelihood.search import shift_grid
from scherzer.particles.class_assignment import FINER, Assignment, assign, refine_best, shift_spread_px
from scherzer.particles.class_averages import Averages, ClassSums, add_particles, make_averages
from scherzer.particles.class_misfit import unexplained_power
from scherzer.particles.class_noise import residual_noise
from scherzer.particles.class_rounds import Class2DSettings, Round, number_of_classes, schedule
from scherzer.particles.class_upkeep import mass_centre, split_populous
from scherzer.particles.image_rotation import RotatedBand, even_angles, rotated_band, turned_back

__all__ = ["Class2DResult", "Class2DSettings", "classify2d"]

Progress = Callable[[float, str], None]

ANGLE_FACTOR = 1.5  # in-plane step in units of resolution / diameter: 3/8 of the resolution at the particle's edge
SHIFT_FACTOR = 3.0  # shifts are a third of the resolution apart
SHARED_A = 30.0  # to this resolution the half-sets hold one average between them
RECENTRE_EVERY = 2  # rounds
LEAST_FRC = 0.143  # ring correlation to which the averages are used
BETTER_CLASSES = 0.25  # share of the classes that decides how far that is
LOOK_AHEAD = 0.85  # resolution compared next, in units of that reached: finer shells would cost time and hold noise
SHIFT_SIGMA = 0.5  # expected shifts, in units of the largest tried, until they are measured
LEAST_SHIFT_SIGMA = 0.25  # the same, least that may be measured: a narrow prior would prove itself right
LONGEST_MOVE = 0.05  # of the diameter, in one recentring
NOISE_LIMIT = 0.5  # a particle that the flat class explains better than all others together is none


@dataclass(frozen=True)
class Class2DResult:
    """Class averages and what belongs to them, for n particles and K classes.

    Attributes
    ----------
    averages : Tensor
        ``(K, b, b)`` float32, centred, white particles, in units of the particles' background deviation.
    pixel_size_A : float
        Of the averages, coarser than the particles'.
    class_index : Tensor
        ``(n,)`` int64.
    psi_rad : Tensor
        ``(n,)`` in-plane angle: the particle is the average turned by it (RELION's psi).
    shift_A : Tensor
        ``(n, 2)`` where the particle lies from the centre of its image, x and y; RELION's origin is minus this.
    probability : Tensor
        ``(n,)`` posterior of the class given that the particle is one.
    noise_probability : Tensor
        ``(n,)`` posterior of the flat class: there is no particle.
    misfit : Tensor
        ``(n,)`` power that the class average leaves unexplained in the particle's disc, in units of the median of the
        particles that are not noise.
    class_resolution_A : Tensor
        ``(K,)`` where the ring correlation of the half-sets' averages falls below 0.5.
    resolution_143_A : Tensor
        ``(K,)`` where it falls below 0.143.
    population : Tensor
        ``(K,)`` int64, particles whose most probable class this is and which are not noise.
    """

    averages: Tensor
    pixel_size_A: float
    class_index: Tensor
    psi_rad: Tensor
    shift_A: Tensor
    probability: Tensor
    noise_probability: Tensor
    misfit: Tensor
    class_resolution_A: Tensor
    resolution_143_A: Tensor
    population: Tensor

    @property
    def is_noise(self) -> Tensor:
        """Which particles are none, ``(n,)`` bool."""
        return self.noise_probability > NOISE_LIMIT


def with_two_halves(particles: ParticleSet) -> ParticleSet:
    """Return the particles, split anew by turns where a half-set holds less than a quarter (one micrograph, say)."""
    first = int((particles.half == 1).sum())
    if len(particles) < 4 * min(first, len(particles) - first):
        return particles
    turns = torch.arange(len(particles), device=particles.half.device) % 2 + 1
    return replace(particles, half=turns)


def classify2d(
    particles: ParticleSet,
    diameter_A: float,
    settings: Class2DSettings | None = None,
    progress: Progress | None = None,
) -> Class2DResult:
    """Sort particles into classes of like views.

    Parameters
    ----------
    particles : ParticleSet
        n particles.
    diameter_A : float
        Of the particle; averages are masked to it.
    settings : Class2DSettings, optional
        Number of classes, resolution, rounds.
    progress : callable, optional
        Told the fraction done and what is being done.

    Raises
    ------
    ValueError
        If there are no particles, or the box is not larger than the particle.

    References
    ----------
    Sigworth 1998, J. Struct. Biol. 122, 328 (likelihood of 2D alignment); Scheres 2012, J. Mol. Biol. 415, 406;
    Kimanius et al. 2021, Biochem. J. 478, 4169 (growing mini-batches).
    """
    settings = settings or Class2DSettings()
    if len(particles) == 0:
        raise ValueError("there are no particles to classify")
    if particles.extent_A <= diameter_A:
        raise ValueError(f"the box ({particles.extent_A:.0f} A) is not larger than the particle ({diameter_A:.0f} A)")
    box = min(particles.box, even_fast_length(2 * particles.extent_A / settings.nyquist_A))
    particles = with_two_halves(particles.resized(box))
    frame = _Frame(settings, diameter_A, particles.extent_A, number_of_classes(len(particles), settings), particles.box)
    generator = torch.Generator().manual_seed(settings.seed)
    rounds = schedule(len(particles), frame.class_count, settings)
    noise = image_power(particles)
    sums = _random_sums(particles, noise, frame, generator)
    averages = frame.average(sums, settings.start_A)
    sigma_px = frame.shift_sigma_px(None)
    for number, current in enumerate(rounds[:-1]):
        resolution_A = max(current.resolution_A, LOOK_AHEAD * frame.reach_A(averages))
        if progress is not None:
            progress(number / len(rounds), f"round {number + 1} of {len(rounds)} at {resolution_A:.0f} A")
        batch = torch.sort(torch.randperm(len(particles), generator=generator)[: current.batch]).values
        part = particles[batch.to(particles.transforms.device)]
        view = frame.view(resolution_A, part.transforms.device)
        images = prepare(part, view.band, noise)
        references = view.references(averages)
        assignment = frame.assign(images, part.half, references, view, current, sigma_px)
        if current.fine:
            assignment, view, references = _refined(images, part.half, assignment, averages, view, sigma_px)
        if current.keep == 0:
            sigma_px = frame.shift_sigma_px(assignment)
        assignment, _ = split_populous(assignment, frame.class_count, generator)
        fresh = _add(images, part.half, assignment, frame.class_count, view.rotated)
        if current.keep == 0:
            noise = residual_noise(part, noise, assignment, references, view.band)
        sums = fresh if current.keep == 0 else sums.faded(current.keep).plus(fresh)
        averages = frame.average(sums, resolution_A)
        if number % RECENTRE_EVERY == 1:
            sums = sums.moved(-frame.off_centre(averages))
            averages = frame.average(sums, resolution_A)
    result = _last_round(particles, noise, averages, frame, rounds[-1], sigma_px)
    if progress is not None:
        progress(1.0, f"{int((result.population > 0).sum())} classes")
    return result


@dataclass(frozen=True)
class _View:
    """The pixels, angles and shifts of one round."""

    band: Band
    angles: Tensor
    rotated: RotatedBand
    shifts_px: Tensor
    shift_step_px: float

    def references(self, averages: Averages) -> Tensor:
        """Turn the averages of both halves, ``(2, k, p, m)``."""
        return torch.stack([self.rotated.render(half) for half in averages.halves])


@dataclass(frozen=True)
class _Frame:
    """What stays the same in all rounds."""

    settings: Class2DSettings
    diameter_A: float
    extent_A: float
    class_count: int
    box: int

    @property
    def pixel_size_A(self) -> float:
        return self.extent_A / self.box

    @property
    def diameter_px(self) -> float:
        return self.diameter_A / self.pixel_size_A

    def view(self, resolution_A: float, device: torch.device) -> _View:
        band = make_band(self.box, min(self.extent_A / resolution_A, self.box / 2 - 1), device=device)
        step_rad = ANGLE_FACTOR * resolution_A / self.diameter_A
        angles = even_angles(math.ceil(2 * math.pi / step_rad), device)
        range_px = self.settings.shift_range_diameters * self.diameter_px
        step_px = min(resolution_A / SHIFT_FACTOR / self.pixel_size_A, range_px)
        return _View(band, angles, rotated_band(band, angles), shift_grid(range_px, step_px, device), step_px)

    def average(self, sums: ClassSums, resolution_A: float) -> Averages:
        return make_averages(sums, self.diameter_px, self.extent_A / SHARED_A, self.extent_A / resolution_A)

    def shift_sigma_px(self, found: Assignment | None) -> float:
        """Standard deviation of the shifts along each axis: as found on all particles, before that as expected."""
        range_px = self.settings.shift_range_diameters * self.diameter_px
        spread = None if found is None else shift_spread_px(found)
        return SHIFT_SIGMA * range_px if spread is None else max(spread, LEAST_SHIFT_SIGMA * range_px)

    def assign(
        self, images: ScoredImages, half: Tensor, references: Tensor, view: _View, current: Round, sigma_px: float
    ) -> Assignment:
        return assign(
            images,
            half,
            references,
            view.shifts_px,
            temperature=current.temperature,
            shift_sigma_px=sigma_px,
            flat_class=current.flat_class,
        )

    def reach_A(self, averages: Averages) -> float:
        """Resolution to which the better quarter of the classes holds signal."""
        return float(torch.quantile(averages.resolution_A(self.pixel_size_A, LEAST_FRC), BETTER_CLASSES))

    def off_centre(self, averages: Averages) -> Tensor:
        """How far each class is to be moved back, ``(k, 2)`` px, in limited steps."""
        centre = mass_centre(averages.joined, self.diameter_px)
        limit = LONGEST_MOVE * self.diameter_px
        return centre * (limit / centre.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(max=1)


def _random_sums(particles: ParticleSet, noise: Tensor, frame: _Frame, generator: torch.Generator) -> ClassSums:
    """Sums of random parts of the data, neither turned nor shifted."""
    count, device = len(particles), particles.transforms.device
    classes = (torch.arange(count) % frame.class_count)[torch.randperm(count, generator=generator)]
    band = make_band(frame.box, frame.extent_A / frame.settings.start_A, device=device)
    return add_particles(
        prepare(particles, band, noise),
        particles.half,
        classes.to(device)[:, None],
        torch.zeros((count, 1), dtype=torch.int64, device=device),
        torch.zeros((count, 1, 2), device=device),
        torch.ones((count, 1), device=device),
        frame.class_count,
        rotated_band(band, even_angles(1, device)),
    )


def _add(
    images: ScoredImages, half: Tensor, assignment: Assignment, class_count: int, rotated: RotatedBand
) -> ClassSums:
    return add_particles(
        images,
        half,
        assignment.classes,
        assignment.angles,
        assignment.shift_px,
        assignment.weight,
        class_count,
        rotated,
    )


def _refined(
    images: ScoredImages, half: Tensor, assignment: Assignment, averages: Averages, view: _View, sigma_px: float
) -> tuple[Assignment, _View, Tensor]:
    """Search finely about the best candidates; returns also the finer angles and the averages turned by them."""
    angles = even_angles(FINER * len(view.angles), half.device)
    fine = replace(view, angles=angles, rotated=rotated_band(view.band, angles))
    references = fine.references(averages)
    return refine_best(images, half, references, assignment, view.shift_step_px, sigma_px), fine, references


def _last_round(
    particles: ParticleSet, noise: Tensor, averages: Averages, frame: _Frame, current: Round, sigma_px: float
) -> Class2DResult:
    """Assign all particles, make the averages to Nyquist, centre them and carry the centring to the particles."""
    device = particles.transforms.device
    view = frame.view(max(current.resolution_A, LOOK_AHEAD * frame.reach_A(averages)), device)
    images = prepare(particles, view.band, noise)
    assignment = frame.assign(images, particles.half, view.references(averages), view, current, sigma_px)
    assignment, fine, references = _refined(images, particles.half, assignment, averages, view, sigma_px)
    unexplained = unexplained_power(particles, noise, assignment, references, view.band, frame.diameter_px)
    angles = fine.angles
    wide = make_band(frame.box, frame.box / 2 - 1, device=device)
    rotated = rotated_band(wide, angles)
    sums = _add(prepare(particles, wide, noise), particles.half, assignment, frame.class_count, rotated)
    averages = frame.average(sums, frame.settings.nyquist_A)
    centre = mass_centre(averages.joined, frame.diameter_px)
    averages = frame.average(sums.moved(-centre), frame.settings.nyquist_A)

    by_class = assignment.probability_of_classes(frame.class_count)
    particle = by_class.sum(1)
    noise_probability = (1 - particle).clamp(0, 1)
    class_index = by_class.argmax(1)
    is_particle = noise_probability <= NOISE_LIMIT
    typical = unexplained[is_particle if is_particle.any() else ...].median()
    # the best candidate within the most probable class; candidates are sorted, so the first
    first = (assignment.classes == class_index[:, None]).int().argmax(1, keepdim=True)
    psi = angles[assignment.angles.gather(1, first)[:, 0]]
    shift_px = assignment.shift_px.gather(1, first[..., None].expand(-1, -1, 2))[:, 0]
    shift_px = shift_px + turned_back(centre[class_index], psi)
    return Class2DResult(
        averages=averages.joined,
        pixel_size_A=frame.pixel_size_A,
        class_index=class_index,
        psi_rad=psi,
        shift_A=shift_px * frame.pixel_size_A,
        probability=by_class.amax(1) / particle.clamp(min=1e-12),
        noise_probability=noise_probability,
        misfit=unexplained / typical.clamp(min=1e-12),
        class_resolution_A=averages.resolution_A(frame.pixel_size_A),
        resolution_143_A=averages.resolution_A(frame.pixel_size_A, LEAST_FRC),
        population=torch.bincount(class_index[is_particle], minlength=frame.class_count),
    )
