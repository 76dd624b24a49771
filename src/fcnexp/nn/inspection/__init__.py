"""Looking into a net: its maps, receptive fields and arithmetic."""
