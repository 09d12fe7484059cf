"""The rounds of a 2D classification: how many classes, to which resolution, on how much of the data."""

from __future__ import annotations

from dataclasses import dataclass

START_TEMPERATURE = 4.0  # divides the log likelihood of the first round; 1 from the middle of the growing rounds on
MEMORY = 0.5  # what a growing round keeps of the sums before it
FIRST_BATCH = 20  # particles for each class in the first round
LAST_BATCH = 0.5  # share of all particles in the last growing round
FINE_ROUNDS = 4  # last rounds in which the best candidate is searched more finely


@dataclass(frozen=True)
class Class2DSettings:
    """How particles are classified.

    Attributes
    ----------
    class_count : int, optional
        Number of classes; by default a hundredth of the particles within the limits below, and never more than one
        for 30 particles.
    min_classes, max_classes : int
        Limits of that default.
    nyquist_A : float
        Nyquist resolution of the averages.
    start_A, finest_A : float
        Resolution at which particles and averages are compared, in the first and in the last round.
    shift_range_diameters : float
        Largest shift tried.
    growing_rounds, full_rounds : int
        Rounds on growing parts of the data, and on all of it.
    seed : int
        Of the random draws.
    """

    class_count: int | None = None
    min_classes: int = 20
    max_classes: int = 60
    nyquist_A: float = 6.5
    start_A: float = 30.0
    finest_A: float = 8.0
    shift_range_diameters: float = 0.10
    growing_rounds: int = 12
    full_rounds: int = 6
    seed: int = 0


@dataclass(frozen=True)
class Round:
    """What one round does.

    Attributes
    ----------
    resolution_A : float
        To which particles and averages are compared, unless the averages hold more.
    batch : int
        Number of particles drawn.
    temperature : float
        Divides the log likelihoods.
    keep : float
        What is kept of the sums of the rounds before; 0 in a round on all particles.
    flat_class : bool
        Whether a particle may be none.
    fine : bool
        Whether the best candidate is searched more finely.
    """

    resolution_A: float
    batch: int
    temperature: float
    keep: float
    flat_class: bool
    fine: bool = False


def schedule(count: int, class_count: int, settings: Class2DSettings) -> list[Round]:
    """Plan the rounds for a number of particles: resolution and batch grow, temperature falls."""
    rounds = []
    growing, total = settings.growing_rounds, settings.growing_rounds + settings.full_rounds
    first, last = min(count, FIRST_BATCH * class_count), max(LAST_BATCH * count, min(count, FIRST_BATCH * class_count))
    for number in range(total):
        part = number / max(total - 1, 1)
        resolution = settings.start_A * (settings.finest_A / settings.start_A) ** part
        if number >= growing:
            rounds.append(Round(resolution, count, 1.0, 0.0, True, total - number <= FINE_ROUNDS))
            continue
        grown = number / max(growing - 1, 1)
        temperature = START_TEMPERATURE ** max(0.0, 1 - 2 * grown)
        batch = round(first * (last / first) ** grown)
        rounds.append(Round(resolution, batch, temperature, MEMORY if number else 0.0, False))
    return rounds


def number_of_classes(count: int, settings: Class2DSettings) -> int:
    """Return the number of classes for a number of particles."""
    if settings.class_count is not None:
        return settings.class_count
    wanted = min(max(count // 100, settings.min_classes), settings.max_classes)
    return max(1, min(wanted, count // 30))
