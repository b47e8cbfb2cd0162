"""Architectures: one family per file; `catalog` is the one table of names."""
