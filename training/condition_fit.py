"""Fitting the condition network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from condition_sets import ConditionSet
from torch import Tensor

from scherzer.micrographs.contrast.condition_network import COARSE_PX, LABELS, ConditionNetwork, views


@dataclass(frozen=True)
class FitSettings:
    """Schedule: passes over the set, pictures in a batch, largest learning rate, weight decay of AdamW."""

    epochs: int = 22
    batch: int = 16
    learning_rate: float = 3e-3
    weight_decay: float = 5e-3


def fit_network(training: ConditionSet, settings: FitSettings, seed: int) -> ConditionNetwork:
    """Fit a network; the result depends on nothing but the arguments."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = ConditionNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(_batches(training, settings.batch, rng))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps, pct_start=0.15)
    weights = _weights(training.labels)
    seen = [tuple(part[0].half() for part in views(picture[None].float())) for picture in training.pictures]
    for epoch in range(settings.epochs):
        running = []
        for chosen in _batches(training, settings.batch, rng):
            logits = network(*_augmented(rng, [seen[index] for index in chosen]))
            loss = _loss(logits, training.labels[chosen], weights)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            schedule.step()
            running.append(float(loss.detach()))
        print(f"pass {epoch + 1} of {settings.epochs}: loss {np.mean(running):.3f}", flush=True)
    return network.eval()


def logits_of(network: ConditionNetwork, pictures: list[Tensor]) -> Tensor:
    """Return what a network says of every picture, ``(n, labels)``."""
    with torch.inference_mode():
        return torch.cat([network(*views(picture[None].float())) for picture in pictures])


def fit_calibration(logits: Tensor, labels: Tensor) -> Tensor:
    """Fit factor and offset of every label's logits on validation pictures (Platt 1999): ``(2, labels)``."""
    known = ~labels.isnan()
    columns = [_platt(logits[known[:, n], n], labels[known[:, n], n]) for n in range(len(LABELS))]
    return torch.stack(columns, 1)


def _platt(x: Tensor, y: Tensor) -> Tensor:
    """Fit factor and offset of one label; weakly held, as too few pictures would make it steep."""
    parameters = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        straight = x.double() * parameters[0] + parameters[1]
        total = torch.nn.functional.binary_cross_entropy_with_logits(straight, y.double())
        total = total + 0.01 * ((parameters[0] - 1) ** 2 + parameters[1] ** 2)
        total.backward()
        return total

    optimiser.step(loss)
    return parameters.detach().float()


def _batches(training: ConditionSet, size: int, rng: np.random.Generator) -> list[list[int]]:
    """Put pictures of about the same size together, otherwise at random."""
    areas = np.array([picture.numel() for picture in training.pictures])
    order = np.lexsort((rng.random(len(areas)), areas))
    batches = [order[start : start + size].tolist() for start in range(0, len(order), size)]
    return [batches[number] for number in rng.permutation(len(batches)) if len(batches[number]) > 1]


def _augmented(rng: np.random.Generator, chosen: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Cut views to what all have, mirror and turn them, and change their contrast a little."""
    height, width = (min(parts[1].shape[axis] for parts in chosen) for axis in (1, 2))
    mirrored = []
    for picture, coarse, spectrum in chosen:
        axes = [axis for axis in (1, 2) if rng.random() < 0.5]
        picture = picture[:, : height * COARSE_PX, : width * COARSE_PX].float() * rng.uniform(0.85, 1.15)
        views_of_it = (picture, coarse[:, :height, :width].float(), spectrum.float())
        mirrored.append([part.flip(axes) for part in views_of_it])
    stacked = [torch.stack(parts) for parts in zip(*mirrored, strict=True)]
    turned = rng.random() < 0.5
    return tuple(part.transpose(2, 3).contiguous() if turned else part for part in stacked)


def _weights(labels: Tensor) -> Tensor:
    """Weight of a label's positives: half of what would make both sides count alike."""
    share = labels.nanmean(0).clamp(0.02, 0.98)
    return ((1 - share) / share).sqrt()


def _loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    known = ~labels.isnan()
    smooth = labels.nan_to_num() * 0.96 + 0.02
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weights, reduction="none")
    return (each * known).sum() / known.sum()
