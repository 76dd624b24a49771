"""Atomic files, system errors, cores and ranks."""
