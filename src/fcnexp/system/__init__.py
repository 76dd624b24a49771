"""The machine under a run: atomic files, OS errors, cores and ranks."""
