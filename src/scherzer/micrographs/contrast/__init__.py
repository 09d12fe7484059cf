"""How visible particles are in a micrograph: measurements, a patch network and its physical rival."""
