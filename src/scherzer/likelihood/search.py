"""The best references and shifts of many images, by exhaustive search: prune in low precision, decide in float32."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scherzer.fourier.shifts import phase_ramp
from scherzer.likelihood.score import ScoredImages, gemm_dtype, moved_term

SURVIVORS = 8  # references an image keeps for the float32 decision; the best is among 4 in 99.8 % of simulated cases
SCORE_ENTRIES = 2**22  # entries of one block of products, 16 MiB in float32
IMAGE_ENTRIES = 2**22  # entries of the moved images of one block
DECISION_ENTRIES = 2**23  # complex entries of the references gathered for one block of decisions
FILL_ENTRIES = 2**16  # of references that are prepared at a time: they stay in a core's cache


@dataclass(frozen=True)
class Candidates:
    """The k best references of n images, best first.

    Attributes
    ----------
    reference : Tensor
        ``(n, k)`` int64.
    shift_px : Tensor
        ``(n, k, 2)`` where the particle was found, x and y, px.
    score : Tensor
        ``(n, k)`` float32 log likelihood gain, priors included.
    """

    reference: Tensor
    shift_px: Tensor
    score: Tensor

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """Posterior over the candidates, ``(n, k)``."""
        return torch.softmax(self.score / temperature, dim=1)


@dataclass(frozen=True)
class ReferenceBank:
    """References on a band, and the two factors of the score made of them once for all images.

    Attributes
    ----------
    values : Tensor
        ``(r, m)`` complex64.
    matrix, square : Tensor
        ``(2 m, r)`` twice the real and imaginary parts, and ``(m, r)`` the square moduli, in the precision of the
        matrix product.
    half_turns : bool
        Each reference stands also for itself turned by 180 degrees in the image's plane, its complex conjugate. Those
        have the numbers from r on.
    """

    values: Tensor
    matrix: Tensor
    square: Tensor
    half_turns: bool = False

    def __len__(self) -> int:
        return len(self.values) * (2 if self.half_turns else 1)

    def take(self, number: Tensor) -> Tensor:
        """Fetch the references of ``(...)`` numbers, ``(..., m)`` complex64."""
        rows = number.flatten() % len(self.values)
        found = self.values.index_select(0, rows).reshape(*number.shape, -1)
        if self.half_turns:
            torch.view_as_real(found)[..., 1] *= torch.where(number < len(self.values), 1.0, -1.0)[..., None]
        return found


def empty_bank(count: int, pixels: int, device: torch.device, half_turns: bool = False) -> ReferenceBank:
    """Return a bank of ``count`` references to be filled by :func:`fill_bank`."""
    dtype = gemm_dtype(str(device))
    values = torch.empty((count, pixels), dtype=torch.complex64, device=device)
    matrix, square = (torch.empty((count, size), dtype=dtype, device=device) for size in (2 * pixels, pixels))
    return ReferenceBank(values, matrix.T, square.T, half_turns)


def fill_bank(bank: ReferenceBank, start: int, values: Tensor) -> None:
    """Put ``(r, m)`` complex64 references into a bank from a number on; quickest for as many as fit into a cache."""
    rows, pixels = slice(start, start + len(values)), values.shape[1]
    real, imaginary = values.real.contiguous(), values.imag.contiguous()
    bank.values[rows] = values
    bank.matrix.T[rows, :pixels] = 2 * real
    bank.matrix.T[rows, pixels:] = 2 * imaginary
    bank.square.T[rows] = real.square_().addcmul_(imaginary, imaginary)


def reference_bank(values: Tensor) -> ReferenceBank:
    """Prepare ``(r, m)`` complex64 references for searching."""
    bank = empty_bank(len(values), values.shape[1], values.device)
    for rows in _blocks(len(values), max(1, FILL_ENTRIES // max(1, values.shape[1]))):
        fill_bank(bank, rows.start, values[rows])
    return bank


def shift_grid(range_px: float, step_px: float, device: torch.device | str = "cpu") -> Tensor:
    """Shifts within a disc, ``(t, 2)`` px, the smallest first."""
    count = int(range_px / step_px + 1e-6)
    side = torch.arange(-count, count + 1, device=device, dtype=torch.float32) * step_px
    y, x = torch.meshgrid(side, side, indexing="ij")
    shifts = torch.stack((x.flatten(), y.flatten()), dim=-1)
    length = shifts.norm(dim=1)
    keep = length <= range_px + 1e-4
    return shifts[keep][torch.argsort(length[keep], stable=True)]


def search(
    images: ScoredImages,
    references: ReferenceBank,
    shifts_px: Tensor,
    *,
    keep: int = 1,
    log_prior: Tensor | None = None,
    shift_log_prior: Tensor | None = None,
    survivors: int = SURVIVORS,
) -> Candidates:
    """Score every image against every reference at every shift.

    Parameters
    ----------
    images : ScoredImages
        n images.
    references : ReferenceBank
        r references on the images' band.
    shifts_px : Tensor
        ``(t, 2)``.
    keep : int
        How many candidates to return for each image.
    log_prior : Tensor, optional
        ``(r,)`` added to the score.
    shift_log_prior : Tensor, optional
        ``(t,)`` added to the score.
    survivors : int
        How many references per image are scored again in float32.

    Returns
    -------
    Candidates
        ``k = min(keep, r)``; each with its own best shift.
    """
    device, pixels = images.data.device, len(images.band)
    survivors = min(max(survivors, keep), len(references))
    prior = torch.zeros(len(references), device=device) if log_prior is None else log_prior
    ramps = phase_ramp(-shifts_px / images.band.box, images.band.kx, images.band.ky)
    most = min(IMAGE_ENTRIES // (len(shifts_px) * 2 * pixels), DECISION_ENTRIES // (survivors * pixels))
    found = []
    for rows in _blocks(len(images), max(1, most)):
        moved, power = images.data[rows][:, None, :] * ramps, images.power[rows]
        chosen = _survivors(moved, power, references, survivors, prior, shift_log_prior)
        scores = moved_term(moved, power, references.take(chosen))
        if shift_log_prior is not None:
            scores += shift_log_prior
        best, at = scores.max(-1)
        best, order = torch.topk(best + prior[chosen], min(keep, survivors), dim=1)
        found.append((chosen.gather(1, order), shifts_px[at.gather(1, order)], best))
    reference, shift, score = (torch.cat(part) for part in zip(*found, strict=True))
    return Candidates(reference, shift, score)


def _survivors(
    moved: Tensor, power: Tensor, references: ReferenceBank, survivors: int, prior: Tensor, shift_prior: Tensor | None
) -> Tensor:
    """Indices of the best references of images ``(n, t, m)`` in low precision, ``(n, survivors)``.

    A reference and its conjugate share both products: the real parts' is the same, the imaginary parts' has the
    other sign.
    """
    dtype = references.matrix.dtype
    count, shifts, pixels = moved.shape
    real, imaginary = (part.contiguous().to(dtype).reshape(-1, pixels) for part in (moved.real, moved.imag))
    power = power.to(dtype)
    total = len(references.values)
    signs = (1, -1) if references.half_turns else (1,)
    found: list[tuple[Tensor, Tensor]] = []
    for columns in _blocks(total, max(survivors, SCORE_ENTRIES // (count * shifts))):
        even = (real @ references.matrix[:pixels, columns]).float()
        odd = (imaginary @ references.matrix[pixels:, columns]).float()
        if shift_prior is not None:
            even += shift_prior.repeat(count)[:, None]
        square = (power @ references.square[:, columns]).float()
        for mate, sign in enumerate(signs):
            start = mate * total + columns.start
            scores = torch.add(even, odd, alpha=sign).reshape(count, shifts, -1).amax(1)
            scores += prior[start : start + scores.shape[1]] - square
            best, at = torch.topk(scores, min(survivors, scores.shape[1]), dim=1)
            found.append((best, at + start))
    best, index = (torch.cat(part, dim=1) for part in zip(*found, strict=True))
    return index if len(found) == 1 else index.gather(1, torch.topk(best, survivors, dim=1)[1])


def _blocks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
