"""Export of nets to files that other programs run."""
