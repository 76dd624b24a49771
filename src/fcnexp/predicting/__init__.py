"""Labelling pictures of any size in bounded memory."""
