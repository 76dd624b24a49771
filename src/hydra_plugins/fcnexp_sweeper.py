"""Sweeper for Hydra: rows that form no grid, beside parameters that do."""

from fcnexp.sweep import rows


class RowSweeper(rows.RowSweeper):
    """`hydra/sweeper=rows`, which `train` uses unless told otherwise."""
