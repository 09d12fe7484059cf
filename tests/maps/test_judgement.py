"""A refinement is judged: noise holds no structure however good its half-maps look, particles do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.fourier.filters import lowpass
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.fourier.slices import slice_table
from scherzer.geometry.point_groups import point_group
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.score import cross_term, prepare
from scherzer.likelihood.search import reference_bank, shift_grid
from scherzer.maps.agreement import Agreement, agreement_beyond
from scherzer.maps.explained import Explained, explained_signal
from scherzer.maps.held_out import Gain, HeldOut, gain_of, held_out, marginal, sampled, scramble, spherical_average
from scherzer.maps.judgement import Judgement, conclude, judge
from scherzer.maps.refinement import Refinement, refine
from scherzer.maps.settings import RefineSettings
from scherzer.maps.symmetrise import symmetrise_volume

Scene = Any  # of conftest.py
SETTINGS = RefineSettings(start_resolution_A=24.0, iterations=3, finest_A=9.0, shift_range_A=10.0)


def refined_and_judged(scene: Scene, start: torch.Tensor) -> tuple[Refinement, Judgement]:
    about = (scene.pixel_size_A, scene.symmetry, scene.diameter_A, SETTINGS)
    found = refine(scene.particles, start, *about)
    return found, judge(found, scene.particles, start, *about)


@pytest.fixture(scope="module")
def of_particles(dihedral: Scene) -> Judgement:
    return refined_and_judged(dihedral, dihedral.truth)[1]


def test_particles_of_a_structure_are_told(of_particles: Judgement) -> None:
    assert of_particles.verdict == "structure"
    assert of_particles.half_maps is not None
    assert of_particles.half_maps.sigma > 6
    assert of_particles.held_out.least_sigma > 10
    assert of_particles.sentence.startswith("structure: ")
    assert of_particles.explained.share == pytest.approx(1, abs=0.1)
    assert json.loads(json.dumps(of_particles.to_json(), allow_nan=False))["held_out"]["particles"] == 240


def test_einstein_from_noise_is_no_structure(nothing: Scene, dihedral: Scene) -> None:
    """Half-maps of noise look like the start and agree to its low-pass; nothing else speaks for them."""
    found, judged = refined_and_judged(nothing, dihedral.truth)
    start = lowpass(dihedral.truth, dihedral.pixel_size_A, SETTINGS.start_resolution_A)
    assert fourier_shell_correlation(found.volume, start)[2:5].min() > 0.5
    assert judged.verdict == "no structure"
    assert judged.held_out.over_nothing.mean < 0
    assert abs(judged.half_maps.sigma) < 3.5 if judged.half_maps else False


@pytest.mark.slow
@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_more_noise_does_not_become_a_structure(nothing: Scene, symmetry: str) -> None:
    """2,000 images; standard errors fall with their number, so that a bias of the measures would show."""
    copies = torch.arange(2000) % len(nothing.particles)
    particles = nothing.particles[copies]
    noise = torch.randn(2000, particles.box, particles.box, generator=torch.Generator().manual_seed(3))
    fresh = type(particles).from_images(
        noise, particles.ctf, particles.pixel_size_A, torch.arange(2000) // 10, 1 + torch.arange(2000) // 10 % 2
    )
    start = symmetrise_volume(nothing.truth.roll((2, 1, -2), (0, 1, 2)), point_group(symmetry))
    scene = replace(nothing, particles=fresh, symmetry=symmetry)
    assert refined_and_judged(scene, start / start.std())[1].verdict == "no structure"


def test_a_start_of_another_shape_is_doubted_though_its_half_maps_agree(dihedral: Scene) -> None:
    """Both halves follow it to the same wrong poses; from the right start, the same particles are a structure."""
    generator = torch.Generator().manual_seed(11)
    turned = dihedral.truth.flip(0).transpose(0, 1).roll((3, -2, 2), (0, 1, 2))
    start = symmetrise_volume(turned + 0.01 * torch.randn(turned.shape, generator=generator), point_group("D2"))
    assert fourier_shell_correlation(start, dihedral.truth)[2:10].mean() < 0.3
    found, judged = refined_and_judged(dihedral, start)
    assert fourier_shell_correlation(found.volume, dihedral.truth)[6:11].mean() < 0.3
    assert judged.half_maps is not None
    assert judged.half_maps.sigma > 4
    assert judged.held_out.least_sigma > 4
    assert judged.verdict == "not certain"
    assert "of the signal in the images" in judged.sentence


@pytest.mark.slow
@pytest.mark.parametrize(("imposed", "noise"), [("C2", 5.0), ("D2", 5.0), ("C4", 4.0), ("O", 4.0)])
def test_a_symmetry_imposed_on_asymmetric_particles_is_doubted_in_noise(
    scene_of: Any, imposed: str, noise: float
) -> None:
    scene = scene_of("C1", 500, noise)
    start = symmetrise_volume(scene.truth, point_group(imposed))
    assert refined_and_judged(replace(scene, symmetry=imposed), start)[1].verdict == "not certain"
    assert refined_and_judged(scene, scene.truth)[1].verdict != "no structure"


@pytest.mark.slow
@pytest.mark.parametrize(("symmetry", "noise"), [("D2", 5.0), ("D2", 7.0), ("O", 4.0), ("O", 6.0)])
def test_another_specimens_map_makes_no_structure_in_noise(
    scene_of: Any, phantom_of: Any, symmetry: str, noise: float
) -> None:
    """Signal to noise ratios of 1 / 16 to 1 / 49 a pixel; in O most of a signal is round."""
    scene = scene_of(symmetry, 1000, noise)
    assert refined_and_judged(scene, phantom_of(symmetry, 9))[1].verdict != "structure"


@pytest.mark.parametrize("imposed", ["O", "D4"])
def test_a_symmetry_that_is_not_there_is_doubted(dihedral: Scene, imposed: str) -> None:
    start = symmetrise_volume(dihedral.truth, point_group(imposed))
    judged = refined_and_judged(replace(dihedral, symmetry=imposed), start)[1]
    assert judged.verdict == "not certain"
    assert f"the symmetry {imposed} that was given, or the poses, may be wrong" in judged.sentence


def test_the_true_map_at_true_poses_has_all_of_the_signal(dihedral: Scene) -> None:
    maps = torch.stack((dihedral.truth, dihedral.truth))
    about = (dihedral.rotations, dihedral.shift_A, dihedral.diameter_A, 15.0)
    fsc = torch.ones(dihedral.particles.box // 2 + 1)
    whole = explained_signal(dihedral.particles, maps, fsc, *about)
    assert whole.share == pytest.approx(1, abs=0.06)
    half = explained_signal(dihedral.particles, maps * 0.5**0.5, fsc, *about)
    assert half.share == pytest.approx(whole.share / 2, rel=1e-3)
    assert 0.002 < whole.error < 0.05


def test_no_share_of_a_signal_that_is_not_there(nothing: Scene) -> None:
    maps = torch.stack((nothing.truth, nothing.truth)) / nothing.truth.std()
    fsc = torch.ones(nothing.particles.box // 2 + 1)
    found = explained_signal(nothing.particles, maps, fsc, nothing.rotations, nothing.shift_A, 92.0, 15.0)
    assert found.share is None


def test_particles_of_little_signal_are_never_called_nothing(dihedral: Scene) -> None:
    """Signal to noise ratio of 1 / 36, so that the map ends near where it may begin to be judged."""
    particles = dihedral.particles
    noise = torch.randn(len(particles), particles.box, particles.box, generator=torch.Generator().manual_seed(4))
    noisy = type(particles).from_images(
        5.6 * noise, particles.ctf, particles.pixel_size_A, particles.micrograph, particles.half
    )
    mixed = replace(particles, transforms=(particles.transforms * 2.2 + noisy.transforms) / 6)
    assert refined_and_judged(replace(dihedral, particles=mixed), dihedral.truth)[1].verdict != "no structure"


def test_marginal_is_the_mean_over_all_poses(dihedral: Scene) -> None:
    particles = dihedral.particles[torch.arange(5)]
    band = make_band(particles.box, 6)
    images = prepare(particles, band, image_power(particles))
    generator = torch.Generator().manual_seed(1)
    references = torch.view_as_complex(torch.randn(7, len(band), 2, generator=generator)) * 10
    shifts = shift_grid(2.0, 1.0)
    scores = cross_term(images, references.expand(5, -1, -1), shifts).double()
    expected = torch.log(torch.exp(scores).mean((1, 2)))
    assert torch.allclose(marginal(images, reference_bank(references), shifts).double(), expected, atol=0.05)


def test_a_map_that_is_not_there_never_gains(nothing: Scene) -> None:
    """Whatever its scale, and however well it fits the half that it was made of."""
    group = point_group(nothing.symmetry)
    for scale in (0.03, 0.1, 0.3):
        volume = nothing.truth / nothing.truth.std() * scale
        fsc = torch.ones(nothing.particles.box // 2 + 1)
        scores = held_out(nothing.particles, torch.stack((volume, volume)), fsc, group, 92.0, 15.0, 8.0)
        assert scores.over_nothing.sigma < 2
        assert scores.least_sigma < 2


def test_truth_gains_over_its_ball_and_over_other_detail(octahedral: Scene) -> None:
    group = point_group("O")
    fsc = torch.ones(octahedral.particles.box // 2 + 1)
    maps = torch.stack((octahedral.truth, octahedral.truth))
    scores = held_out(octahedral.particles, maps, fsc, group, octahedral.diameter_A, 12.0, 8.0)
    assert min(scores.over_nothing.mean, scores.over_ball.mean, scores.over_scrambled.mean) > 1
    assert scores.over_ball.mean < scores.over_nothing.mean
    ball = spherical_average(octahedral.truth)
    flat = held_out(octahedral.particles, torch.stack((ball, ball)), fsc, group, octahedral.diameter_A, 12.0, 8.0)
    assert flat.over_ball.mean < 0.05 * scores.over_ball.mean


def test_particles_meet_the_map_of_the_half_in_which_they_are_not(octahedral: Scene) -> None:
    half = torch.ones_like(octahedral.particles.half)
    half[-1] = 2
    particles = replace(octahedral.particles, half=half)
    fsc = torch.ones(particles.box // 2 + 1)
    about = (fsc, point_group("O"), octahedral.diameter_A, 15.0, 8.0)
    nothing = 1e-3 * octahedral.truth
    assert held_out(particles, torch.stack((nothing, octahedral.truth)), *about).over_nothing.mean > 10
    assert held_out(particles, torch.stack((octahedral.truth, nothing)), *about).over_nothing.mean < 1


def test_maps_and_images_stay_on_one_scale_when_cropped(dihedral: Scene) -> None:
    maps = torch.stack((dihedral.truth, dihedral.truth))
    particles, small = sampled(dihedral.particles, maps, 23.0)
    assert (particles.box, small.shape[-1]) == (24, 24)
    band = make_band(24, 9.0)
    wide = make_band(36, 9.0)
    there = slice_table(dihedral.truth, 12.0).slices(dihedral.rotations[:5], wide.kx, wide.ky)
    here = slice_table(small[0], 11.0).slices(dihedral.rotations[:5], band.kx, band.ky)
    image_scale = particles.transforms[0, 1, 1] / dihedral.particles.transforms[0, 1, 1]
    ratio = (here * there.conj()).sum() / (there * there.conj()).sum()
    assert float(ratio.real) == pytest.approx(float(image_scale.real), rel=0.03)


def test_a_ball_has_no_features_and_the_same_profile(dihedral: Scene) -> None:
    ball = spherical_average(dihedral.truth)
    assert torch.allclose(ball, ball.transpose(0, 2), atol=1e-5)
    assert float(ball.sum()) == pytest.approx(float(dihedral.truth.sum()), rel=1e-3)
    assert float((spherical_average(ball) - ball).norm()) < 0.03 * float(ball.norm())


def test_scrambled_detail_has_the_same_power_and_symmetry_and_nothing_else(dihedral: Scene) -> None:
    group = point_group("D2")
    detail = dihedral.truth - spherical_average(dihedral.truth)
    other = scramble(detail, group, seed=3)
    assert float(other.norm()) == pytest.approx(float(detail.norm()), rel=0.05)
    assert (fourier_shell_correlation(other, symmetrise_volume(other, group))[2:12] > 0.95).all()
    assert fourier_shell_correlation(other, detail)[4:12].mean().abs() < 0.25


def test_errors_count_micrographs_not_particles() -> None:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(2000, 50, generator=generator, dtype=torch.float64)[:, :, None].expand(-1, -1, 8)
    member = torch.arange(50)[:, None].expand(-1, 8).flatten()
    found = [gain_of(values.flatten(), member) for values in shared[:200]]
    true_error = float(shared.mean((1, 2)).std())
    assert sum(gain.error for gain in found) / len(found) == pytest.approx(true_error, rel=0.1)
    assert gain_of(torch.ones(4), torch.zeros(4, dtype=torch.int64)).sigma == 0


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_chance_agreement_is_measured_in_its_own_spread(symmetry: str) -> None:
    group = point_group(symmetry)
    axis = torch.arange(28) - 14.0
    mask = torch.exp(-((axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / 60.0))
    found = []
    for seed in range(24):
        generator = torch.Generator().manual_seed(seed)
        pair = [symmetrise_volume(torch.randn(28, 28, 28, generator=generator), group) for _ in range(2)]
        one = agreement_beyond(*pair, mask, 4.0, 25.0, len(group))
        assert one is not None
        found.append(one.sigma)
    values = torch.tensor(found)
    assert values.max() < 4.5
    assert 0.3 < values.std() < 2


def test_agreement_is_found_where_it_is_and_not_where_the_mask_makes_it(dihedral: Scene) -> None:
    generator = torch.Generator().manual_seed(6)
    truth = dihedral.truth / dihedral.truth.std()
    low = lowpass(truth, 4.0, 24.0)
    noise = [0.3 * torch.randn(truth.shape, generator=generator) for _ in range(2)]
    sphere = spherical_average((truth.abs() > 0.2).float()).clamp(0, 1)
    shared = agreement_beyond(low + noise[0], low + noise[1], sphere, 4.0, 16.0, 4)
    real = agreement_beyond(truth + noise[0], truth + noise[1], sphere, 4.0, 16.0, 4)
    assert shared is not None
    assert real is not None
    assert shared.sigma < 4 < real.sigma
    assert agreement_beyond(truth, truth, sphere, 4.0, 8.2, 4) is None


@pytest.mark.parametrize(
    ("sigma", "if_shown", "verdict"), [(9.0, 2.0, "structure"), (9.0, 4.0, "not certain"), (30.0, 4.0, "structure")]
)
def test_a_gain_far_below_that_of_particles_that_show_the_map_is_doubted(
    sigma: float, if_shown: float, verdict: str
) -> None:
    halves = Agreement(14.0, 10.0, 0.5, 0.1, sigma)
    found = conclude(halves, None, replace(scores(1.0, 0.1), if_shown=if_shown), Explained(0.9, 0.02, 15.0), "O")
    assert found[0] == verdict
    assert ("only 25 %" in found[1]) == (verdict == "not certain")


def test_particles_gain_what_images_of_their_map_gain(dihedral: Scene, phantom_of: Any) -> None:
    maps = torch.stack((dihedral.truth, dihedral.truth))
    fsc = torch.ones(dihedral.particles.box // 2 + 1)
    about = (fsc, point_group("D2"), dihedral.diameter_A, 12.0, 8.0)
    scores = held_out(dihedral.particles, maps, *about)
    assert scores.if_shown == pytest.approx(scores.over_ball.mean, rel=0.1)
    other = phantom_of("D2", 9)
    unlike = torch.stack((other, other)) * (dihedral.truth.std() / other.std())
    assert held_out(dihedral.particles, unlike, *about).fulfilled < 0.3 < 0.9 < scores.fulfilled <= 1


@pytest.mark.parametrize(("halves", "verdict"), [(0.9, "not certain"), (3.3, "structure"), (5.0, "structure")])
def test_likeness_with_the_start_alone_proves_nothing(halves: float, verdict: str) -> None:
    """Half-maps that do not agree beside a map that resembles its start: so it was from another's map."""
    pair = (Agreement(14.0, 10.0, 0.2, 0.1, halves), Agreement(14.0, 10.0, 0.2, 0.1, 9.0))
    assert conclude(*pair, scores(1.0, 0.1), Explained(0.85, 0.03, 15.0), "C1")[0] == verdict


def scores(mean: float, error: float) -> HeldOut:
    return HeldOut(Gain(9.0, 0.1), Gain(mean, error), Gain(9.0, 0.1), 1.6 * mean, 100, 10.0)


@pytest.mark.parametrize(
    ("sigma", "gain", "share", "verdict"),
    [
        (9.0, 1.0, 0.9, "structure"),
        (9.0, 1.0, None, "not certain"),
        (9.0, 1.0, 0.5, "not certain"),
        (9.0, 0.25, 0.9, "not certain"),
        (30.0, 0.25, 0.9, "structure"),
        (30.0, 0.05, 0.9, "not certain"),
        (9.0, -1.0, 0.9, "not certain"),
        (1.0, 1.0, 0.9, "not certain"),
        (1.0, 0.2, 0.9, "not certain"),
        (1.0, -0.1, 0.9, "no structure"),
        (None, -0.1, None, "no structure"),
        (None, 1.0, 0.9, "not certain"),
    ],
)
def test_all_kinds_of_evidence_are_needed(sigma: float | None, gain: float, share: float | None, verdict: str) -> None:
    halves = None if sigma is None else Agreement(14.0, 10.0, 0.5, 0.1, sigma)
    found, sentence = conclude(halves, None, scores(gain, 0.1), Explained(share, 0.02, 15.0), "D2")
    assert found == verdict
    assert sentence.startswith(f"{verdict}: ")
    assert "than a ball does" in sentence
