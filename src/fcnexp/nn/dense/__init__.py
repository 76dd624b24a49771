"""From coarse scores to one score per pixel."""
