"""Movie to micrograph with its numbers: motion, CTF, condition, contrast."""
