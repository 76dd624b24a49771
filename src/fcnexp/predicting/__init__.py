"""Labelling images of any size in bounded memory."""
