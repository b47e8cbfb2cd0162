"""One file for each claim; `reproduce` makes the one that is asked for."""
