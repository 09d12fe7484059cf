"""Ready-made sessions."""

from __future__ import annotations

from scherzer.simulate.settings import SimulationSettings


def demo_settings() -> SimulationSettings:
    """Return the session of ``scherzer demo``: fourteen movies over the defocus range, one badly drifted, one empty."""
    return SimulationSettings(
        micrographs=14,
        drifted=1,
        empty=1,
        height_px=1024,
        width_px=1024,
        pixel_size_A=1.6,
        frames=6,
        defocus_low_um=0.5,
        defocus_high_um=2.6,
        ice_thick_A=550.0,
        particles_per_micrograph=80,
        symmetry="O",
        diameter_A=130.0,
        seed=11,
    )


def tiny_settings() -> SimulationSettings:
    """Return three small sums for tests."""
    return SimulationSettings(
        micrographs=3,
        height_px=512,
        width_px=512,
        pixel_size_A=2.0,
        frames=1,
        defocus_low_um=1.0,
        defocus_high_um=2.2,
        particles_per_micrograph=25,
        symmetry="O",
        diameter_A=130.0,
        seed=3,
    )
