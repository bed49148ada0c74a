"""The three reference systems of the SMIA paper: layouts, synthetic data, networks and transforms that they need."""
