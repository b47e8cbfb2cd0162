"""What is written down about a measurement: the environment it was made in, the Finding, the rule of its verdict."""
