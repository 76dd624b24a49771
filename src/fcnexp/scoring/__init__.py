"""Scores from counts that are kept for each image: intervals, tests, objects by size, in NumPy."""
