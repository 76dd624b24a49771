"""Nets of other libraries that score every pixel themselves."""
