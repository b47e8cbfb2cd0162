"""What a net costs before it runs: shapes, parameters, multiply-adds, receptive field."""
