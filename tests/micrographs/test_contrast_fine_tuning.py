"""Fitting to a person's labels: what labels show is learnt, what they do not show is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from scherzer.micrographs.contrast.calibration import calibrated, calibrated_rival, last_layer, log_loss
from scherzer.micrographs.contrast.classifier import ContrastClassifier
from scherzer.micrographs.contrast.cross_validation import HeldOut, chosen, fit_fold, fitted, joined, of_unseen
from scherzer.micrographs.contrast.ensemble import Combination, combine, estimate_patches
from scherzer.micrographs.contrast.fine_tuning import (
    TuningSet,
    TuningSettings,
    candidates,
    member_estimates,
    probabilities_of,
    tuning_set,
)
from scherzer.micrographs.contrast.folds import stratified_folds
from scherzer.micrographs.contrast.logistic import fit_logistic
from scherzer.micrographs.contrast.network import PATCH_PX, PatchNetwork, cut_patches, with_denoised
from scherzer.micrographs.contrast.visibility import GOOD_FROM, MODERATE_FROM

COUNT = 60
MIDDLE = float(np.log(GOOD_FROM * MODERATE_FROM) / 2)
QUICK = TuningSettings(head_steps=20, whole_from=10_000)


def networks(found: Tensor | None = None) -> list[PatchNetwork]:
    """Return untrained networks that sort what was ``found`` evenly over the classes, with a stated error of 0.1."""
    made = []
    with torch.random.fork_rng():
        for member in range(2):
            torch.manual_seed(member)
            network = PatchNetwork().eval()
            if found is not None:
                _rescale(network, found[:, member])
            made.append(network)
    return made


@torch.no_grad()
def _rescale(network: PatchNetwork, found: Tensor) -> None:
    last = last_layer(network)
    last.weight[1] = 0
    last.bias[1] = 1.5 + np.log(0.1)
    mean = network.estimate(found.flatten(0, 1))[0].view(found.shape[:2]).mean(1)
    last.weight[0] *= 0.25 / mean.std()
    mean = network.estimate(found.flatten(0, 1))[0].view(found.shape[:2]).mean(1)
    last.bias[0] += MIDDLE - mean.mean()


def classes_of(log_d_prime: Tensor) -> Tensor:
    d_prime = log_d_prime.exp()
    return torch.where(d_prime >= GOOD_FROM, 0, torch.where(d_prime >= MODERATE_FROM, 1, 2))


@pytest.fixture(scope="module")
def unlabelled() -> TuningSet:
    """Return what trunks find in micrographs of one to three patches, and the patches."""
    generator = torch.Generator().manual_seed(1)
    width = PatchNetwork().head[0].in_features
    common = torch.randn(COUNT, 1, 1, width, generator=generator)
    counts = [1 + index % 3 for index in range(COUNT)]
    found = [common[i] + 0.1 * torch.randn(2, counts[i], width, generator=generator) for i in range(COUNT)]
    patches = [torch.randn(counts[i], PATCH_PX, PATCH_PX, generator=generator) for i in range(COUNT)]
    features = torch.randn(COUNT, 7, generator=generator)
    return tuning_set(found, patches, features, torch.zeros(COUNT, dtype=torch.int64))


@pytest.fixture(scope="module")
def classifier(unlabelled: TuningSet) -> ContrastClassifier:
    features = torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
    logistic = fit_logistic(features, thirds(features[:, 0], -0.4, 0.4))
    return ContrastClassifier(
        networks(unlabelled.found[:, :, :1]), Combination(torch.full((2,), 0.5), 1.0, 0.02), logistic
    )


def thirds(values: Tensor, low: float, high: float) -> Tensor:
    return (values > low).long() + (values > high).long()


def labelled(classifier: ContrastClassifier, data: TuningSet, shift: float = 0.0, stretch: float = 1.0) -> TuningSet:
    """Label by the networks' own estimate with the error that they state, after a change of scale."""
    with torch.no_grad():
        mean, spread = combine(*member_estimates(classifier.networks, data), classifier.combination)
    truth = mean + spread * torch.randn(len(mean), generator=torch.Generator().manual_seed(9))
    return replace(data, patches=[], classes=classes_of(MIDDLE + shift + stretch * (truth - MIDDLE)))


def accuracy(classifier: ContrastClassifier, data: TuningSet) -> float:
    with torch.no_grad():
        return float((probabilities_of(classifier, data).argmax(1) == data.classes).float().mean())


def validated(classifier: ContrastClassifier, data: TuningSet) -> tuple[HeldOut, HeldOut, Tensor]:
    folds = stratified_folds(data.classes, [""] * len(data.classes), 0)
    parts = [fit_fold(classifier, data, folds.index == fold, QUICK) for fold in range(folds.count)]
    network, rival = (joined([part[which] for part in parts], folds.index) for which in (0, 1))
    return network, rival, folds.index


def test_padding_does_not_count(classifier: ContrastClassifier) -> None:
    """Micrographs of different sizes, one by one through the networks and padded together."""
    images = [torch.randn(side, 96, generator=torch.Generator().manual_seed(side)) for side in (96, 150, 300)]
    patches = [cut_patches(image) for image in images]
    with torch.no_grad():
        found = [torch.stack([n.describe(with_denoised(some)) for n in classifier.networks]) for some in patches]
        means, spreads = member_estimates(
            classifier.networks, tuning_set(found, [], torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64))
        )
    for index, image in enumerate(images):
        mean, spread = estimate_patches(classifier.networks, image)
        torch.testing.assert_close(means[index], mean)
        torch.testing.assert_close(spreads[index], spread)


def test_another_scale_is_learnt(classifier: ContrastClassifier, unlabelled: TuningSet) -> None:
    data = labelled(classifier, unlabelled, shift=0.3, stretch=0.8)
    with torch.no_grad():
        means, spreads = member_estimates(classifier.networks, data)
        after = calibrated(classifier, means, spreads, data.classes)
        moved, _ = member_estimates(after.networks, data)
    assert accuracy(after, data) > accuracy(classifier, data) + 0.2
    slope, at_zero = np.polyfit((means[:, 0] - MIDDLE).numpy(), (moved[:, 0] - MIDDLE).numpy(), 1)
    assert slope == pytest.approx(0.8, abs=0.2)
    assert at_zero == pytest.approx(0.3, abs=0.06)


def test_what_is_chosen_by_validation_is_better_on_labels_that_nobody_saw(
    classifier: ContrastClassifier, unlabelled: TuningSet
) -> None:
    data = labelled(classifier, unlabelled, shift=0.3)
    half = torch.arange(COUNT) % 2 == 0
    learnt, kept = data.part(half), data.part(~half)
    network, _, _ = validated(classifier, learnt)
    choice = chosen(network, learnt.classes)
    assert choice[0] != "shipped"
    after = fitted(classifier, learnt, choice, ("shipped", 0), QUICK)
    assert accuracy(after, kept) > accuracy(classifier, kept) + 0.2


def test_a_classifier_that_is_right_is_left_alone(classifier: ContrastClassifier, unlabelled: TuningSet) -> None:
    data = labelled(classifier, unlabelled)
    network, _, _ = validated(classifier, data)
    assert chosen(network, data.classes) == ("shipped", 0)


def test_labels_without_meaning_teach_nothing(classifier: ContrastClassifier, unlabelled: TuningSet) -> None:
    data = labelled(classifier, unlabelled, shift=0.3)
    shuffled = replace(data, classes=data.classes[torch.from_numpy(np.random.default_rng(2).permutation(COUNT))])
    network, rival, folds = validated(classifier, shuffled)
    for held_out in (network, rival):
        after = log_loss(of_unseen(held_out, shuffled.classes, folds), shuffled.classes).mean()
        # What is told of unseen labels cannot be better than the classes' own shares.
        share = torch.bincount(shuffled.classes) / COUNT
        assert float(after) > 0.95 * float(-(share * share.log()).sum())


def test_the_choice_for_a_fold_does_not_see_it() -> None:
    """The second candidate is right in the first fold alone: it must not be chosen there."""
    classes = torch.tensor([0, 1, 2] * 8)
    folds = torch.arange(24) // 12
    sure = torch.eye(3)[classes] * 0.9 + 0.03
    wrong = torch.eye(3)[(classes + 1) % 3] * 0.9 + 0.03
    even = torch.full((24, 3), 1 / 3)
    second = torch.where((folds == 0)[:, None], sure, wrong)
    found = of_unseen(HeldOut((("shipped", 0), ("scale", 0)), torch.stack([even, second])), classes, folds)
    torch.testing.assert_close(found[folds == 0], even[folds == 0])


def test_heads_leave_trunks_and_stated_errors_and_whole_networks_do_not(
    classifier: ContrastClassifier, unlabelled: TuningSet
) -> None:
    data = replace(labelled(classifier, unlabelled), patches=unlabelled.patches)
    settings = replace(QUICK, head_steps=10, whole_steps=20, batch=2, batch_patches=2)
    found = {}
    for depth, _, tuned in candidates(classifier, data, settings):
        found[depth] = {name: value.clone() for name, value in tuned.networks[0].state_dict().items()}
    before, heads, whole = (found[depth] for depth in ("scale", "heads", "whole"))
    changed = [name for name in before if not torch.equal(before[name], heads[name])]
    assert changed == ["head.2.weight", "head.2.bias"]
    assert torch.equal(before["head.2.weight"][1], heads["head.2.weight"][1])
    assert not torch.equal(before["features.0.weight"], whole["features.0.weight"])
    assert torch.equal(before["features.1.running_mean"], whole["features.1.running_mean"])


def test_a_fit_is_the_same_again(classifier: ContrastClassifier, unlabelled: TuningSet) -> None:
    data = labelled(classifier, unlabelled)
    one, two = (fitted(classifier, data, ("heads", 10), ("scale", 0), QUICK) for _ in range(2))
    for name, value in one.networks[1].state_dict().items():
        assert torch.equal(value, two.networks[1].state_dict()[name])
    assert torch.equal(one.logistic.weights, two.logistic.weights)


def test_the_rival_learns_another_share_of_classes(classifier: ContrastClassifier) -> None:
    features = torch.randn(90, 7, generator=torch.Generator().manual_seed(5))
    classes = thirds(features[:, 0], 0.4, 1.2)  # it knows -0.4 and 0.4
    before = log_loss(classifier.logistic.probabilities(features), classes).mean()
    after = log_loss(calibrated_rival(classifier.logistic, features, classes).probabilities(features), classes).mean()
    assert after < before - 0.1


def test_folds_keep_sessions_whole_and_classes_in_proportion() -> None:
    rng = np.random.default_rng(0)
    sessions = [f"s{index // 8}" for index in range(96)]
    classes = torch.from_numpy(rng.integers(0, 3, 96))
    folds = stratified_folds(classes, sessions, 0)
    assert folds.by_session
    assert folds.count == 5
    assert all(len({int(folds.index[i]) for i in range(96) if sessions[i] == name}) == 1 for name in set(sessions))
    alone = stratified_folds(classes, [""] * 96, 0)
    assert not alone.by_session
    counts = torch.stack([torch.bincount(classes[alone.index == fold], minlength=3) for fold in range(5)])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1


def test_sessions_of_one_class_each_are_cut() -> None:
    classes = torch.arange(30) // 10
    folds = stratified_folds(classes, [f"s{value}" for value in classes.tolist()], 0)
    assert not folds.by_session
    assert all(len(classes[folds.index != fold].unique()) == 3 for fold in range(folds.count))
