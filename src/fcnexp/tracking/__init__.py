"""Logging to W&B, a view of the record that is kept in the run folder."""
