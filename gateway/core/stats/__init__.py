"""Statistics that may be looked at after every tick: sequential tests and bounds, quantiles that merge."""
