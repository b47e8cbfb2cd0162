"""Typed commands: parsing, progress, printing. Each is a dataclass whose `run` returns the exit code."""
