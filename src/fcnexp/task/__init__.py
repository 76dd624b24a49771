"""Losses, scores, optimisers and the LightningModule."""
