"""The contrast classifier that is shipped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from scherzer.micrographs.contrast.ensemble import Combination, combine, estimate_patches
from scherzer.micrographs.contrast.logistic import LogisticModel, features_of
from scherzer.micrographs.contrast.measurements import CtfNumbers, Measurements, checked, measure_whitened
from scherzer.micrographs.contrast.network import PatchNetwork
from scherzer.micrographs.contrast.settings import SHIPPED
from scherzer.micrographs.contrast.visibility import LABELS, ContrastLabel, class_probabilities
from scherzer.micrographs.contrast.weights_file import part_of, read_weights, write_weights
from scherzer.micrographs.contrast.whitening import tile_spectrum, whiten
from scherzer.physics.optics import Optics

# Weights of another version are refused.
WEIGHTS_VERSION = 2
Method = Literal["network", "measurements"]


@dataclass(frozen=True)
class ContrastClass:
    """How visible the particles of a micrograph are.

    Attributes
    ----------
    label : str
        good, moderate or bad: the most probable.
    probabilities : tuple of float
        Of good, moderate and bad; they sum to 1.
    d_prime, d_prime_low, d_prime_high : float
        Detectability index of one particle as the network estimates it
        (:mod:`scherzer.micrographs.contrast.visibility`), with its 90 % interval.
    measurements : Measurements
        What a person would look at.
    """

    label: ContrastLabel
    probabilities: tuple[float, float, float]
    d_prime: float
    d_prime_low: float
    d_prime_high: float
    measurements: Measurements


@dataclass(frozen=True)
class ContrastClassifier:
    """An ensemble of patch networks and its physical rival.

    Attributes
    ----------
    networks : list of PatchNetwork
        The ensemble.
    combination : Combination
        How its members are weighed.
    logistic : LogisticModel
        The rival.
    """

    networks: list[PatchNetwork]
    combination: Combination
    logistic: LogisticModel

    @classmethod
    def load(cls, path: Path | None = None) -> ContrastClassifier:
        """Load the shipped weights, or others.

        Raises
        ------
        BadInput
            If the file is not there, is no safetensors file, or is of another version.
        """
        tensors = read_weights(path or SHIPPED, WEIGHTS_VERSION, "contrast classifier")
        networks = []
        for member in range(len(tensors["combination.weights"])):
            network = PatchNetwork()
            network.load_state_dict(part_of(tensors, f"network.{member}."))
            networks.append(network.eval())
        spread = tensors["combination.spread"]
        return cls(
            networks,
            Combination(tensors["combination.weights"], float(spread[0]), float(spread[1])),
            LogisticModel(tensors["logistic.centre"], tensors["logistic.scale"], tensors["logistic.weights"]),
        )

    def save(self, path: Path) -> None:
        """Write the weights as safetensors."""
        tensors = {
            "combination.weights": self.combination.weights,
            "combination.spread": torch.tensor([self.combination.spread_scale, self.combination.spread_floor]),
            "logistic.centre": self.logistic.centre,
            "logistic.scale": self.logistic.scale,
            "logistic.weights": self.logistic.weights,
        }
        for member, network in enumerate(self.networks):
            tensors |= {f"network.{member}.{name}": value for name, value in network.state_dict().items()}
        write_weights(path, WEIGHTS_VERSION, tensors)

    def classify(
        self, image: Tensor, optics: Optics, ctf_numbers: CtfNumbers | None = None, method: Method = "network"
    ) -> ContrastClass:
        """Classify a micrograph by the visibility of its particles.

        Parameters
        ----------
        image : Tensor
            ``(h, w)`` in any grey levels, protein dark.
        optics : Optics
            With the pixel size of the image.
        ctf_numbers : CtfNumbers, optional
            Goes into the measurements only; the network is not told the defocus.
        method : str
            Whose probabilities are returned; the model card says how the two compare.

        Raises
        ------
        ValueError
            When the image is smaller than 64 px, constant, or not finite.
        """
        image = checked(image)
        spectrum = tile_spectrum(image, optics.pixel_size_A)
        whitened = whiten(image, optics.pixel_size_A, spectrum)
        found = measure_whitened(image, optics, spectrum, whitened, ctf_numbers)
        means, spreads = estimate_patches(self.networks, whitened.values)
        mean, spread = combine(means[None], spreads[None], self.combination)
        by_network = class_probabilities(mean, spread)
        by_measurements = self.logistic.probabilities(features_of(found)[None])
        good, moderate, bad = (by_network if method == "network" else by_measurements)[0].tolist()
        probabilities = (good, moderate, bad)
        low, centre, high = torch.exp(mean[0] + spread[0] * torch.tensor([-1.645, 0.0, 1.645])).tolist()
        label = LABELS[max(range(3), key=probabilities.__getitem__)]
        return ContrastClass(label, probabilities, centre, low, high, found)
