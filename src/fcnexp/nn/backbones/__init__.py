"""Convolutional trunks with taps keyed by stride."""
