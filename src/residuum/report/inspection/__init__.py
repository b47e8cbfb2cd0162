"""The page of `residuum inspect`: a table of parts, what is drawn of each, and how to read it in two languages."""
