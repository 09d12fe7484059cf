"""Subsets with their lineage, experiments, statistics and the verdict."""
