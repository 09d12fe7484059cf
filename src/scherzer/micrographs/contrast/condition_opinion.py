"""What the condition network says about a micrograph, and whether it has seen such images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scherzer.micrographs.contrast.condition_network import LABELS, ConditionNetwork, views
from scherzer.micrographs.contrast.out_of_domain import Reference, marks
from scherzer.micrographs.contrast.thumbnail import AS_IT_IS_A, thumbnail
from scherzer.micrographs.contrast.weights_file import part_of, read_weights, shipped, write_weights

# Weights of another version are refused.
WEIGHTS_VERSION = 1
FAULTS = ("drift", "empty", "contamination", "crystalline")
PARTS = ("centre", "spread", "points", "usual")
# A label holds from here on. Probabilities were calibrated on simulations.
HOLDS = 0.5
# Pictures smaller than this at 8 A are not judged, px.
SMALLEST_PX = 96
SHIPPED = shipped("condition.safetensors")


@dataclass(frozen=True)
class ConditionOpinion:
    """A second opinion.

    Attributes
    ----------
    probabilities : dict of str to float
        Of each label independently: fine, drift, empty (no particles, or no ice), contamination (grains of ice,
        aggregates, torn or cracked film), crystalline, carbon (or other support).
    strangeness : float
        Above 1 the micrograph is unlike the training set's
        (:class:`scherzer.micrographs.contrast.out_of_domain.Reference`).
    """

    probabilities: dict[str, float]
    strangeness: float

    @property
    def is_fine(self) -> bool:
        """Whether nothing speaks against using the micrograph."""
        return self.probabilities["fine"] >= HOLDS

    @property
    def fault(self) -> str:
        """The most probable fault."""
        return max(FAULTS, key=self.probabilities.__getitem__)

    @property
    def note(self) -> str:
        """A sentence where the network should not be believed; empty elsewhere."""
        if not self.strangeness > 1:
            return ""
        times = f"{self.strangeness:.1f} times as far from them as all but two in a hundred of their kind"
        return f"unlike the images that the classifier has seen ({times})"


@dataclass(frozen=True)
class ConditionClassifier:
    """A network, its calibration and its training set's looks.

    Attributes
    ----------
    network : ConditionNetwork
        Ready to be asked.
    calibration : Tensor
        ``(2, labels)``: factor and offset of the logits.
    counts, pictures : Reference
        What the training set's micrographs were like: those recorded at fine pixels, and pictures kept for people.
    """

    network: ConditionNetwork
    calibration: Tensor
    counts: Reference
    pictures: Reference

    @classmethod
    def load(cls, path: Path | None = None) -> ConditionClassifier:
        """Load the shipped weights, or others.

        Raises
        ------
        BadInput
            If the file is not there, is no safetensors file, or is of another version.
        """
        tensors = read_weights(path or SHIPPED, WEIGHTS_VERSION, "condition network")
        network = ConditionNetwork()
        network.load_state_dict(part_of(tensors, "network."))
        counts, pictures = (
            Reference(*(tensors[f"{name}.{part}"].float() for part in PARTS)) for name in ("counts", "pictures")
        )
        return cls(network.eval(), tensors["calibration"], counts, pictures)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        tensors = {
            "calibration": self.calibration,
            **{f"network.{name}": value for name, value in self.network.state_dict().items()},
        }
        for name, reference in (("counts", self.counts), ("pictures", self.pictures)):
            tensors |= {f"{name}.{part}": getattr(reference, part) for part in PARTS}
            tensors[f"{name}.points"] = reference.points.half()
        write_weights(path, WEIGHTS_VERSION, tensors)

    def judge(self, image: Tensor, pixel_size_A: float) -> ConditionOpinion:
        """Look at a micrograph; what cannot be said of a field of less than 770 A is NaN.

        Parameters
        ----------
        image : Tensor
            ``(h, w)``, protein dark, in any grey levels.
        pixel_size_A : float
            Pixel size.

        Raises
        ------
        ValueError
            When the image is not finite.
        """
        values = image.float().cpu()
        if not bool(torch.isfinite(values.sum())):
            raise ValueError("condition needs an image with finite values")
        small = thumbnail(values, pixel_size_A)
        if min(small.shape) < SMALLEST_PX:
            return ConditionOpinion(dict.fromkeys(LABELS, math.nan), math.nan)
        with torch.inference_mode():
            logits = self.network(*views(small[None]))[0] * self.calibration[0] + self.calibration[1]
            reference = self.pictures if pixel_size_A >= AS_IT_IS_A else self.counts
            strangeness = reference.strangeness(described(marks(values, small), logits))
        return ConditionOpinion(dict(zip(LABELS, torch.sigmoid(logits).tolist(), strict=True)), strangeness)


def described(marks_of_it: Tensor, logits: Tensor) -> Tensor:
    """Join what a micrograph is compared by: `marks`, and the calibrated logits where they are not saturated."""
    return torch.cat([marks_of_it, 4 * torch.tanh(logits / 4)], -1)
