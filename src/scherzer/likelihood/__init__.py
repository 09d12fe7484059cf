"""One scoring engine for every alignment: 2D classes, ab initio and refinement."""
