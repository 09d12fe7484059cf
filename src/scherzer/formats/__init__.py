"""Bytes on disk to arrays and tables, and nothing else."""
