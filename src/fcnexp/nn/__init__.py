"""Nets and their geometry in plain torch; knows nothing of data sets, Hydra or Lightning."""
