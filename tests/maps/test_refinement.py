"""Refinement finds a known map and poses, keeps its halves apart, and sees nothing in noise."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.fourier.filters import apply_radial, lowpass
from scherzer.fourier.grids import centred_rfftn
from scherzer.fourier.shells import fourier_shell_correlation, shell_sum
from scherzer.geometry.point_groups import point_group
from scherzer.geometry.rotations import angle_between
from scherzer.likelihood import local, search
from scherzer.maps import pose_search, reconstruction
from scherzer.maps.refinement import Refinement, refine
from scherzer.maps.refinement_round import working_box
from scherzer.maps.settings import RefineSettings
from scherzer.maps.symmetrise import symmetrise_volume

Scene = Any  # of conftest.py
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
SETTINGS = RefineSettings(start_resolution_A=24.0, iterations=4, finest_A=9.0, shift_range_A=10.0)
SHORT = replace(SETTINGS, iterations=2)


def run(scene: Scene, start: torch.Tensor, settings: RefineSettings = SETTINGS, **more: Any) -> Refinement:
    return refine(scene.particles, start, scene.pixel_size_A, scene.symmetry, scene.diameter_A, settings, **more)


@pytest.fixture(scope="module", params=DEVICES)
def refined(request: pytest.FixtureRequest, dihedral: Scene) -> tuple[Scene, Refinement]:
    scene = dihedral.to(request.param)
    return scene, run(scene, scene.truth)


@pytest.fixture(scope="module")
def refined_briefly(dihedral: Scene) -> Refinement:
    return run(dihedral, dihedral.truth, SHORT)


def test_results_do_not_depend_on_the_size_of_blocks(
    dihedral: Scene, refined_briefly: Refinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the order of sums in float32."""
    monkeypatch.setattr(pose_search, "BLOCK", 37)
    monkeypatch.setattr(local, "CHUNK_ENTRIES", 2**12)
    monkeypatch.setattr(search, "SCORE_ENTRIES", 2**16)
    monkeypatch.setattr(reconstruction, "CHUNK_PIXELS", 2**12)
    found = run(dihedral, dihedral.truth, SHORT)
    assert (found.volume - refined_briefly.volume).norm() < 1e-4 * refined_briefly.volume.norm()
    assert (found.rotations - refined_briefly.rotations).abs().max() < 1e-3
    assert found.resolution_fsc143_A == pytest.approx(refined_briefly.resolution_fsc143_A, rel=1e-5)


def test_storing_images_in_float16_changes_next_to_nothing(dihedral: Scene, refined_briefly: Refinement) -> None:
    """Of poses that fit alike, another may be taken: those of few particles."""
    found = run(replace(dihedral, particles=dihedral.particles.compact()), dihedral.truth, SHORT)
    error = torch.rad2deg(angle_between(found.rotations, refined_briefly.rotations, point_group("D2")))
    assert error.median() < 0.2
    assert (error > 1).float().mean() < 0.03
    assert found.resolution_fsc143_A == pytest.approx(refined_briefly.resolution_fsc143_A, rel=3e-3)


def test_map_agrees_with_the_truth_far_beyond_the_start(refined: tuple[Scene, Refinement]) -> None:
    scene, found = refined
    shell_of_start = scene.particles.extent_A / SETTINGS.start_resolution_A
    correlation = fourier_shell_correlation(found.volume, scene.truth)
    assert shell_of_start < 7
    assert (correlation[:12] > 0.85).all()
    assert (correlation[12:14] > 0.5).all()


def test_reported_resolution_is_what_the_truth_says(refined: tuple[Scene, Refinement]) -> None:
    """The halves' FSC of 0.143 stands for a correlation of 0.5 with the truth (Rosenthal and Henderson 2003)."""
    scene, found = refined
    mask = found.mask
    correlation = fourier_shell_correlation(found.volume * mask, scene.truth * mask)
    shell = int(torch.nonzero(correlation[1:] < 0.5)[0]) + 1
    reported = scene.particles.extent_A / found.resolution_fsc143_A
    assert abs(reported - shell) < 1.6
    assert found.resolution_fsc143_A < found.resolution_fsc05_A
    assert found.resolution_fsc143_A == found.fsc.resolution_A(0.143)
    assert SETTINGS.iterations == len(found.history_A)


def test_poses_are_found(refined: tuple[Scene, Refinement]) -> None:
    scene, found = refined
    group = point_group(scene.symmetry).to(scene.rotations)
    error = torch.rad2deg(angle_between(found.rotations, scene.rotations, group))
    assert error.median() < 2.5
    assert (error < 8).float().mean() > 0.93
    assert (found.shift_A - scene.shift_A).norm(dim=1).median() < 0.8
    assert (found.score > 0).all()
    assert found.rotations.device == scene.rotations.device


def test_result_holds_what_it_says(refined: tuple[Scene, Refinement]) -> None:
    scene, found = refined
    assert torch.allclose(found.volume, found.half_maps.mean(0))
    group = point_group(scene.symmetry).to(scene.rotations.device)
    assert fourier_shell_correlation(symmetrise_volume(found.volume, group), found.volume)[2:14].min() > 0.98
    assert found.pixel_size_A == scene.pixel_size_A
    assert (found.sharpened[found.mask == 0] == 0).all()
    assert found.guinier.bfactor_A2 is None  # 10 A maps have none
    assert "window" in found.guinier.reason


def test_errors_of_the_halves_are_independent_beyond_the_start(refined: tuple[Scene, Refinement]) -> None:
    scene, found = refined
    errors = []
    for half in found.half_maps:
        a, b = centred_rfftn(half), centred_rfftn(scene.truth)
        share = shell_sum((a * b.conj()).real, 3) / shell_sum(b.abs() ** 2, 3)
        errors.append(half - apply_radial(scene.truth, share))
    correlation = fourier_shell_correlation(*errors)
    assert correlation[8:].mean().abs() < 0.12
    assert correlation[8:].abs().max() < 0.35


def test_numbers_of_the_halves_do_not_matter(dihedral: Scene, refined_briefly: Refinement) -> None:
    """Exchanging the halves exchanges the half-maps: neither is treated differently, and no pose is mixed up."""
    particles = replace(dihedral.particles, half=3 - dihedral.particles.half)
    found = run(replace(dihedral, particles=particles), dihedral.truth, SHORT)
    scale = float(found.half_maps.abs().max())
    # Random phases are drawn in the order of the halves, which moves the filters of the references a little.
    assert torch.allclose(found.half_maps.flip(0), refined_briefly.half_maps, atol=0.04 * scale)
    assert not torch.allclose(found.half_maps, refined_briefly.half_maps, atol=0.08 * scale)
    apart = angle_between(found.rotations, refined_briefly.rotations, point_group("D2"))
    assert (apart < 2e-2).float().mean() > 0.97


def test_order_of_particles_does_not_matter(dihedral: Scene, refined_briefly: Refinement) -> None:
    order = torch.randperm(len(dihedral.particles), generator=torch.Generator().manual_seed(0))
    found = run(replace(dihedral, particles=dihedral.particles[order]), dihedral.truth, SHORT)
    group = point_group("D2")
    apart = angle_between(found.rotations, refined_briefly.rotations[order], group)
    assert (apart < 1e-2).float().mean() > 0.98
    assert (fourier_shell_correlation(found.volume, refined_briefly.volume)[:14] > 0.99).all()


def test_grey_scale_of_the_start_does_not_matter(dihedral: Scene, refined_briefly: Refinement) -> None:
    found = run(dihedral, 1000 * dihedral.truth, SHORT)
    assert (fourier_shell_correlation(found.volume, refined_briefly.volume)[:15] > 0.99).all()
    group = point_group("D2")
    assert (angle_between(found.rotations, refined_briefly.rotations, group) < 2e-2).float().mean() > 0.98
    assert found.resolution_fsc143_A == pytest.approx(refined_briefly.resolution_fsc143_A, rel=0.02)


def test_fine_detail_of_the_start_leaves_no_trace(dihedral: Scene) -> None:
    settings = replace(SETTINGS, iterations=1)
    detail = torch.randn(dihedral.truth.shape, generator=torch.Generator().manual_seed(2)) * dihedral.truth.std()
    detail = 3 * (detail - lowpass(detail, dihedral.pixel_size_A, 17.0))
    plain, detailed = (run(dihedral, start, settings) for start in (dihedral.truth, dihedral.truth + detail))
    assert fourier_shell_correlation(dihedral.truth, dihedral.truth + detail)[10:].max() < 0.5
    assert (fourier_shell_correlation(plain.volume, detailed.volume)[1:] > 0.97).all()
    assert fourier_shell_correlation(detail, detailed.volume)[10:].abs().max() < 0.3


def test_given_mask_is_used_and_progress_told(dihedral: Scene) -> None:
    told: list[tuple[float, str]] = []
    mask = torch.ones_like(dihedral.truth)
    settings = replace(SETTINGS, iterations=1)
    found = run(dihedral, dihedral.truth, settings, mask=mask, progress=lambda part, words: told.append((part, words)))
    assert torch.equal(found.mask, mask)
    assert torch.allclose(found.fsc.masked, found.fsc.unmasked)
    assert [part for part, _ in told] == [1.0]


def test_noise_gives_no_resolution_beyond_the_start(nothing: Scene, dihedral: Scene) -> None:
    """The halves share the start and so correlate to 24 A; searching must not carry that on."""
    wrong = dihedral.truth.flip(0).transpose(0, 1) + 0.5 * dihedral.truth
    found = run(nothing, wrong)
    assert found.resolution_fsc143_A is None or found.resolution_fsc143_A > 0.7 * SETTINGS.start_resolution_A
    assert found.fsc.corrected[11:].abs().mean() < 0.15
    assert all(band is None or band > 9.5 for band in found.history_A)


def test_refinement_refuses_what_it_cannot_do(dihedral: Scene) -> None:
    one_half = replace(dihedral.particles, half=torch.ones_like(dihedral.particles.half))
    with pytest.raises(ValueError, match="half-sets is empty"):
        run(replace(dihedral, particles=one_half), dihedral.truth)
    with pytest.raises(ValueError, match="unknown symmetry"):
        run(replace(dihedral, symmetry="Q7"), dihedral.truth)


def test_working_box_is_even_and_holds_the_finest_detail() -> None:
    for extent_A in (101.0, 144.0, 333.3):
        box = working_box(extent_A, SETTINGS)
        assert box % 2 == 0
        assert 2 * extent_A / box < SETTINGS.finest_A
        assert box < 1.4 * 2 * extent_A / SETTINGS.finest_A
