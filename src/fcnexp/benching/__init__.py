"""Measurements of `python -m fcnexp.bench`, and the candidates compared in them."""
