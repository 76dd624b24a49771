"""Data sets, transforms and batches; knows nothing of nets."""
