"""What goes wrong in practice, over the simulated field."""

from scherzer.simulate.faults.field import FaultObject, FieldFaults, field_faults

__all__ = ["FaultObject", "FieldFaults", "field_faults"]
