"""One file per format of weights: `matches` knows it by its first bytes, `read` gives its tensors and executes nothing.

What a file claims is held against its size before memory is taken for it.
"""

MAX_TENSORS = 100_000
