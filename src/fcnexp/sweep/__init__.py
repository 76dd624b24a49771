"""Sweeps: which jobs there are, what became of them, how they are started."""
