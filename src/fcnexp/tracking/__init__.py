"""A run as W&B shows it: a view of the record, which is in the run folder."""
