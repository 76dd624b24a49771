"""Data sets that are generated on this machine."""
