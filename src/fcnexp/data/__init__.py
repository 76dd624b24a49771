"""Data sets, transforms and batches; independent of the networks."""
