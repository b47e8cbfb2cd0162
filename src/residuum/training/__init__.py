"""Recipe, data and net make a Run."""
