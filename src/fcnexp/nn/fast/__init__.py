"""Fast paths: faster implementations of what the nets define, each with a switch."""
