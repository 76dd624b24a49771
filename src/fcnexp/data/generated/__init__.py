"""Data sets that are generated locally."""
