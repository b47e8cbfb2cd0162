"""How other people's names and shapes map onto our nets, recognised by the names; one file for each source."""
