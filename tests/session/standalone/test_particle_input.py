"""A foreign particles.star: what is read of it, and the one line for what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from scherzer.formats.errors import BadInput
from scherzer.formats.mrc import write_mrc
from scherzer.formats.star import read_star
from scherzer.fourier.grids import centred_irfft2, centred_rfft2, real_radius
from scherzer.likelihood.band import make_band
from scherzer.likelihood.noise import image_power
from scherzer.likelihood.score import prepare
from scherzer.physics.ctf import ctf, electron_wavelength_A
from scherzer.physics.optics import ctf_parameters_of
from scherzer.session.stages import particle_sets
from scherzer.session.standalone.inputs import load, particle_input

Project = Any  # of conftest.py
DIAMETER_A = 92.0


def images_in(star: Path, **more: Any) -> tuple[torch.Tensor, tuple[str, ...]]:
    particles, notes = load(particle_input(star, "D2", DIAMETER_A, **more))
    return centred_irfft2(particles.spectra()), notes


def test_particles_load_in_their_order_with_the_optics_of_their_group(project: Project) -> None:
    order = np.random.default_rng(1).permutation(len(project.table))
    star = project.rewrite("mixed.star", project.table.rows.iloc[order])
    particles, notes = load(particle_input(star, "D2", DIAMETER_A))
    assert torch.allclose(centred_irfft2(particles.spectra()), project.images[torch.from_numpy(order)], atol=3e-3)
    kV = torch.tensor([300.0, 200.0])[torch.from_numpy(project.table.rows["rlnOpticsGroup"].to_numpy()[order] - 1)]
    assert torch.allclose(particles.ctf.wavelength_A, electron_wavelength_A(kV))
    assert len(particles.micrograph.unique()) == 16
    assert len(set(zip(particles.optics_group.tolist(), kV.tolist(), strict=True))) == 2
    assert notes == ("half-sets made here, of 16 micrographs",)


def test_half_sets_made_here_keep_micrographs_whole(project: Project) -> None:
    table = particle_input(project.star, "D2", DIAMETER_A).table.rows
    assert (table.groupby("rlnMicrographName")["rlnRandomSubset"].nunique() == 1).all()
    assert table["rlnRandomSubset"].value_counts().tolist() == [120, 120]


def test_half_sets_of_the_table_are_kept(project: Project) -> None:
    half = np.random.default_rng(2).integers(1, 3, len(project.table))
    given = particle_input(project.rewrite("halves.star", project.table.rows.assign(rlnRandomSubset=half)), "D2", 92.0)
    assert given.table.rows["rlnRandomSubset"].tolist() == half.tolist()
    assert "cut through 16 of 16 micrographs" in given.grouping.notes[0]


def test_without_micrograph_names_a_stack_is_one(project: Project) -> None:
    rows = project.table.rows.drop(columns="rlnMicrographName")
    grouping = particle_input(project.rewrite("nameless.star", rows), "D2", DIAMETER_A).grouping
    assert grouping.micrograph.nunique() == 16
    assert "each stack is taken for a micrograph" in grouping.notes[0]
    one = particle_input(project.rewrite("one.star", rows.iloc[:15]), "D2", DIAMETER_A).grouping
    assert set(one.half) == {1, 2}
    assert "every 7 rows are taken for one" in one.notes[0]


@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"), [(np.float32, 1.0, 3e-3), (np.float16, 1.0, 4e-3), (np.int16, 1000.0, 2e-2)]
)
def test_every_stored_type_gives_the_same_images(
    project: Project, tmp_path: Path, dtype: type, scale: float, tolerance: float
) -> None:
    stored = (project.images * scale).numpy()
    stored = stored.round() if dtype is np.int16 else stored
    write_mrc(tmp_path / "all.mrcs", stored.astype(dtype), 4.0, "stack")
    names = [f"{n:06d}@all.mrcs" for n in range(1, len(stored) + 1)]
    rows = project.table.rows.assign(rlnImageName=names)
    star = replace(project, star=tmp_path / "p.star").rewrite("particles.star", rows)
    images, notes = images_in(star)
    assert (notes[-1].startswith("the images are not normalised")) == (scale != 1.0)
    if scale != 1.0:  # normalised here: compare up to each image's plane and scale
        images, reference = (part - part.mean((1, 2), keepdim=True) for part in (images, project.images))
        agreement = (images * reference).sum((1, 2)) / (images.norm(dim=(1, 2)) * reference.norm(dim=(1, 2)))
        assert agreement.min() > 0.99
        assert float(images[:, real_radius(36, 2) > 12].std()) == pytest.approx(1, abs=0.02)
    else:
        assert torch.allclose(images, project.images, atol=tolerance)


def test_the_size_of_blocks_changes_nothing(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mrc(tmp_path / "all.mrcs", project.images.numpy(), 4.0, "stack")
    order = np.random.default_rng(5).permutation(len(project.images))
    rows = project.table.rows.assign(rlnImageName=[f"{n + 1:06d}@all.mrcs" for n in order])
    star = replace(project, star=tmp_path / "p.star").rewrite("particles.star", rows)
    whole = images_in(star)[0]
    monkeypatch.setattr(particle_sets, "BLOCK", 7)
    assert torch.equal(images_in(star)[0], whole)
    assert torch.allclose(whole, project.images[torch.from_numpy(order)], atol=3e-3)


def test_larger_images_are_cropped_to_the_box_asked_for(project: Project) -> None:
    given = particle_input(project.star, "D2", DIAMETER_A)
    whole, small = load(given)[0], load(given, 24)[0]
    assert small.box == 24
    assert small.pixel_size_A == pytest.approx(6.0)
    assert torch.allclose(small.spectra(), whole.resized(24).spectra(), atol=0.05)


def test_premultiplied_images_score_as_those_that_were_not(project: Project, tmp_path: Path) -> None:
    kx, ky = torch.fft.rfftfreq(36, 4.0), torch.fft.fftfreq(36, 4.0)[:, None]
    transfer = ctf(ctf_parameters_of(project.table.rows, project.table.optics), kx, ky)
    write_mrc(tmp_path / "all.mrcs", centred_irfft2(centred_rfft2(project.images) * transfer).numpy(), 4.0, "stack")
    rows = project.table.rows.assign(rlnImageName=[f"{n:06d}@all.mrcs" for n in range(1, len(project.images) + 1)])
    optics = project.table.optics.assign(rlnCtfDataAreCtfPremultiplied=1)
    star = replace(project, star=tmp_path / "p.star").rewrite("particles.star", rows, optics)
    band = make_band(36, 12)
    plain, multiplied = (load(particle_input(path, "D2", DIAMETER_A))[0] for path in (project.star, star))
    scored, again = (prepare(found, band, image_power(plain)) for found in (plain, multiplied))
    scale = float((again.data.conj() * scored.data).sum().real / again.data.abs().square().sum())
    assert 0.6 < scale < 1.0  # the background was brought to deviation 1 again
    # What is allowed for cropping weighs images that were not cropped a little wrongly.
    assert float((scale * again.data - scored.data).norm() / scored.data.norm()) < 0.15
    assert float((again.power - scored.power).norm() / scored.power.norm()) < 0.1


def test_dark_protein_is_told_and_can_be_inverted(project: Project, tmp_path: Path) -> None:
    write_mrc(tmp_path / "all.mrcs", -project.images.numpy(), 4.0, "stack")
    rows = project.table.rows.assign(rlnImageName=[f"{n:06d}@all.mrcs" for n in range(1, len(project.images) + 1)])
    star = replace(project, star=tmp_path / "p.star").rewrite("particles.star", rows)
    assert "protein looks dark" in images_in(star)[1][-1]
    inverted, notes = images_in(star, invert=True)
    assert not any("protein looks" in note for note in notes)
    assert torch.allclose(inverted, project.images, atol=3e-3)
    assert "protein looks white already" in images_in(project.star, invert=True)[1][-1]


def test_what_is_not_used_is_said_unless_it_changes_nothing(project: Project) -> None:
    neutral = project.table.optics.assign(rlnBeamTiltX=0.0, rlnMagMat00=1.0, rlnMagMat01=0.0, rlnOddZernike="[0,0,0]")
    _, notes = images_in(project.rewrite("neutral.star", optics=neutral))
    assert not any("ignored" in note for note in notes)
    telling = neutral.assign(rlnBeamTiltX=[0.0, 0.3], rlnOddZernike="[0,0.1,0]")
    _, notes = images_in(project.rewrite("telling.star", optics=telling))
    assert "ignored: rlnBeamTiltX, rlnOddZernike" in notes


def test_rows_that_were_rejected_are_left_out(project: Project) -> None:
    state = ["rejected"] * 30 + ["accepted"] * 210
    given = particle_input(project.rewrite("states.star", project.table.rows.assign(sczState=state)), "D2", DIAMETER_A)
    assert len(given.table) == 210


def _rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Project, Path], Path]:
    return lambda project, folder: project.rewrite("bad.star", rows=change(project.table.rows.copy()))


def _optics(**values: Any) -> Callable[[Project, Path], Path]:
    return lambda project, folder: project.rewrite("bad.star", optics=project.table.optics.assign(**values))


def _second_image(name: str) -> Callable[[Project, Path], Path]:
    return _rows(lambda rows: rows.assign(rlnImageName=[rows["rlnImageName"][0], name, *rows["rlnImageName"][2:]]))


def _text(content: str) -> Callable[[Project, Path], Path]:
    def write(project: Project, folder: Path) -> Path:
        (folder / "bad.star").write_text(content)
        return folder / "bad.star"

    return write


BAD = {
    "no such file": (lambda project, folder: folder / "none.star", "no such file"),
    "RELION 3.0": (_text("data_\n\nloop_\n_rlnImageName #1\n000001@a.mrcs\n"), "relion_convert_star"),
    "no particles": (_rows(lambda rows: rows.iloc[:0]), "no particles"),
    "no defocus": (_rows(lambda rows: rows.drop(columns="rlnDefocusV")), "has no rlnDefocusV"),
    "text for defocus": (_rows(lambda rows: rows.assign(rlnDefocusU="high")), "rlnDefocusU of row 1 is not a number"),
    "NaN for defocus": (_rows(lambda rows: rows.assign(rlnDefocusU=np.nan)), "rlnDefocusU of row 1 is not a number"),
    "no voltage": (lambda p, _: p.rewrite("bad.star", optics=p.table.optics.drop(columns="rlnVoltage")), "rlnVoltage"),
    "volts": (_optics(rlnVoltage=300000.0), "rlnVoltage 300000 is not a likely acceleration voltage"),
    "two pixel sizes": (_optics(rlnImagePixelSize=[4.0, 5.0]), "differ in pixel size (4, 5)"),
    "two boxes": (_optics(rlnImageSize=[36, 40]), "differ in image size (36, 40)"),
    "another box": (_optics(rlnImageSize=40), "its images are 36 x 36 px, bad.star says 40"),
    "premultiplied in part": (_optics(rlnCtfDataAreCtfPremultiplied=[1, 0]), "only some optics groups"),
    "subtomograms": (_optics(rlnImageDimensionality=3), "not 2D images"),
    "unknown group": (_rows(lambda rows: rows.assign(rlnOpticsGroup=3)), "optics group 3 is in no optics block"),
    "missing stack": (_second_image("000002@Extract/gone.mrcs"), "the stack Extract/gone.mrcs is neither"),
    "image beyond": (_second_image("000099@Extract/job005/m00.mrcs"), "holds 15 images, bad.star asks for image 99"),
    "image 0": (_second_image("000000@Extract/job005/m00.mrcs"), "asks for image 0"),
    "no image number": (_second_image("Extract/job005/m00.mrcs"), "names no image"),
    "one half": (_rows(lambda rows: rows.assign(rlnRandomSubset=1)), "rlnRandomSubset is not 1 for some"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_get_one_line(case: str, project: Project, tmp_path: Path) -> None:
    make, expected = BAD[case]
    star = make(project, tmp_path)
    with pytest.raises(BadInput) as caught:
        particle_input(star, "D2", DIAMETER_A)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_options_get_one_line(project: Project) -> None:
    for options, expected in (
        (("Q7", DIAMETER_A), "unknown point group 'Q7'"),
        (("D2", None), "give --diameter in A"),
        (("D2", 144.0), "144 A is more than the images' 144 A"),
        (("D2", 9.2), "not a likely particle diameter"),
    ):
        with pytest.raises(BadInput) as caught:
            particle_input(project.star, *options)
        assert expected in str(caught.value)


def test_an_image_that_is_not_finite_is_named(project: Project, tmp_path: Path) -> None:
    images = project.images.clone()
    images[3, 5, 5] = torch.nan
    write_mrc(tmp_path / "all.mrcs", images.numpy(), 4.0, "stack")
    rows = project.table.rows.assign(rlnImageName=[f"{n:06d}@all.mrcs" for n in range(1, len(images) + 1)])
    star = replace(project, star=tmp_path / "p.star").rewrite("particles.star", rows)
    with pytest.raises(BadInput, match=r"all\.mrcs: holds values that are not numbers"):
        load(particle_input(star, "D2", DIAMETER_A))


def test_text_that_looks_like_a_number_stays_text(project: Project) -> None:
    assert set(read_star(project.star).rows["rlnGroupName"]) == {"0007"}
