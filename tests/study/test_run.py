"""The whole study over worlds whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scherzer.study.power import GroupWorld, World, WorldSettings, make_world
from scherzer.study.refined import RefinedSubset
from scherzer.study.run import StudyResult, run_study
from scherzer.study.settings import StudyContext, StudySettings

CONTEXT = StudyContext("O", 24, "model low-passed to 20 A", 20.0)
GOOD, MODERATE = GroupWorld(20), GroupWorld(16, ln_quality=-0.8, underfocus_um=(1.0, 0.2))


def study(world: World, settings: StudySettings | None = None, **more) -> StudyResult:
    return run_study(world.micrographs, world.picked, world.selected, world.refiner, CONTEXT, settings, **more)


def test_a_clear_good_grid_is_collected_at_the_better_groups_defocus():
    settings = WorldSettings({"good": GOOD, "moderate": MODERATE}, strength=4e-4)
    world = make_world(settings, 3)
    messages: list[tuple[float, str]] = []
    result = study(world, progress=lambda fraction, words: messages.append((fraction, words)))
    verdict = result.verdict
    assert verdict.decision == "collect"
    assert verdict.underfocus.low_um == pytest.approx(1.5, abs=0.25)
    assert verdict.underfocus.high_um == pytest.approx(2.1, abs=0.25)
    need = verdict.micrographs_needed
    assert need["low"] <= need["value"] <= need["high"]
    assert result.refinements <= 25
    fractions = [fraction for fraction, _ in messages]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(messages) == result.refinements + 1


@pytest.mark.parametrize(("verdict", "rule"), [("no structure", "not yet"), ("not certain", "not certain")])
def test_a_map_that_is_not_certain_is_never_collected(verdict: str, rule: str):
    world = make_world(WorldSettings({"good": GOOD, "moderate": MODERATE}, strength=4e-4), 3)
    everything = set(np.flatnonzero(world.selected).tolist())

    def refiner(indices: np.ndarray) -> RefinedSubset:
        found = world.refiner(indices)
        judged = {"verdict": verdict, "sentence": f"{verdict}: 3 half-maps disagree"}
        return replace(found, structure=judged) if set(indices.tolist()) == everything else found

    result = run_study(world.micrographs, world.picked, world.selected, refiner, CONTEXT)
    assert (result.verdict.decision, result.verdict.rule) == ("cannot_tell", rule)
    assert "3 half-maps disagree" in result.verdict.sentence
    assert result.refinements == 1
    for name in ("E2", "E4", "E5", "E6", "ResLog"):
        assert not result.experiments[name]["performed"]
        assert "surely shows a structure" in result.experiments[name]["reason"]


def test_results_are_json_with_every_experiment_and_lineage():
    world = make_world(WorldSettings({"good": GOOD, "moderate": MODERATE, "bad": GroupWorld(9, 60, -1.5, kept=0.4)}), 3)
    result = study(world)
    entry = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert {"E1", "E2", "E4", "E5", "E6", "ResLog"} == set(entry["experiments"])
    assert all(one["performed"] for one in entry["experiments"].values())
    e5 = entry["experiments"]["E5"]
    assert {d["first"] + d["second"] for d in e5["equal_particles"]["differences"]} == {
        "goodmoderate",
        "goodbad",
        "moderatebad",
    }
    assert e5["shuffled_labels"]["shows_effect"] is not None
    counts = [e5["equal_particles"]["groups"][name]["particles"] for name in ("good", "moderate", "bad")]
    assert counts[0] == counts[1] == counts[2]
    names = [one["subset"] for one in entry["maps"]]
    assert names[0] == "all selected"
    assert "good + moderate, selected" in names
    for one in entry["maps"]:
        assert one["symmetry"] == "O"
        assert one["lineage"]
        assert one["resolution_fsc143_A"]["value"] is not None
    picked = {one["subset"]: one["particles"] for one in entry["maps"]}
    assert picked["bad, all picked"] > picked["bad, selected"]


@pytest.mark.parametrize("particles", [GroupWorld(12, 120), GroupWorld(40, 250)])
def test_a_world_without_structure_is_never_collected(particles: GroupWorld):
    settings = WorldSettings({"good": particles, "moderate": particles}, strength=0.0)
    for seed in range(8):
        verdict = study(make_world(settings, seed)).verdict
        assert verdict.decision in ("stop", "cannot_tell")
        assert verdict.underfocus.low_um is None
        assert verdict.micrographs_needed["value"] is None
    assert verdict.decision == ("stop" if particles.micrographs == 40 else "cannot_tell")


def test_one_group_says_so_and_still_climbs_the_ladder():
    result = study(make_world(WorldSettings({"good": GroupWorld(20)}), 1))
    e5 = result.experiments["E5"]
    assert not e5["performed"]
    assert "good" in e5["reason"]
    assert not result.experiments["E6"]["performed"]
    assert result.experiments["ResLog"]["performed"]
    b = result.experiments["ResLog"]["bfactor_A2"]
    assert b["low"] < 150 < b["high"]


def test_few_particles_cannot_tell():
    world = make_world(WorldSettings({"good": GroupWorld(6, 12), "moderate": GroupWorld(6, 12)}), 1)
    verdict = study(world).verdict
    assert (verdict.decision, verdict.rule) == ("cannot_tell", "too few")
    assert "more micrographs" in verdict.next[0]


def test_single_defocus_asks_for_a_defocus_ladder():
    one = (1.8, 0.02)
    groups = {"good": replace(GOOD, underfocus_um=one), "moderate": replace(MODERATE, underfocus_um=one)}
    verdict = study(make_world(WorldSettings(groups), 2)).verdict
    assert verdict.underfocus.low_um is None
    assert any("um to learn which serves best" in step for step in verdict.next)


def test_mostly_rejected_for_ice_is_to_be_improved():
    world = make_world(WorldSettings({"good": GroupWorld(20)}), 1)
    micrographs = world.micrographs.copy()
    lost = micrographs.index[:14]
    micrographs.loc[lost, "sczState"] = "rejected"
    micrographs.loc[lost, "sczReason"] = "ice: crystalline ring at 3.7 A"
    verdict = study(replace(world, micrographs=micrographs)).verdict
    assert (verdict.decision, verdict.rule) == ("improve", "mostly rejected")
    assert "ice" in verdict.next[0]


def test_no_particles_at_all_is_a_verdict_not_an_error():
    world = make_world(WorldSettings({"good": GroupWorld(6, 5)}), 1)

    def never(indices: np.ndarray) -> RefinedSubset:
        raise AssertionError("nothing should be refined")

    empty = pd.DataFrame({"rlnMicrographName": pd.Series(dtype=str), "rlnRandomSubset": pd.Series(dtype=int)})
    result = run_study(world.micrographs, empty, np.zeros(0, dtype=bool), never, CONTEXT)
    assert result.verdict.decision == "cannot_tell"
    assert result.maps == []
    json.dumps(result.to_json(), allow_nan=False)


def test_a_refiner_without_any_resolution_gives_reasons_instead_of_numbers():
    world = make_world(WorldSettings({"good": GOOD, "moderate": MODERATE}), 1)

    def fails(indices: np.ndarray) -> RefinedSubset:
        frequency = np.arange(33) / 96
        return RefinedSubset(None, None, None, frequency, np.zeros(33), len(indices), 2, 0.0)

    result = run_study(world.micrographs, world.picked, world.selected, fails, CONTEXT)
    assert result.verdict.decision == "cannot_tell"
    entry = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert entry["experiments"]["E2"]["groups"]["good"]["resolution_fsc143_A"]["value"] is None
    assert entry["experiments"]["E2"]["groups"]["good"]["resolution_fsc143_A"]["reason"]


def test_a_group_without_any_signal_is_told_apart_from_one_with():
    groups = {"good": GOOD, "bad": GroupWorld(16, ln_quality=-12.0, underfocus_um=(0.6, 0.1))}
    result = study(make_world(WorldSettings(groups), 1))
    e5 = result.experiments["E5"]["equal_particles"]
    assert e5["differences"][0]["separated"]
    assert e5["groups"]["bad"]["resolution_fsc143_A"]["value"] is None
    assert "start map" in e5["groups"]["bad"]["resolution_fsc143_A"]["reason"]
    assert result.verdict.underfocus.low_um == pytest.approx(1.5, abs=0.25)
    bad = result.experiments["E2"]["groups"]["bad"]["resolution_fsc143_A"]
    assert bad["low"] is None
    assert "start map" in bad["reason"]


def test_nyquist_limits_are_said():
    world = make_world(WorldSettings({"good": GOOD, "moderate": MODERATE}, strength=1.0, bfactor_A2=20.0), 1)
    result = study(world)
    entry = result.maps[0]["resolution_fsc143_A"]
    assert entry["low"] is None
    assert "Nyquist" in entry["reason"]
    assert any("finer pixel" in step for step in result.verdict.next)


def test_an_interrupted_study_resumes_to_the_same_result():
    world = make_world(WorldSettings({"good": GOOD, "moderate": MODERATE}), 5)
    whole = study(world).to_json()
    cache: dict[str, RefinedSubset] = {}
    calls = 0

    def stops(indices: np.ndarray) -> RefinedSubset:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise KeyboardInterrupt
        return world.refiner(indices)

    with pytest.raises(KeyboardInterrupt):
        run_study(world.micrographs, world.picked, world.selected, stops, CONTEXT, cache=cache)
    assert len(cache) == 9
    stored = {key: RefinedSubset.from_json(json.loads(json.dumps(one.to_json()))) for key, one in cache.items()}
    assert study(world, cache=stored).to_json() == whole
