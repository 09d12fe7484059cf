"""Is there a structure in a refinement, or only what it was started from?

Averaging noise at the poses where it fits a picture best gives the picture back ("Einstein from noise", Henderson 2013,
PNAS 110, 18037), and the half-maps then agree as far as they were given the same picture. Two things cannot come about
so: agreement beyond the start's low-pass, and particles that are better explained by a map in which they had no part
than by a featureless ball. Particles can have both and the map be wrong, when both halves follow the start to the same
wrong poses, or a symmetry is imposed that is not there; then the map falls short of the signal in the images.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.particle_set import ParticleSet
from scherzer.maps.agreement import Agreement, agreement_beyond
from scherzer.maps.explained import Explained, explained_signal
from scherzer.maps.held_out import HeldOut, held_out
from scherzer.maps.reconstruction import spherical_mask
from scherzer.maps.refinement import Refinement
from scherzer.maps.refinement_round import fit_sampling
from scherzer.maps.settings import RefineSettings

Verdict = Literal["structure", "no structure", "not certain"]

SIGMA = 4.0  # standard errors that count as evidence; a choice of ours: below 1 in 10,000 if errors are normal
WEAK_SIGMA = 1.0  # below it there is not even a hint
# Maps cut out in the outline of a start come to resemble it beyond its low-pass: that is evidence only where the
# half-maps nearly are. Phantoms refined from another's map agreed with it by up to 9 standard deviations, their
# half-maps then by at most 3.
LEAST_BESIDE_START = 3.0
# Half-maps that agree so clearly have no such origin. A ball then need only be exceeded at all: true detail that comes
# out too strong, as from crowded particles in unaligned sums, loses to no detail where it beats other detail.
BEYOND_DOUBT = 12.0
# Of what they would gain if they showed the map, particles of phantoms gain 0.5 to 1.0 where it is right. Octahedral
# ones, which are mostly round, gained 0.16 and 0.31 on maps made of another's with 0.7 to 0.9 of the signal.
LEAST_FULFILLED = 0.4
MARGIN = 2.0  # what the mask smears past the start's low-pass, in units of 1 / diameter
FINEST_A = 10.0  # held-out scores take no finer detail: the number of poses would grow with its fifth power
SAMPLING = 2.2  # pixels per finest detail
SHARE_A = 15.0  # the band in which the share of the signal is taken: poses off by 5 degrees do not matter there
# Phantoms of C1, D2 and O refined from their own map have 0.85 to 1.1 of the signal, simulated micrographs' particles
# 0.73 to 1.3; from another's map 0.38 to 0.65, in too high a symmetry 0.37 to 0.72. Images without a particle lower it.
LEAST_SHARE = 0.75
MASK_MARGIN, EDGE_A = 1.1, 10.0  # the sphere around the particle, in diameters, and its edge


@dataclass(frozen=True)
class Judgement:
    """What speaks for a structure.

    Attributes
    ----------
    verdict : {"structure", "no structure", "not certain"}
        Agreement beyond the start, held-out scores and the share of the signal all speak for it; the first two do not
        in the least; or in between.
    sentence : str
        Why.
    half_maps, start : Agreement or None
        Of the half-maps, and of the map with its start, beyond the start's low-pass; None where sampling ends there.
    held_out : HeldOut
        Scores of particles against the map of the half in which they are not.
    explained : Explained
        Share of the images' signal that the map accounts for.
    """

    verdict: Verdict
    sentence: str
    half_maps: Agreement | None
    start: Agreement | None
    held_out: HeldOut
    explained: Explained

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and texts; None for what is not known."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def judge(
    refined: Refinement,
    particles: ParticleSet,
    start: Tensor,
    start_pixel_size_A: float,
    symmetry: str,
    diameter_A: float,
    settings: RefineSettings,
) -> Judgement:
    """Judge a refinement.

    Parameters
    ----------
    refined : Refinement
        Its result.
    particles : ParticleSet
        The particles that it was made of.
    start : Tensor
        ``(s, s, s)`` the map that it was started from, with all its detail.
    start_pixel_size_A : float
        Of it.
    symmetry, diameter_A, settings
        As for the refinement.
    """
    box, pixel_size_A = refined.volume.shape[-1], refined.pixel_size_A
    group = point_group(symmetry).to(refined.volume.device)
    limit_A = settings.start_resolution_A
    finest_A = max(FINEST_A, SAMPLING * pixel_size_A, min(refined.resolution_fsc143_A or limit_A, limit_A))
    particles = particles.resized(box)
    # Not the solvent mask: what it leaves out may be particle, too.
    maps = refined.half_maps * spherical_mask(box, pixel_size_A, MASK_MARGIN * diameter_A, EDGE_A, group.device)
    fsc = fourier_shell_correlation(maps[0], maps[1])
    scores = held_out(particles, maps, fsc, group, diameter_A, finest_A, settings.shift_range_A, settings.seed)
    share_A = max(SHARE_A, SAMPLING * pixel_size_A)
    explained = explained_signal(particles, maps, fsc, refined.rotations, refined.shift_A, diameter_A, share_A)
    model = fit_sampling(start.to(refined.volume.device), start_pixel_size_A, box, pixel_size_A)
    cut_A = 1 / (1 / limit_A + MARGIN / diameter_A)
    halves, with_start = (
        agreement_beyond(first, second, refined.mask, pixel_size_A, cut_A, len(group), settings.seed)
        for first, second in ((refined.half_maps[0], refined.half_maps[1]), (refined.volume, model))
    )
    verdict, sentence = conclude(halves, with_start, scores, explained, symmetry)
    return Judgement(verdict, sentence, halves, with_start, scores, explained)


def conclude(
    half_maps: Agreement | None, start: Agreement | None, scores: HeldOut, explained: Explained, symmetry: str
) -> tuple[Verdict, str]:
    """Return the verdict and why, with the point group that was given."""
    known = [
        (found, words)
        for found, words in ((half_maps, "the half-maps agree"), (start, "the map agrees with its start"))
        if found is not None
    ]
    weakest, rival = min(
        ((scores.over_nothing, "nothing"), (scores.over_ball, "a ball"), (scores.over_scrambled, "other detail")),
        key=lambda one: one[0].sigma,
    )
    agree = half_maps is not None and (
        half_maps.sigma > SIGMA
        or (half_maps.sigma > LEAST_BESIDE_START and any(found.sigma > SIGMA for found, _ in known))
    )
    sure = half_maps is not None and half_maps.sigma > BEYOND_DOUBT
    explains = scores.over_ball.sigma > (WEAK_SIGMA if sure else SIGMA) and all(
        gain.sigma > SIGMA for gain in (scores.over_nothing, scores.over_scrambled)
    )
    if explains:
        weakest, rival = scores.over_ball, "a ball"  # what says most, where all are exceeded
    if agree:
        found, words = max(known, key=lambda one: one[0].sigma)
        first = f"{words} to {found.to_A:.1f} A, beyond the start's low-pass ({found.sigma:.0f} sd above chance)"
    elif half_maps is not None:
        first = f"the half-maps do not clearly agree beyond {half_maps.from_A:.1f} A, where what the start gave ends"
    else:
        first = "the images end where what the start gave the half-maps does"
    better = "better" if explains else "not clearly better" if weakest.sigma > 0 else "worse"
    second = (
        f"each half's map explains the other half's particles {better} than {rival} does "
        f"({weakest.mean:+.2f} nats a particle, standard error {weakest.error:.2f})"
    )
    so_far = f"{first}, {'and' if agree == explains else 'but'} {second}"
    if not agree and weakest.sigma < WEAK_SIGMA:
        return "no structure", f"no structure: {so_far}"
    if falls_short(explained):
        return "not certain", (
            f"not certain: {so_far}; the map accounts for only {100 * (explained.share or 0):.0f} % of the signal in "
            f"the images (standard error {100 * explained.error:.0f} %): {_suspects(symmetry)}, "
            "or many images show something else"
        )
    if explained.share is None:
        return "not certain", f"not certain: {so_far}, but what share of the images' signal that is cannot be told"
    if explains and not sure and scores.fulfilled < LEAST_FULFILLED:
        return "not certain", (
            f"not certain: {so_far}, only {100 * scores.fulfilled:.0f} % of what particles that show the map would gain"
        )
    verdict: Verdict = "structure" if agree and explains else "not certain"
    return verdict, f"{verdict}: {so_far}"


def _suspects(symmetry: str) -> str:
    if symmetry == "C1":
        return "the poses may be wrong"
    return f"the symmetry {symmetry} that was given, or the poses, may be wrong"


def falls_short(explained: Explained) -> bool:
    """Return whether a map has clearly less of the images' signal than one of right poses and symmetry."""
    return explained.share is not None and explained.share + 2 * explained.error < LEAST_SHARE
