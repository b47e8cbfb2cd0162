"""Where images come from and how they become batches: sources yield uint8, one preprocessing object does the rest."""
