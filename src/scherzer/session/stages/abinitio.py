"""Ab initio: a first map from the kept particles alone."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scherzer.formats.mrc import write_mrc
from scherzer.maps.abinitio import AbInitio, reconstruct_ab_initio
from scherzer.session.acquisition import stated
from scherzer.session.complete import begin, complete, is_complete, key_of_stage
from scherzer.session.folder import Session
from scherzer.session.keys import key_of
from scherzer.session.settings import SessionSettings
from scherzer.session.stages.class2d import kept_particles
from scherzer.session.stages.context import Context, StageOutcome
from scherzer.session.stages.particle_sets import load_particles
from scherzer.session.star_blocks import write_blocks

STAGE = "abinitio"
MAP_FILE = "map.mrc"
STARTS_FILE = "starts.star"


def run(session: Session, settings: SessionSettings, context: Context) -> StageOutcome:
    """Make the map from which refinement starts when none is given."""
    acquisition = settings.acquisition
    diameter_A = stated(acquisition, "diameter_A")
    key = key_of(key_of_stage(session, "class2d"), acquisition.symmetry, diameter_A, settings.abinitio)
    folder = session.stage(STAGE)
    kept = kept_particles(session)
    summary = f"map of {acquisition.symmetry} symmetry from {len(kept)} particles, {settings.abinitio.seeds} starts"
    if is_complete(session, STAGE, key, [folder / MAP_FILE, folder / STARTS_FILE]):
        return StageOutcome(0, summary)
    begin(session, STAGE)
    particles = load_particles(session, kept)
    found = reconstruct_ab_initio(particles, acquisition.symmetry, diameter_A, settings.abinitio, context.progress)
    write(folder, found)
    complete(session, STAGE, key)
    return StageOutcome(1, summary, notes=tuple(found.sentences))


def write(folder: Path, found: AbInitio) -> None:
    """Write the map, how well each start explained particles that it had not seen, and what speaks for the best one."""
    starts = pd.DataFrame(
        {
            "sczStart": range(1, len(found.held_out_score) + 1),
            "sczHeldOutScore": found.held_out_score,
            "sczBatches": found.batches,
            "sczChosen": [int(number == found.chosen) for number in range(len(found.held_out_score))],
        }
    )
    write_mrc(folder / MAP_FILE, found.volume.cpu().numpy(), found.pixel_size_A, "volume")
    evidence = found.evidence
    facts: dict[str, str | float] = {"sczVerdict": evidence.verdict.replace(" ", "_")}
    gains = {"OverNothing": evidence.over_nothing, "OverBall": evidence.over_ball, "OverRival": evidence.over_rival}
    for name, gain in gains.items():
        if gain is not None:
            facts |= {f"sczGain{name}": gain.mean, f"sczGain{name}Error": gain.error}
    blocks: dict[str, pd.DataFrame | dict[str, str | float]] = {"evidence": facts, "starts": starts}
    if found.symmetries:
        blocks["symmetry"] = pd.DataFrame(
            {
                "sczSymmetry": [score.symmetry for score in found.symmetries],
                "sczRelation": [score.relation for score in found.symmetries],
                "sczGainOverImposed": [score.over_imposed.mean for score in found.symmetries],
                "sczGainOverImposedError": [score.over_imposed.error for score in found.symmetries],
            }
        )
    write_blocks(blocks, folder / STARTS_FILE)
