"""Sweeps: planning, starting, recording and resuming jobs."""
