"""Several trainings as one plan: shared, going on after anything, side by side; several seeds of one recipe."""
