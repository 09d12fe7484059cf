"""A first map is found from random starts, up to what images cannot tell: the hand and the choice of equal axes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from scherzer.fourier.crop import resize_volume
from scherzer.fourier.grids import centred_rfftn, rfft_radius
from scherzer.fourier.shells import fourier_shell_correlation
from scherzer.geometry.point_groups import point_group
from scherzer.maps import abinitio
from scherzer.maps.abinitio import AbInitio, reconstruct_ab_initio
from scherzer.maps.settings import AbInitioSettings

Scene = Any  # of conftest.py
SETTINGS = AbInitioSettings(
    seeds=6,
    batches=24,
    batch_particles=120,
    coarsest_A=18.0,
    finest_A=16.0,
    held_out=0.2,
    shift_range_A=8.0,
    rounds=1,
    check_symmetry=False,
)


def turned(volume: torch.Tensor, operator: torch.Tensor, mirror: bool) -> torch.Tensor:
    """Permute and flip the axes of a map about its centre pixel by an octahedral operator, mirrored or not."""
    if mirror:
        volume = volume.flip(0).roll(1, 0)
    source = operator.abs().argmax(1).tolist()  # new axis x, y, z is this old axis, as x = 0
    result = volume.permute([2 - source[axis] for axis in (2, 1, 0)])
    for axis in range(3):
        if operator[axis].sum() < 0:
            result = result.flip(2 - axis).roll(1, 2 - axis)
    return result


def best_agreement(volume: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    volume = resize_volume(volume, len(truth))
    curves = [
        fourier_shell_correlation(turned(volume, operator, mirror), truth)
        for operator in point_group("O")
        for mirror in (False, True)
    ]
    return max(curves, key=lambda curve: float(curve[2:9].mean()))


@pytest.fixture(scope="module")
def first_map(dihedral: Scene) -> AbInitio:
    return reconstruct_ab_initio(dihedral.particles, "D2", dihedral.diameter_A, SETTINGS)


def test_first_map_is_the_truth_up_to_hand_and_axes(dihedral: Scene, first_map: AbInitio) -> None:
    curve = best_agreement(first_map.volume, dihedral.truth)
    assert (curve[:9] > 0.9).all()  # the last batches end at shell 9


def test_agreement_is_not_the_effect_of_the_mask_or_the_symmetry(dihedral: Scene, octahedral: Scene) -> None:
    """The check above can fail: another map of the same size and symmetry does not agree."""
    assert best_agreement(dihedral.truth.flip(0).roll(1, 0), dihedral.truth)[2:9].mean() > 0.99
    assert best_agreement(octahedral.truth, dihedral.truth)[2:9].min() < 0.6


def test_map_reports_its_sampling_and_choice(dihedral: Scene, first_map: AbInitio) -> None:
    assert len(first_map.volume) * first_map.pixel_size_A == pytest.approx(dihedral.particles.extent_A)
    assert first_map.resolution_A == SETTINGS.finest_A
    assert len(first_map.held_out_score) == SETTINGS.seeds
    second_best = sorted(first_map.held_out_score)[-2]  # two are settled, and one of them is chosen
    assert first_map.held_out_score[first_map.chosen] >= second_best > 0
    assert sorted(first_map.batches) == [12, 12, 12, 12, 24, 24]  # after half of them the best two went on
    assert first_map.batches[first_map.chosen] >= 24


def test_map_is_protein_white_and_within_its_sphere(first_map: AbInitio) -> None:
    box = len(first_map.volume)
    assert first_map.volume.max() > 30 * first_map.volume.min().abs()  # all but a tenth of what is negative is taken
    assert first_map.volume[0].abs().max() == 0
    power = centred_rfftn(first_map.volume).abs() ** 2
    radius = rfft_radius(box, 3)
    beyond = radius > 1.25 * 9
    assert power[beyond].sum() < 0.05 * power[~beyond & (radius > 0)].sum()


def test_same_seed_gives_the_same_map_and_progress_ends_at_one(octahedral: Scene) -> None:
    settings = replace(SETTINGS, seeds=2, batches=6, batch_particles=40)
    told: list[float] = []
    first, again = (
        reconstruct_ab_initio(
            octahedral.particles, "O", octahedral.diameter_A, settings, lambda part, _: told.append(part)
        )
        for _ in range(2)
    )
    assert torch.equal(first.volume, again.volume)
    assert first.held_out_score == again.held_out_score
    assert told[-1] == pytest.approx(1)
    other = reconstruct_ab_initio(octahedral.particles, "O", octahedral.diameter_A, replace(settings, seed=1))
    assert not torch.equal(first.volume, other.volume)


def test_first_map_refuses_what_it_cannot_do(dihedral: Scene) -> None:
    few = dihedral.particles[torch.arange(19)]
    with pytest.raises(ValueError, match="19 particles are too few"):
        reconstruct_ab_initio(few, "D2", dihedral.diameter_A, SETTINGS)
    with pytest.raises(ValueError, match="unknown symmetry"):
        reconstruct_ab_initio(dihedral.particles, "Z", dihedral.diameter_A, SETTINGS)


def test_structure_is_seen_and_independent_starts_agree(first_map: AbInitio) -> None:
    evidence = first_map.evidence
    assert evidence.verdict == "structure"
    assert evidence.over_ball.sigma > 6
    assert evidence.over_rival is None
    assert len(evidence.agreement_A) == 1
    assert evidence.agreement_A[0] is not None
    assert evidence.agreement_A[0] < 27
    assert evidence.sentence.startswith("structure: ")


@pytest.mark.parametrize("symmetry", ["O"])
def test_noise_ends_in_no_structure(nothing: Scene, symmetry: str) -> None:
    found = reconstruct_ab_initio(
        nothing.particles, symmetry, nothing.diameter_A, replace(SETTINGS, seeds=3, batches=15)
    )
    assert found.evidence.verdict == "no structure"
    assert found.evidence.over_nothing.mean < 0.1  # a map of noise explains no particle that is not in it
    assert found.evidence.sentence.startswith("no structure: ")


def test_results_do_not_depend_on_threads(octahedral: Scene) -> None:
    settings = replace(SETTINGS, seeds=2, batches=12)  # enough to arrive: on the way, rounding would grow
    threads = torch.get_num_threads()
    maps = []
    for count in (1, 2):
        torch.set_num_threads(count)
        maps.append(reconstruct_ab_initio(octahedral.particles, "O", octahedral.diameter_A, settings).volume)
    torch.set_num_threads(threads)
    assert torch.allclose(*maps, atol=1e-4 * float(maps[0].max()))


def test_symmetry_is_checked_where_there_is_a_structure(dihedral: Scene) -> None:
    settings = replace(SETTINGS, check_symmetry=True)
    found = reconstruct_ab_initio(dihedral.particles, "D2", dihedral.diameter_A, settings)
    assert [score.symmetry for score in found.symmetries] == ["D2", "D4", "D6", "T", "C2"]
    assert found.sentences[1:] == ["D2 stands against D4, D6, T, C2", "the hand is undetermined"]


def test_symmetry_found_in_free_starts_leads_to_the_truth(dihedral: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abinitio, "FREE_ROUND", 0)
    found = reconstruct_ab_initio(dihedral.particles, "D2", dihedral.diameter_A, SETTINGS)
    assert len(found.held_out_score) == abinitio.FREE_STARTS
    assert found.evidence.verdict == "structure"
    assert (best_agreement(found.volume, dihedral.truth)[:9] > 0.9).all()
