"""What EPU and SerialEM write beside a movie: units, signs, and files that are broken or malicious."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scherzer.formats.epu_xml import read_epu_xml
from scherzer.formats.errors import BadInput
from scherzer.formats.exposure_metadata import MAX_BYTES, ExposureMetadata
from scherzer.formats.mdoc import read_mdoc
from scherzer.formats.sidecars import find_sidecar, read_sidecar

ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
SHARED = "http://schemas.datacontract.org/2004/07/Fei.SharedObjects"


def entry(key: str, value: str) -> str:
    return f"<a:KeyValueOfstringanyType><a:Key>{key}</a:Key><a:Value>{value}</a:Value></a:KeyValueOfstringanyType>"


def epu_xml(fractions: str = "<b:NumberOffractions xmlns:b='f'>40</b:NumberOffractions>") -> str:
    """Return an EPU XML of 300 kV, 0.83 A, 48 e/A2 and 1.8 um underfocus, in EPU's own units."""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<MicroscopeImage xmlns="{SHARED}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
 <CustomData xmlns:a="{ARRAYS}">{entry("DoseOnCamera", "369.58")}{entry("Dose", "4.8E+21")}
  {entry("AppliedDefocus", "-1.8E-06")}{entry("PhasePlateUsed", "false")}</CustomData>
 <SpatialScale><pixelSize><x><numericValue>8.3E-11</numericValue></x><y><numericValue>8.3E-11</numericValue></y>
 </pixelSize></SpatialScale>
 <microscopeData><acquisition><camera>
   <CameraSpecificInput xmlns:a="{ARRAYS}">{entry("FractionationSettings", fractions)}</CameraSpecificInput>
   <ExposureTime>2.5</ExposureTime>
   <ReadoutArea xmlns:a="http://schemas.datacontract.org/2004/07/System.Drawing">
   <a:height>4092</a:height><a:width>5760</a:width></ReadoutArea></camera></acquisition>
  <gun><AccelerationVoltage>300000</AccelerationVoltage></gun>
  <optics><BeamShift xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Types">
   <a:_x>-0.11633544</a:_x><a:_y>0.019380046</a:_y></BeamShift><Defocus>-4.7E-06</Defocus></optics>
  <stage><Position><A>0.5235987755982988</A></Position></stage>
 </microscopeData></MicroscopeImage>"""


MDOC = """\
T = SerialEM: Digitized on Krios
Voltage = 200
ImageSize = 5760 4092

[T = binning = 1  spot = 8]

[FrameSet = 0]
TiltAngle = 0.00249969
ExposureDose = 34.9645
PixelSpacing = 0.694291
Defocus = -3.33245
ImageShift = -2.5 1.25
ExposureTime = 7
TargetDefocus = -2.2
SubFramePath = X:\\Anna_20171223\\a_0001.tif
NumSubFrames = 35
FrameDosesAndNumber = 0.99898 35
DateTime = 23-Dec-17  13:20:32
"""


def test_epu_units_become_angstrom_kilovolt_and_underfocus_positive(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(epu_xml())
    found = read_epu_xml(path)
    assert found.pixel_size_A == pytest.approx(0.83)
    assert (found.voltage_kV, found.frame_count, found.image_width_px, found.exposure_s) == (300.0, 40, 5760, 2.5)
    assert found.dose_e_per_A2 == pytest.approx(48.0)
    assert found.target_underfocus_A == pytest.approx(18000.0)
    assert found.beam_shift == (-0.11633544, 0.019380046)
    assert found.tilt_deg == pytest.approx(30.0)


def test_falcon_fractions_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(epu_xml("<b:DoseFractions xmlns:b='f'><b:D/><b:D/><b:D/></b:DoseFractions>"))
    assert read_epu_xml(path).frame_count == 3


def test_what_epu_left_out_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"<MicroscopeImage xmlns='{SHARED}'><microscopeData/></MicroscopeImage>")
    assert read_epu_xml(path) == ExposureMetadata("EPU XML")


def test_values_that_cannot_be_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = epu_xml().replace("8.3E-11", "0").replace("4.8E+21", "NaN").replace("300000", "0").replace(">2.5<", ">x<")
    path.write_text(text.replace("-0.11633544", ""))
    found = read_epu_xml(path)
    assert found.pixel_size_A is found.dose_e_per_A2 is found.voltage_kV is found.exposure_s is found.beam_shift is None
    assert found.frame_count == 40


BOMB = (
    "<!DOCTYPE MicroscopeImage [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(12))
    + "]><MicroscopeImage>&m;</MicroscopeImage>"
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0" * 5000, "is empty"),
        (b"<MicroscopeImage><a>", "not readable XML"),
        (epu_xml()[: len(epu_xml()) // 2].encode(), "not readable XML"),
        (b"\x89PNG\r\n" + bytes(range(256)), "not readable XML"),
        (b"<html></html>", "not EPU's description"),
        (b"<?xml version='1.0' encoding='klingon'?><a/>", "not readable XML"),
        (BOMB.encode(), "declares a document type"),
        (b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><MicroscopeImage>&x;</MicroscopeImage>", "declares"),
        (b"<!DOCTYPE a SYSTEM 'http://localhost/x.dtd'><MicroscopeImage/>", "declares a document type"),
    ],
)
def test_a_broken_or_malicious_xml_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.xml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_epu_xml(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.xml"
    with path.open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(BadInput, match="too large"):
        read_epu_xml(path)
    with pytest.raises(BadInput, match="too large"):
        read_mdoc(path, "a.tif")


def test_deep_nesting_does_not_overflow(tmp_path: Path) -> None:
    path = tmp_path / "deep.xml"
    path.write_text("<MicroscopeImage>" + "<a>" * 200_000 + "</a>" * 200_000 + "</MicroscopeImage>")
    assert read_epu_xml(path) == ExposureMetadata("EPU XML")


def test_serialem_units_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "a_0001.tif.mdoc"
    path.write_text(MDOC)
    found = read_mdoc(path, "a_0001.tif")
    assert (found.pixel_size_A, found.voltage_kV, found.frame_count) == (0.694291, 200.0, 35)
    assert found.dose_e_per_A2 == pytest.approx(0.99898 * 35)
    assert found.target_underfocus_A == pytest.approx(22000.0)
    assert (found.beam_shift, found.exposure_s, found.image_width_px) == ((-2.5, 1.25), 7.0, 5760)


def test_frame_doses_that_differ_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "a.mdoc"
    path.write_text(MDOC.replace("0.99898 35", "0 2 1.5 10 1.0 23").replace("NumSubFrames = 35\n", ""))
    found = read_mdoc(path, "a_0001.tif")
    assert found.dose_e_per_A2 == pytest.approx(38.0)
    assert found.frame_count == 35


def test_an_uncalibrated_dose_is_not_known(tmp_path: Path) -> None:
    path = tmp_path / "a.mdoc"
    path.write_text(MDOC.replace("34.9645", "0").replace("FrameDosesAndNumber = 0.99898 35\n", ""))
    assert read_mdoc(path, "a_0001.tif").dose_e_per_A2 is None


def test_of_many_sections_the_movies_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "all.mdoc"
    other = MDOC.split("[FrameSet")[1].replace("a_0001", "B_0002").replace("-2.2", "-0.9")
    path.write_text(MDOC + "\n[ZValue" + other)
    assert read_mdoc(path, "a_0001.tif").target_underfocus_A == pytest.approx(22000.0)
    assert read_mdoc(path, "b_0002.tif").target_underfocus_A == pytest.approx(9000.0)
    with pytest.raises(BadInput, match=r"describes 2 movies, none named c\.tif"):
        read_mdoc(path, "c.tif")


def test_a_text_that_is_no_mdoc_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mdoc"
    path.write_text("hello\nworld\n")
    with pytest.raises(BadInput, match="not a SerialEM mdoc"):
        read_mdoc(path, "a.tif")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 2500), junk=st.binary(max_size=40), cut=st.integers(0, 60), xml=st.booleans())
def test_a_mutated_file_gives_metadata_or_one_error(
    tmp_path: Path, place: int, junk: bytes, cut: int, xml: bool
) -> None:
    path = tmp_path / ("m.xml" if xml else "m.mdoc")
    content = (epu_xml() if xml else MDOC).encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_sidecar(path, tmp_path / "a_0001.tif")
    except BadInput:
        return
    for value in (found.pixel_size_A, found.dose_e_per_A2, found.target_underfocus_A, found.voltage_kV):
        assert value is None or math.isfinite(value)


@pytest.mark.parametrize(
    ("movie", "beside"),
    [
        ("FoilHole_1_Data_2_3_20200101_1200_Fractions.tiff", "FoilHole_1_Data_2_3_20200101_1200.xml"),
        ("FoilHole_1_Data_2_3_20200101_1200_fractions.mrc", "FoilHole_1_Data_2_3_20200101_1200.xml"),
        ("FoilHole_1_Data_2_3_20200101_1200_EER.eer", "FoilHole_1_Data_2_3_20200101_1200.xml"),
        ("FoilHole_1_Data_2_3_20200101_1200-Fractions.mrc.gz", "FoilHole_1_Data_2_3_20200101_1200.xml"),
        ("mic.mrc", "mic.xml"),
        ("x.tif", "x.tif.mdoc"),
        ("x.tif", "x.mdoc"),
        ("x.tif", "x.mrc.mdoc"),
    ],
)
def test_the_file_beside_a_movie_is_found(tmp_path: Path, movie: str, beside: str) -> None:
    (tmp_path / movie).touch()
    assert find_sidecar(tmp_path / movie) is None
    (tmp_path / beside).touch()
    assert find_sidecar(tmp_path / movie) == tmp_path / beside


def test_a_link_is_followed_to_what_lies_beside_its_target(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target = tmp_path / "disk" / "a_0001.tif"
    target.touch()
    (tmp_path / "disk" / "a_0001.tif.mdoc").write_text(MDOC)
    link = tmp_path / "first.tif"
    link.symlink_to(target)
    sidecar = find_sidecar(link)
    assert sidecar == tmp_path / "disk" / "a_0001.tif.mdoc"
    assert read_sidecar(sidecar, link).voltage_kV == 200.0


def test_the_pixel_size_follows_super_resolution_and_binning() -> None:
    found = ExposureMetadata("x", pixel_size_A=1.0, image_width_px=5760)
    assert found.pixel_size_at(5760) == 1.0
    assert found.pixel_size_at(11520) == 0.5
    assert found.pixel_size_at(2880) == 2.0
    assert found.pixel_size_at(5700) == 1.0
    # Cropped, not binned.
    assert found.pixel_size_at(4096) == 1.0
    assert ExposureMetadata("x", pixel_size_A=1.0).pixel_size_at(11520) == 1.0
