"""How a CTF is fitted, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scherzer.micrographs.ctf_tilt import Tilt
from scherzer.micrographs.fit_resolution import CtfProfile


@dataclass(frozen=True)
class CtfSettings:
    """How a spectrum is made and searched.

    Attributes
    ----------
    min_defocus_A, max_defocus_A : float
        Range of the mean defocus.
    max_astigmatism_A : float
        Largest difference of the two defoci.
    min_resolution_A, max_resolution_A : float
        Band of the final fit.
    search_resolution_A : float
        End of the band in the search before it, where most spectra still have rings.
    phase_shift_rad : float
        Known phase shift of a phase plate.
    fit_phase_shift : bool
        Find the phase shift, between 0 and half a turn, instead.
    fit_tilt : bool
        Find how defocus changes over the image, too.
    finest_pixel_A : float
        Finer images are cut off at this pixel's Nyquist frequency.
    rings_confidence : float
        Confidence below which there is no reliable fit.
    """

    min_defocus_A: float = 2000.0
    max_defocus_A: float = 60000.0
    max_astigmatism_A: float = 2500.0
    min_resolution_A: float = 30.0
    max_resolution_A: float = 3.6
    search_resolution_A: float = 4.0
    phase_shift_rad: float = 0.0
    fit_phase_shift: bool = False
    fit_tilt: bool = True
    finest_pixel_A: float = 1.4
    rings_confidence: float = 0.95

    def __post_init__(self) -> None:
        low, high = self.min_defocus_A, self.max_defocus_A
        if not 500 <= low < high <= 200_000:
            raise ValueError(f"defocus is sought from {low:g} to {high:g} A, give a range within 500 to 200000 A")
        if not 0 <= self.max_astigmatism_A <= 20_000:
            raise ValueError(f"max_astigmatism_A is {self.max_astigmatism_A:g}, give 0 to 20000 A")
        ends = sorted((self.max_resolution_A, self.search_resolution_A))
        if not 1 <= ends[0] <= ends[1] <= self.min_resolution_A / 2 <= 100:
            fine = f"max_resolution_A {self.max_resolution_A:g} and search_resolution_A {self.search_resolution_A:g}"
            raise ValueError(f"{fine} are at least 1 and at most half of min_resolution_A {self.min_resolution_A:g} A")
        if not 0.1 <= self.finest_pixel_A <= 10:
            raise ValueError(f"finest_pixel_A is {self.finest_pixel_A:g}, give 0.1 to 10 A")
        if not 0 <= self.rings_confidence < 1:
            raise ValueError(f"rings_confidence is {self.rings_confidence:g}, give a probability")


@dataclass(frozen=True)
class CtfFit:
    """The CTF of one micrograph and how far it can be trusted.

    Attributes
    ----------
    defocus_u_A, defocus_v_A : float
        Largest and smallest defocus, underfocus positive.
    defocus_angle_rad : float
        From the x axis to the direction of ``defocus_u_A``, in [0, pi).
    phase_shift_rad : float
        As given, or as fitted, in [0, pi).
    score : float
        Normalised correlation of the rings with the model over the search band, 0 to 1.
    fit_resolution_A : float
        Where the rings stop following the fit; the coarse end of the band where there are no rings.
    confidence : float
        Probability that the mean defocus is right within 500 A, as :mod:`scherzer.micrographs.ctf_confidence` has it.
    problem : str
        Why there is no reliable fit; empty where there is one. The numbers are then the best guess, or zero.
    defocus_error_A, astigmatism_error_A, phase_shift_error_rad : float
        Standard errors: of the mean defocus, of either component of the astigmatism, of a fitted phase shift; infinite
        where there is no reliable fit.
    directional_loss : float
        0 where the signal reaches equally far in all directions, towards 1 where drift has smeared it.
    spectrum : Tensor
        ``(s, s)`` in 0 to 1 for display, zero frequency at the centre: left half data, upper right
        quarter their average along lines of equal phase, lower right the fit.
    spectrum_pixel_size_A : float
        The spectrum's edge is at ``1 / (2 spectrum_pixel_size_A)``.
    profile : CtfProfile
        The average along lines of equal phase.
    tilt : Tilt or None
        Of the film; None where it was not fitted.
    """

    defocus_u_A: float
    defocus_v_A: float
    defocus_angle_rad: float
    phase_shift_rad: float
    score: float
    fit_resolution_A: float
    confidence: float
    problem: str
    defocus_error_A: float
    astigmatism_error_A: float
    phase_shift_error_rad: float
    directional_loss: float
    spectrum: Tensor
    spectrum_pixel_size_A: float
    profile: CtfProfile
    tilt: Tilt | None = None

    @property
    def reliable(self) -> bool:
        """Whether the fit can be used."""
        return not self.problem

    @property
    def mean_defocus_A(self) -> float:
        """Mean of the two defoci, A."""
        return (self.defocus_u_A + self.defocus_v_A) / 2

    @property
    def astigmatism_A(self) -> float:
        """Difference of the two defoci, A."""
        return self.defocus_u_A - self.defocus_v_A
