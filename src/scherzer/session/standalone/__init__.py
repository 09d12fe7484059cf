"""Maps from a RELION table of particles, without a session: what is read, where results go, the two commands."""
