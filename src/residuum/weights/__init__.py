"""Other people's weights: read without executing anything, their names mapped to ours, every key accounted for."""
